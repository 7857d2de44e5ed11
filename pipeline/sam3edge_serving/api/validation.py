"""pydantic's complaints as ``BadRequest``. Values are never repeated: they may be images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from sam3edge.validation import first_complaint
from sam3edge_serving.http.errors import BadRequest

M = TypeVar("M", bound=BaseModel)

MAX_CHARACTERS = 300


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
        raise bad_request(error, value, at) from None


def bad_request(error: ValidationError, value: object, at: str = "") -> BadRequest:
    """The first complaint about a value, which is at ``at``."""
    first = first_complaint(error).within(value)
    param = path_of(first.location, at)
    return BadRequest(f"{param or 'the request'}: {first.expected}"[:MAX_CHARACTERS], param=param or None)


def path_of(location: Sequence[int | str], at: str = "") -> str:
    """As OpenAI writes the member of a request."""
    path = at
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
