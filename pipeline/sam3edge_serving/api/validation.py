"""pydantic's complaints as ``BadRequest``. Values are never repeated: they may be images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from sam3edge.validation import first_complaint
from sam3edge_serving.http.errors import BadRequest

M = TypeVar("M", bound=BaseModel)

MAX_CHARACTERS = 300

_ALTERNATIVES = frozenset(("str", "list[str]"))
_KINDS = frozenset(("text", "image_url"))
"""What pydantic puts into a location for the alternatives of a union: types, and after an index the kind of a part."""


def read(model: type[M], value: object, at: str = "") -> M:
    """Validate.

    Args:
        at: where in the request the value is, for the message.

    Raises:
        BadRequest: names the first member that is wrong, as ``messages[0].content[1].image_url``.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise bad_request(error, at) from None


def bad_request(error: ValidationError, at: str = "") -> BadRequest:
    """The first complaint."""
    first = first_complaint(error)
    param = path_of(first.location, at)
    return BadRequest(f"{param or 'the request'}: {first.expected}"[:MAX_CHARACTERS], param=param or None)


def path_of(location: Sequence[int | str], at: str = "") -> str:
    """As OpenAI writes the member of a request."""
    path = at
    for number, part in enumerate(location):
        is_kind = part in _KINDS and number > 0 and isinstance(location[number - 1], int)
        if part in _ALTERNATIVES or is_kind:
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
