"""What pydantic complains about, in our words: where, and what was expected.

The value is not part of the text, since it may be an image or a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class Complaint:
    """One fault of a document.

    Attributes:
        location: members and indices from the top of the document to the fault.
        expected: pydantic's message.
        kind: pydantic's type of the error, such as ``missing``.
        got: the value at fault; for ``missing`` and the like what it should be in.
        limits: what pydantic's message says of what is accepted, such as ``ge``, by its names.
    """

    location: tuple[int | str, ...]
    expected: str
    kind: str = ""
    got: object = field(default=None, repr=False)
    limits: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def within(self, document: object) -> Complaint:
        """The same, by members and indices that ``document`` has: for alternatives pydantic writes the names of our
        types into the location, which mean nothing to who sent it."""
        location: list[int | str] = []
        inside = document
        last = len(self.location) - 1
        for number, part in enumerate(self.location):
            if isinstance(inside, dict) and (part in inside or (number == last and self.kind == "missing")):
                inside = inside.get(part)
            elif isinstance(inside, list) and isinstance(part, int) and 0 <= part < len(inside):
                inside = inside[part]
            else:
                continue
            location.append(part)
        return replace(self, location=tuple(location))

    @property
    def where(self) -> str:
        """The location with dots between its parts; empty for the document itself."""
        return ".".join(map(str, self.location))

    def __str__(self) -> str:
        return f"{self.where or 'document'}: {self.expected}"


def complaints(error: ValidationError) -> list[Complaint]:
    """Everything that is wrong, in pydantic's order; at least one."""
    details = error.errors(include_url=False)
    return [
        Complaint(fault["loc"], fault["msg"], fault["type"], fault["input"], fault.get("ctx", {})) for fault in details
    ]


def first_complaint(error: ValidationError) -> Complaint:
    """What to mend first."""
    return complaints(error)[0]
