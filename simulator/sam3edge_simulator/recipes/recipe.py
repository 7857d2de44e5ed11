"""Component recipes: reading, checking, and choosing what applies to this device.

Source: the recipe reference of the Greengrass v2 developer guide, format ``2020-01-25``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.recipes.platforms import device_attributes, fits
from sam3edge_simulator.recipes.semver import Requirement, Version, VersionError

FORMAT = "2020-01-25"
MAX_RECIPE_BYTES = 16_000
"""Greengrass takes no larger recipe (a constant of the GDK)."""
SUFFIXES = (".yaml", ".yml", ".json")

_NAME = re.compile(r"[a-zA-Z0-9-_.]{1,128}")


class RecipeError(ValueError):
    """A recipe that a nucleus refuses."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """What one component needs of another.

    Attributes:
        requirement: versions that will do.
        hard: whether the dependent waits for it and restarts with it.
    """

    requirement: Requirement
    hard: bool


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a component.

    Attributes:
        name: last segment of the URI; the file is looked up by it.
        unzip: whether it is unpacked into a folder named after it.
        readable: who may read it: ``NONE``, ``OWNER`` or ``ALL``.
        executable: who may run it.
        digest: base64 SHA-256 from the recipe, as the cloud writes it; empty when the recipe has none.
    """

    name: str
    unzip: bool
    readable: str
    executable: str
    digest: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe, reduced to what applies to this device.

    Attributes:
        name: component name.
        version: component version.
        defaults: ``DefaultConfiguration``.
        dependencies: by component name.
        lifecycle: the chosen manifest's lifecycle as written: step or ``Setenv`` to its value.
        artifacts: files of the chosen manifest.
        source: the file's bytes.
        suffix: ``.yaml`` or ``.json``.
    """

    name: str
    version: Version
    defaults: Mapping[str, Any]
    dependencies: Mapping[str, Dependency]
    lifecycle: Mapping[str, Any]
    artifacts: tuple[Artifact, ...]
    source: bytes
    suffix: str

    @property
    def only_installs(self) -> bool:
        """Whether there is nothing that could be running."""
        return not {"run", "startup"} & self.lifecycle.keys()


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_pascal)


class _Permission(_Section):
    read: Literal["NONE", "OWNER", "ALL"] = "OWNER"
    execute: Literal["NONE", "OWNER", "ALL"] = "NONE"


class _Artifact(_Section):
    uri: str
    unarchive: Literal["NONE", "ZIP"] = "NONE"
    permission: _Permission = _Permission()
    digest: str = ""


def _or_empty(value: object) -> object:
    return {} if value is None or value == "" else value


_Mapping = Annotated[dict[str, Any], BeforeValidator(_or_empty)]


class _Manifest(_Section):
    platform: _Mapping = Field(default_factory=dict)
    lifecycle: _Mapping = Field(default_factory=dict)
    artifacts: list[_Artifact] = Field(default_factory=list)
    selections: list[str] = Field(default_factory=list)


class _Configuration(_Section):
    default_configuration: _Mapping = Field(default_factory=dict)


class _Dependency(_Section):
    version_requirement: str = ""
    dependency_type: Literal["HARD", "SOFT"] = "HARD"


class _Document(_Section):
    recipe_format_version: str
    component_name: str
    component_version: str
    component_configuration: _Configuration = _Configuration()
    component_dependencies: dict[str, _Dependency] = Field(default_factory=dict)
    manifests: list[_Manifest] = Field(default_factory=list)
    lifecycle: _Mapping = Field(default_factory=dict)


STEP_NAMES = ("bootstrap", "install", "run", "startup", "shutdown", "recover")
_STEP_KEYS = ("Script", "RequiresPrivilege", "Setenv", "Timeout", "Skipif")
_CANONICAL = {
    to_pascal(name).lower(): to_pascal(name)
    for model in (_Document, _Manifest, _Artifact, _Permission, _Configuration, _Dependency)
    for name in model.model_fields
}


class _NoDates(yaml.SafeLoader):
    """YAML as Greengrass reads it: ``2020-01-25`` is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name and shape that PyYAML looks for
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_recipe(path: Path, profile: Profile) -> Recipe:
    """Read one recipe file for a nucleus.

    Raises:
        RecipeError: a nucleus would refuse it; the message names the file, the place and what was expected.
        OSError: the file cannot be read.
    """
    source = path.read_bytes()
    if len(source) > MAX_RECIPE_BYTES:
        raise RecipeError(f"{path}: expected at most {MAX_RECIPE_BYTES} bytes of recipe, got {len(source)}")
    try:
        raw = _parse(source, path.suffix, profile)
        document = _Document.model_validate(raw if profile.case_sensitive else _canonical_document(raw))
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{path}: {_explain(error)}") from error
    try:
        return _reduce(document, source, path.suffix, profile)
    except (RecipeError, VersionError) as error:
        raise RecipeError(f"{path}: {error}") from error


def _parse(source: bytes, suffix: str, profile: Profile) -> Any:
    if suffix == ".json":
        return json.loads(source)
    return yaml.load(source, Loader=yaml.BaseLoader if profile.yaml_as_text else _NoDates)


def _explain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"no readable recipe: {error}"
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()
    )


def _reduce(document: _Document, source: bytes, suffix: str, profile: Profile) -> Recipe:
    if document.recipe_format_version != FORMAT:
        raise RecipeError(f"expected RecipeFormatVersion {FORMAT}, got {document.recipe_format_version!r}")
    if not _NAME.fullmatch(document.component_name):
        hint = "; build the component first (gdk component build)" if "{" in document.component_name else ""
        raise RecipeError(f"expected a ComponentName of letters, digits, - _ ., got {document.component_name!r}{hint}")
    manifest = _choose(document, profile)
    lifecycle = _lifecycle(document, manifest, profile)
    if {"run", "startup"} <= lifecycle.keys():
        raise RecipeError("expected run or startup in the lifecycle, got both")
    return Recipe(
        name=document.component_name,
        version=Version.parse(document.component_version),
        defaults=MappingProxyType(document.component_configuration.default_configuration),
        dependencies={
            name: Dependency(Requirement.parse(one.version_requirement), one.dependency_type == "HARD")
            for name, one in document.component_dependencies.items()
        },
        lifecycle=lifecycle,
        artifacts=tuple(
            Artifact(
                name=one.uri.rsplit("/", 1)[-1],
                unzip=one.unarchive == "ZIP",
                readable=one.permission.read,
                executable=one.permission.execute,
                digest=one.digest,
            )
            for one in manifest.artifacts
        ),
        source=source,
        suffix=suffix,
    )


def _choose(document: _Document, profile: Profile) -> _Manifest:
    device = device_attributes(profile)
    for manifest in document.manifests:
        if fits(manifest.platform, device, profile):
            return manifest
    if not document.manifests and not profile.needs_runtime:
        return _Manifest()
    wanted = [dict(manifest.platform) for manifest in document.manifests]
    raise RecipeError(f"No Manifest was found for linux: this device is {dict(device)}, the manifests want {wanted}")


def _lifecycle(document: _Document, manifest: _Manifest, profile: Profile) -> Mapping[str, Any]:
    chosen = manifest.lifecycle
    if not chosen:
        # A lifecycle for all manifests may be divided by selectors, of which the manifest names its own.
        for selector in [*manifest.selections, "all"]:
            if isinstance(document.lifecycle.get(selector), dict):
                chosen = document.lifecycle[selector]
                break
        else:
            chosen = document.lifecycle
    if profile.needs_runtime and not chosen:
        raise RecipeError("No Manifest was found for linux: nucleus lite takes no component without a lifecycle")
    if profile.case_sensitive:
        return {key: value for key, value in chosen.items() if key in STEP_NAMES or key == "Setenv"}
    return _canonical_lifecycle(chosen)


def _canonical_document(raw: Any) -> Any:
    """The same document with known keys written as in the reference; the classic nucleus does not mind the case."""
    document = _rename(raw, _CANONICAL)
    if not isinstance(document, dict):
        return document
    document["Manifests"] = [_canonical_manifest(one) for one in document.get("Manifests") or []]
    document["ComponentConfiguration"] = _rename(document.get("ComponentConfiguration") or {}, _CANONICAL)
    document["ComponentDependencies"] = {
        name: _rename(one, _CANONICAL) for name, one in (document.get("ComponentDependencies") or {}).items()
    }
    return document


def _canonical_manifest(raw: Any) -> Any:
    manifest = _rename(raw, _CANONICAL)
    if isinstance(manifest, dict):
        manifest["Artifacts"] = [_canonical_artifact(one) for one in manifest.get("Artifacts") or []]
        manifest["Selections"] = manifest.get("Selections") or []
    return manifest


def _canonical_artifact(raw: Any) -> Any:
    artifact = _rename(raw, _CANONICAL)
    if isinstance(artifact, dict):
        artifact["Permission"] = _rename(artifact.get("Permission") or {}, _CANONICAL)
    return artifact


def _canonical_lifecycle(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    steps = {name: name for name in STEP_NAMES} | {"setenv": "Setenv"}
    keys = {name.lower(): name for name in _STEP_KEYS}
    lifecycle = {key: value for key, value in _rename(raw, steps).items() if key in steps.values()}
    return {key: _rename(value, keys) if key in STEP_NAMES else value for key, value in lifecycle.items()}


def _rename(raw: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(raw, dict):
        return raw
    return {names.get(str(key).lower(), str(key)): value for key, value in raw.items()}
