"""Schedules of EventBridge: rates of hours or days, and cron expressions.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

RATE = re.compile(r"rate\((1 (hour|day)|([2-9]|[1-9]\d+) (hours|days))\)")
CRON = re.compile(r"cron\((\S+(?: \S+){5})\)")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a cron expression: ``*``, values, ranges and steps of them, with commas between.

    Attributes:
        first, last: values that it has.
        names: of the values, in their order.
        special: expressions of its own, such as ``L``.
    """

    first: int
    last: int
    names: tuple[str, ...] = ()
    special: re.Pattern[str] = field(default=re.compile(r"(?!)"))

    def accepts(self, text: str) -> bool:
        """Whether EventBridge takes it."""
        return all(self._accepts(one) for one in text.split(","))

    def _accepts(self, text: str) -> bool:
        if self.special.fullmatch(text):
            return True
        values, slash, step = text.partition("/")
        if slash and not (step.isdecimal() and 1 <= int(step) <= self.last):
            return False
        ends = [self._value(one) for one in values.split("-", 1)]
        if values == "*":
            return True
        return None not in ends and ends == sorted(one for one in ends if one is not None)

    def _value(self, text: str) -> int | None:
        if text in self.names:
            return self.first + self.names.index(text)
        return int(text) if text.isdecimal() and self.first <= int(text) <= self.last else None


MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
FIELDS = (
    Field(0, 59),
    Field(0, 23),
    Field(1, 31, special=re.compile(r"\?|L|LW|([1-9]|[12]\d|3[01])W")),
    Field(1, 12, MONTHS),
    Field(1, 7, WEEKDAYS, re.compile(rf"\?|L|([1-7]|{'|'.join(WEEKDAYS)})(L|#[1-5])")),
    Field(1970, 2199),
)
"""Minutes, hours, days of the month, months, days of the week, years."""


def is_schedule(text: str) -> bool:
    """Whether it is a rate of hours or days, or a cron expression."""
    if RATE.fullmatch(text):
        return True
    found = CRON.fullmatch(text)
    if found is None:
        return False
    parts = found[1].split(" ")
    days = (parts[2], parts[4])
    return days.count("?") == 1 and all(one.accepts(part) for one, part in zip(FIELDS, parts, strict=True))
