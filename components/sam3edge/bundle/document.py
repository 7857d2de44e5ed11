"""A JSON document of a bundle, bounded and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from sam3edge.core.errors import BundleError
from sam3edge.validation import first_complaint

M = TypeVar("M", bound=BaseModel)


def read_document(root: Path, name: str, model: type[M], what: str, max_bytes: int) -> M:
    """Read ``root/name``.

    Args:
        what: what it is to be, with its article.

    Raises:
        BundleError: it is too large, or something else.
        OSError: it cannot be read.
    """
    path = root / name
    if path.stat().st_size > max_bytes:
        raise BundleError(f"{name} of {root.name} is larger than {max_bytes} bytes")
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BundleError(f"{name} of {root.name} is not {what}: {first_complaint(error)}") from error
