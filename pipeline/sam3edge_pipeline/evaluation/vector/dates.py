"""When the raster was taken and when the truth was drawn: fields and coasts are not where they were."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sam3edge.core.errors import SettingsError

_ISO = re.compile(r"^\s*(\d{4})(?:[-/:.]?(\d{2})(?:[-/:.]?(\d{2}))?)?(?!\d)")
"""Of ISO 8601, of TIFF (2017:06:01 18:04:25) and of many tables: a year, a month, a day."""

_TAGS = ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME", "EXIF_DateTimeOriginal", "EXIF_DateTime")
"""GDAL's names, the first that is there counts; the first one is of its ``IMAGERY`` domain."""


@dataclass(frozen=True, slots=True)
class Period:
    """From one day to another, both included."""

    first: date
    last: date

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    def __or__(self, other: Period) -> Period:
        return Period(min(self.first, other.first), max(self.last, other.last))

    def days_from(self, other: Period) -> int:
        """Days between what is farthest apart of the two."""
        return max(abs(self.last - other.first), abs(other.last - self.first)).days


def period_of(value: Any) -> Period | None:
    """A day, month or year: a date, or text or a number that begins with one; None where it is not."""
    if isinstance(value, datetime):
        return Period(value.date(), value.date())
    if isinstance(value, date):
        return Period(value, value)
    found = _ISO.match(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    if found is None:
        return None
    year, month, day = (int(part) if part else None for part in found.groups())
    try:
        first = date(year or 0, month or 1, day or 1)
        if day is not None:
            return Period(first, first)
        after = date(first.year + 1, 1, 1) if month is None else (first + timedelta(31)).replace(day=1)
    except (ValueError, OverflowError):
        return None
    return Period(first, after - timedelta(1))


def required_period(text: str, option: str) -> Period | None:
    """What somebody has typed; None where they have not.

    Raises:
        SettingsError: it is not a date.
    """
    if not text:
        return None
    period = period_of(text)
    if period is None:
        raise SettingsError(f"expected a date such as 2017-06-01, or a year, as {option}, got {text!r}")
    return period


def raster_date(tags: Mapping[str, Any]) -> Period | None:
    """By GDAL's tags of a raster."""
    return next((period for name in _TAGS if (period := period_of(tags.get(name))) is not None), None)


def date_warnings(raster: Period | None, truth: Period | None, max_days: int) -> Iterable[str]:
    """What a reader must know: dates that are not known, or far apart."""
    if raster is None:
        yield "when the raster was taken is not known; say it by --raster-date"
    if truth is None:
        yield "when the truth was drawn is not known; say it by --truth-date or --date-attribute"
    if raster is not None and truth is not None and raster.days_from(truth) > max_days:
        yield (
            f"the truth is of {truth}, the raster of {raster}: up to {raster.days_from(truth)} days apart, more than "
            f"{max_days}; what has changed since counts as a mistake"
        )
