"""What the configurations of our components have in common, and how one is read.

Keys are written as Greengrass components write them (``PascalCase``). Numbers may come as strings, because nucleus lite
hands YAML scalars of local deployments over as strings. A key that is not known is refused: it is a typing error or
belongs to another version. Numbers are finite and bounded, and texts can be written: what passes here can be carried
out by a part, kept in a database and published.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_pascal
from pydantic_core import PydanticCustomError

from sam3edge.core.errors import SettingsError
from sam3edge.core.redaction import redact
from sam3edge.validation import Complaint, complaints

NOT_OURS = frozenset({"accessControl", "Install"})
"""Keys that are the nucleus's or the install step's."""

MAX_TEXT = 4096
"""Characters of any text: a path has no more."""

MAX_DEPTH = 8
"""Mappings and lists within each other."""

MAX_SHOWN = 100
"""Characters of a wrong value that an error repeats."""

_SECRET = "Uri"
"""Keys that may hold a password; their values are in no message."""

Unit: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=366 * 86_400)]
"""Up to a year: what waits for longer waits for ever, and what is much larger a timer refuses."""
SecondsOrNever: TypeAlias = Annotated[float, Field(ge=0, le=366 * 86_400)]
"""Likewise; 0 means never."""
Bytes: TypeAlias = Annotated[int, Field(ge=0, le=1 << 50)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000_000)]
Provider: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$")]
Pixels: TypeAlias = Annotated[float, Field(ge=0, le=1e12)]


class SettingsModel(BaseModel):
    """A mapping of the configuration, with exactly these keys."""

    model_config = ConfigDict(
        alias_generator=to_pascal, populate_by_name=True, extra="forbid", frozen=True, allow_inf_nan=False
    )


class TopicSettings(SettingsModel):
    """Keys of every component. ``TopicPrefix`` defaults to ``sam3edge/<thing name>``; a change needs the same change in
    ``accessControl``."""

    topic_prefix: str = Field("", pattern=r"^([^/#+$\s][^/#+\s]*(/[^/#+\s]+){0,5})?$", max_length=180)


class ComponentSettings(TopicSettings):
    """Keys of every component with a model. ``Providers`` is a list of ONNX Runtime's names, or one string with
    commas."""

    providers: list[Provider] = Field(
        ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], min_length=1, max_length=16
    )

    @field_validator("providers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


AnySettings = TypeVar("AnySettings", bound=SettingsModel)


def by_type(kinds: MutableMapping[str, type[AnySettings]], default: str = "") -> Callable[[object], AnySettings]:
    """A validator that reads a mapping as the kind that its key ``Type`` names.

    Args:
        kinds: the registry, by ``Type``; looked up when a configuration is read.
        default: taken where ``Type`` is missing.
    """

    def read(value: object) -> AnySettings:
        if isinstance(value, SettingsModel):
            return value  # type: ignore[return-value]
        kind = value.get("Type", default) if isinstance(value, Mapping) else None
        if not isinstance(kind, str) or kind not in kinds:
            shown = redact(str(kind))[:MAX_SHOWN] if isinstance(value, Mapping) else type(value).__name__
            raise PydanticCustomError(
                "kind", "expected a mapping whose Type is one of {known}, got {got}",
                {"known": ", ".join(sorted(kinds)), "got": shown},
            )  # fmt: skip
        return kinds[kind].model_validate(value)

    return read


def validate_settings(keys: type[AnySettings], configuration: Mapping[str, Any]) -> AnySettings:
    """Validate a component configuration.

    Raises:
        SettingsError: names every key that is wrong, what was expected and, unless it may be secret, what it got.
    """
    ours = {key: value for key, value in configuration.items() if key not in NOT_OURS}
    unusable = list(_unusable(ours))
    if unusable:
        raise SettingsError("; ".join(unusable[:20]))
    try:
        return keys.model_validate(ours)
    except ValidationError as error:
        raise SettingsError("; ".join(map(_describe, complaints(error)[:20]))) from error


def _unusable(value: object, where: str = "", depth: int = 0) -> Iterator[str]:
    """What no key may hold: texts that cannot be written, numbers that are not finite, nesting without end."""
    if depth > MAX_DEPTH:
        yield f"{where}: expected at most {MAX_DEPTH} mappings and lists within each other"
    elif isinstance(value, str):
        if len(value) > MAX_TEXT or "\0" in value or not _is_utf8(value):
            yield f"{where}: expected a text of at most {MAX_TEXT} characters that UTF-8 can write, without NUL"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: expected a finite number, got {value}"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unusable(str(key), f"a key of {where or 'the configuration'}", depth)
            yield from _unusable(inner, f"{where}.{key}".lstrip("."), depth + 1)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _unusable(inner, f"{where}.{number}", depth + 1)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _describe(fault: Complaint) -> str:
    where = ".".join(str(part)[:MAX_SHOWN] for part in fault.location) or "configuration"
    # the value of an unknown key says nothing, and may be an address under a misspelt name
    hidden = _SECRET in where or fault.kind in ("extra_forbidden", "kind")
    got = "" if hidden or isinstance(fault.got, dict | list) else f", got {fault.got!r}"
    return redact(f"{where}: {fault.expected}{got[:MAX_SHOWN]}")
