"""Stage files: ``infra/stages/<name>.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sam3edge.bundle.manifest import MANIFEST
from sam3edge.core.errors import SettingsError
from sam3edge.validation import complaints
from sam3edge_infra.stages.stage import AssetsBundle, Stage
from sam3edge_infra.stages.wording import wording

ROOT = Path(__file__).parents[3]
"""Of the repository."""

FOLDER = ROOT / "infra" / "stages"


def read_stage(name: str, folder: Path = FOLDER) -> Stage:
    """The stage of a file.

    Raises:
        SettingsError: there is no such file, it is not YAML, a value is not accepted, or there is no bundle where it
            says; every fault is named.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(stage_names(folder)) or "none"
        raise SettingsError(f"expected a stage of {there}; got {name!r}, make it by make new_stage")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not YAML: {error}") from error
    stage = parse_stage(document, str(path))
    if stage.name != name:
        raise SettingsError(f"{path}: name: expected the file's own, {name}, got {stage.name}")
    if isinstance(stage.bundle, AssetsBundle) and not is_bundle(stage.bundle):
        raise SettingsError(f"{path}: bundle.path: expected a folder with a manifest.json, got {stage.bundle.path}")
    return stage


def parse_stage(document: Any, origin: str) -> Stage:
    """The stage of a document.

    Args:
        origin: of the document, for messages.

    Raises:
        SettingsError: a value is not accepted; every fault is named, with what is.
    """
    try:
        return Stage.model_validate(document)
    except ValidationError as error:
        found = [(one.within(document).where or "document", wording(one)) for one in complaints(error)]
        faults = "\n".join(f"  {where}: {text}" for where, text in found)
        raise SettingsError(f"{origin}:\n{faults}") from error


def is_bundle(bundle: AssetsBundle) -> bool:
    """Whether it is in the repository."""
    return (ROOT / bundle.path / MANIFEST).is_file()


def stage_names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Of all files."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def write_stage(document: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write a stage file once it is found good; the file that is there is not overwritten.

    Raises:
        SettingsError: a value is not accepted, or there is such a file.
    """
    stage = parse_stage(document, "the new stage")
    path = folder / f"{stage.name}.yaml"
    text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SettingsError(f"{path} is there already; change it, or choose another name") from error
    return path
