"""What a run of the pipeline is told, as strings: hyperparameters of the training, arguments of the other steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.evaluation.decision import Margins
from sam3edge_pipeline.training.recipe import Recipe

NEW_PHRASES = "new_phrases"
"""Phrases that are to be learned, with ``|`` between them."""


@dataclass(frozen=True, slots=True)
class ExportParameters:
    """What a bundle is to be called, compute in, and know."""

    name: str
    version: str
    precision: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegistrationParameters:
    """Where the files of a release are, and what made it; addresses are in S3, without a slash at the end.

    Attributes:
        group: model package group.
        image: of the serving container.
        execution: ARN of the pipeline's execution.
    """

    group: str
    bundle_uri: str
    report_uri: str
    parity_uri: str
    image: str
    code_revision: str
    execution: str


def phrases_of(given: Mapping[str, str], name: str = NEW_PHRASES) -> tuple[str, ...]:
    """Phrases with ``|`` between them.

    Raises:
        SettingsError: there are none.
    """
    words = tuple(dict.fromkeys(phrase.strip() for phrase in given.get(name, "").split("|") if phrase.strip()))
    if not words:
        raise SettingsError(f"{name}: expected phrases with | between them, got none")
    return words


def margins_of(given: Mapping[str, str]) -> Margins:
    """The margins of the decision; those that are not told keep their defaults.

    Raises:
        SettingsError: one is not a number.
    """
    types = get_type_hints(Margins)
    return Margins(**{name: _read(name, given[name], types[name]) for name in types if name in given})


def export_of(given: Mapping[str, str]) -> ExportParameters:
    """What the export is told.

    Raises:
        SettingsError: something is missing.
    """
    name, version, precision = (_needed(given, one) for one in ("bundle_name", "bundle_version", "precision"))
    return ExportParameters(name, version, precision, phrases_of(given, "phrases"))


def registration_of(given: Mapping[str, str]) -> RegistrationParameters:
    """What the registration is told.

    Raises:
        SettingsError: something is missing.
    """
    return RegistrationParameters(
        **{field.name: _needed(given, field.name) for field in fields(RegistrationParameters)}
    )


def recipe_of(given: Mapping[str, str]) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe and the phrases to be learned, of SageMaker's hyperparameters.

    Raises:
        SettingsError: one is unknown, or does not have the type of the recipe's.
    """
    words = phrases_of(given)
    types = get_type_hints(Recipe)
    known = {field.name for field in fields(Recipe)}
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name == NEW_PHRASES or name.startswith("sagemaker_"):
            continue
        if name not in known:
            raise SettingsError(f"{name} is not a hyperparameter; there are {NEW_PHRASES}, {', '.join(sorted(known))}")
        values[name] = _read(name, text, types[name])
    return Recipe(**values), words


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        SettingsError: it is not there, or not a JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"expected a JSON object in {path}: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"expected a JSON object in {path}, got {type(found).__name__}")
    return found


def _needed(given: Mapping[str, str], name: str) -> str:
    value = given.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name}: expected a value, got none; give {name}=... to the step")
    return value.rstrip("/")


def _read(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise SettingsError(f"{name}: expected true or false, got {text!r}")
        return text.lower() == "true"
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError as error:
        raise SettingsError(
            f"{name}: expected {'a whole number' if kind is int else 'a number'}, got {text!r}"
        ) from error
