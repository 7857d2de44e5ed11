"""What a deployment asks for, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from sam3edge_simulator.update_events import UPDATE_PATIENCE_SECONDS


class FailurePolicy(str, Enum):
    """What happens when a component of a deployment breaks."""

    ROLLBACK = "ROLLBACK"
    DO_NOTHING = "DO_NOTHING"


class DeploymentStatus(str, Enum):
    """How a deployment ended, in the words of the IPC model."""

    SUCCESSFUL = "SUCCESSFUL"
    FAILED_NO_STATE_CHANGE = "FAILED_NO_STATE_CHANGE"
    FAILED_ROLLBACK_COMPLETE = "FAILED_ROLLBACK_COMPLETE"
    FAILED_ROLLBACK_NOT_REQUESTED = "FAILED_ROLLBACK_NOT_REQUESTED"
    FAILED_UNABLE_TO_ROLLBACK = "FAILED_UNABLE_TO_ROLLBACK"


class DocumentError(ValueError):
    """A deployment document that Greengrass would refuse."""


@dataclass(frozen=True, slots=True)
class ConfigurationUpdate:
    """New values for one component; resets come before merges.

    Attributes:
        merge: values that are merged in.
        reset: JSON pointers of values that get their defaults back.
    """

    merge: Mapping[str, Any] = field(default_factory=dict)
    reset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a device is to run.

    Attributes:
        add: version, or range of versions, by component name.
        remove: components that shall go; their dependencies go with them when nothing else needs them.
        exclusive: whether only ``add`` shall remain, as for a deployment from the cloud.
        configuration: by component name.
        recipes: folder with recipe files (``greengrass-build/recipes``).
        artifacts: folder with ``<component>/<version>/<file>`` (``greengrass-build/artifacts``).
        on_failure: heeded by nuclei that can roll back.
        notify_seconds: how long running components may take to agree; 0 to not ask them.
    """

    add: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    exclusive: bool = False
    configuration: Mapping[str, ConfigurationUpdate] = field(default_factory=dict)
    recipes: Path | None = None
    artifacts: Path | None = None
    on_failure: FailurePolicy = FailurePolicy.ROLLBACK
    notify_seconds: float = UPDATE_PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class DeploymentResult:
    """How a deployment ended.

    Attributes:
        id: what ``deploy`` called it.
        status: success or the kind of failure.
        reason: why it failed; empty on success.
        components: versions that the device runs now, by name.
    """

    id: str
    status: DeploymentStatus
    reason: str
    components: Mapping[str, str]


class DeploymentFailed(Exception):
    """A deployment did not come to what it asked for; ``result`` says what the device runs now."""

    def __init__(self, result: DeploymentResult) -> None:
        super().__init__(f"{result.status.value}: {result.reason}")
        self.result = result


def _json_text(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)


class _Update(_Section):
    merge: Annotated[dict[str, Any], BeforeValidator(_json_text)] = Field(default_factory=dict)
    reset: list[str] = Field(default_factory=list)


class _Component(_Section):
    component_version: str
    configuration_update: _Update = _Update()


class _UpdatePolicy(_Section):
    action: Literal["NOTIFY_COMPONENTS", "SKIP_NOTIFY_COMPONENTS"] = "NOTIFY_COMPONENTS"
    timeout_in_seconds: float = UPDATE_PATIENCE_SECONDS


class _Policies(_Section):
    failure_handling_policy: FailurePolicy = FailurePolicy.ROLLBACK
    component_update_policy: _UpdatePolicy = _UpdatePolicy()


class _Document(_Section):
    components: dict[str, _Component]
    deployment_policies: _Policies = _Policies()


def read_document(path: Path, *, recipes: Path | None = None, artifacts: Path | None = None) -> Deployment:
    """Read a document as ``aws greengrassv2 create-deployment --cli-input-json`` takes it, in JSON or YAML.

    Raises:
        DocumentError: it is no such document; the message names the place and what was expected.
        OSError: the file cannot be read.
    """
    try:
        document = _Document.model_validate(yaml.safe_load(path.read_bytes()))
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(f"{path}: {_explain(error)}") from error
    policies = document.deployment_policies
    notify = policies.component_update_policy
    return Deployment(
        add={name: one.component_version for name, one in document.components.items()},
        exclusive=True,
        configuration={
            name: ConfigurationUpdate(one.configuration_update.merge, tuple(one.configuration_update.reset))
            for name, one in document.components.items()
        },
        recipes=recipes,
        artifacts=artifacts,
        on_failure=policies.failure_handling_policy,
        notify_seconds=notify.timeout_in_seconds if notify.action == "NOTIFY_COMPONENTS" else 0.0,
    )


def read_updates(path: Path) -> Mapping[str, ConfigurationUpdate]:
    """Read ``{"<component>": {"merge": {...}, "reset": ["/pointer"]}}``, in JSON or YAML.

    Raises:
        DocumentError: it is something else; the message names the place and what was expected.
        OSError: the file cannot be read.
    """
    try:
        updates = TypeAdapter(dict[str, _Update]).validate_python(yaml.safe_load(path.read_bytes()))
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(f"{path}: {_explain(error)}") from error
    return {name: ConfigurationUpdate(one.merge, tuple(one.reset)) for name, one in updates.items()}


def _explain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"expected JSON or YAML: {error}"
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
