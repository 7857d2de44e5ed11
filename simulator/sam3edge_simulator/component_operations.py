"""The IPC operations of a nucleus, each checked against the profile and the component's access control."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol, TypeAlias

from sam3edge_simulator.configuration import ConfigurationClash, ConfigurationMissing, ConfigurationStore
from sam3edge_simulator.deployment_document import ConfigurationUpdate, Deployment, FailurePolicy
from sam3edge_simulator.ipc import fields
from sam3edge_simulator.ipc.errors import (
    FailedUpdateConditionCheckError,
    InvalidArgumentsError,
    InvalidTokenError,
    ResourceNotFoundError,
    ServiceError,
    UnauthorizedError,
)
from sam3edge_simulator.ipc.service import Answer, Request
from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.recipes.access import LOCAL_DEPLOYMENT, authorize
from sam3edge_simulator.states import State
from sam3edge_simulator.update_events import ConfigurationValidation, UpdateNotices

Handler: TypeAlias = Callable[[Request], "Answer | Future[Answer]"]

_MAX_METRIC_NAME = 32


class Host(Protocol):
    """What the operations need of the nucleus."""

    def component_of(self, token: str) -> str | None:
        """Name of the component with a token; None when there is none."""

    def report(self, component: str, state: State) -> None:
        """The component says what state it is in. Raises KeyError when it is not deployed."""

    def restart(self, component: str) -> None:
        """Stop a component and run it again. Raises KeyError when it is not deployed."""

    def submit(self, deployment: Deployment) -> str:
        """Carry out a deployment later; returns its id."""

    def configuration_changed(self) -> None:
        """A component changed its own values."""


class NucleusService:
    """Answers every request of every component (``ipc.Service``).

    Args:
        profile: which operations there are.
        host: the nucleus.
        handlers: by operation name; what is not in the profile is not served.
    """

    def __init__(self, profile: Profile, host: Host, handlers: Mapping[str, Handler]) -> None:
        self._profile = profile
        self._host = host
        self._handlers = {name: handler for name, handler in handlers.items() if name in profile.operations}

    def authenticate(self, token: str) -> str:
        """Name of the component with this token.

        Raises:
            InvalidTokenError: there is none.
        """
        component = self._host.component_of(token)
        if component is None:
            raise InvalidTokenError("the token belongs to no component that this nucleus has started")
        return component

    def handle(self, request: Request) -> Answer | Future[Answer]:
        """Answer one request.

        Raises:
            IpcError: answered to the component.
            ConnectionDropped: its connection is closed.
        """
        handler = self._handlers.get(request.operation)
        if handler is None:
            raise ServiceError(f"{request.operation} is not supported by the nucleus ({self._profile.name})")
        return handler(request)


class ComponentOperations:
    """Configuration, states, updates and local deployments."""

    def __init__(
        self,
        host: Host,
        configuration: ConfigurationStore,
        updates: UpdateNotices,
        validation: ConfigurationValidation,
        thing: str,
    ) -> None:
        self._host = host
        self._configuration = configuration
        self._updates = updates
        self._validation = validation
        self._thing = thing

    def handlers(self) -> Mapping[str, Handler]:
        """By operation name."""
        return {
            "CreateLocalDeployment": self._create_local_deployment,
            "DeferComponentUpdate": self._defer_update,
            "GetConfiguration": self._get_configuration,
            "PutComponentMetric": self._put_metric,
            "RestartComponent": self._restart,
            "SendConfigurationValidityReport": self._send_validity_report,
            "SubscribeToComponentUpdates": self._subscribe_to_updates,
            "SubscribeToConfigurationUpdate": self._subscribe_to_configuration,
            "SubscribeToValidateConfigurationUpdates": self._subscribe_to_validation,
            "UpdateConfiguration": self._update_configuration,
            "UpdateState": self._update_state,
            "ValidateAuthorizationToken": self._validate_token,
        }

    def _get_configuration(self, request: Request) -> Answer:
        component = fields.optional_text(request.payload, "componentName") or request.component
        path = fields.texts(request.payload, "keyPath")
        try:
            value = self._configuration.read(component, path)
        except ConfigurationMissing as error:
            raise ResourceNotFoundError(f"Key not found: {error}") from error
        # A plain value comes wrapped in a mapping under its own key.
        return {"componentName": component, "value": value if isinstance(value, dict) else {path[-1]: value}}

    def _update_configuration(self, request: Request) -> Answer:
        path = fields.texts(request.payload, "keyPath")
        value = fields.mapping(request.payload, "valueToMerge")
        stamp = request.payload.get("timestamp")
        if isinstance(stamp, bool) or not isinstance(stamp, (int, float)):
            raise InvalidArgumentsError(f"expected seconds since 1970 as timestamp, got {stamp!r}")
        if (path and path[0] == "accessControl") or (not path and "accessControl" in value):
            raise InvalidArgumentsError("Config update is not allowed for following fields [accessControl]")
        milliseconds = int(stamp * 1000)
        try:
            if self._configuration.modified(request.component, path) > milliseconds:
                raise FailedUpdateConditionCheckError(
                    "Proposed timestamp is older than the config's latest modified timestamp"
                )
        except ConfigurationMissing:
            pass
        try:
            self._configuration.merge(request.component, value, path, milliseconds)
        except ConfigurationClash as error:
            raise InvalidArgumentsError(str(error)) from error
        self._host.configuration_changed()
        return {}

    def _subscribe_to_configuration(self, request: Request) -> Answer:
        component = fields.optional_text(request.payload, "componentName") or request.component
        path = fields.texts(request.payload, "keyPath")
        try:
            self._configuration.read(component, path)
        except ConfigurationMissing as error:
            raise ResourceNotFoundError(f"Key not found: {error}") from error

        def changed(name: str, at: tuple[str, ...]) -> None:
            request.stream.send({"configurationUpdateEvent": {"componentName": name, "keyPath": list(at)}})

        request.stream.on_close(self._configuration.watch(component, path, changed))
        return {}

    def _update_state(self, request: Request) -> Answer:
        state = fields.text(request.payload, "state")
        if state not in (State.RUNNING.value, State.ERRORED.value):
            raise InvalidArgumentsError(f"expected RUNNING or ERRORED as state, got {state!r}")
        try:
            self._host.report(request.component, State(state))
        except KeyError as error:
            raise _unknown(request.component) from error
        return {}

    def _put_metric(self, request: Request) -> Answer:
        # Only Amazon's own components may: for every other one the answer is this error.
        if not request.component.startswith("aws."):
            raise UnauthorizedError(f"Principal {request.component} is not authorized to perform PutComponentMetric")
        metrics = request.payload.get("metrics")
        if not isinstance(metrics, list) or not metrics:
            raise InvalidArgumentsError("expected at least one metric, got none")
        for metric in metrics:
            name = metric.get("name") if isinstance(metric, dict) else None
            if not isinstance(name, str) or not 0 < len(name.encode()) <= _MAX_METRIC_NAME:
                raise InvalidArgumentsError(f"expected 1..{_MAX_METRIC_NAME} bytes as metric name, got {name!r}")
        return {}

    def _subscribe_to_updates(self, request: Request) -> Answer:
        self._updates.subscribe(request.component, request.stream)
        return {}

    def _defer_update(self, request: Request) -> Answer:
        recheck = request.payload.get("recheckAfterMs") or 0
        if isinstance(recheck, bool) or not isinstance(recheck, int) or recheck < 0:
            raise InvalidArgumentsError(f"expected milliseconds as recheckAfterMs, got {recheck!r}")
        self._updates.defer(request.component, fields.text(request.payload, "deploymentId"), recheck)
        return {}

    def _subscribe_to_validation(self, request: Request) -> Answer:
        self._validation.subscribe(request.component, request.stream)
        return {}

    def _send_validity_report(self, request: Request) -> Answer:
        report = fields.mapping(request.payload, "configurationValidityReport")
        status = fields.text(report, "status")
        message = fields.optional_text(report, "message")
        self._validation.report(request.component, accepted=status == "ACCEPTED", message=message)
        return {}

    def _restart(self, request: Request) -> Answer:
        component = fields.text(request.payload, "componentName")
        self._authorize_local(request, component)
        try:
            self._host.restart(component)
        except KeyError as error:
            raise _unknown(component) from error
        return {"restartStatus": "SUCCEEDED"}

    def _create_local_deployment(self, request: Request) -> Answer:
        self._authorize_local(request, "*")
        payload = request.payload
        recipes = fields.optional_text(payload, "recipeDirectoryPath")
        artifacts = fields.optional_text(payload, "artifactsDirectoryPath")
        policy = fields.optional_text(payload, "failureHandlingPolicy") or FailurePolicy.ROLLBACK.value
        if policy not in [known.value for known in FailurePolicy]:
            raise InvalidArgumentsError(f"expected ROLLBACK or DO_NOTHING as failureHandlingPolicy, got {policy!r}")
        deployment = Deployment(
            add={k: str(v) for k, v in fields.optional_mapping(payload, "rootComponentVersionsToAdd").items()},
            remove=fields.texts(payload, "rootComponentsToRemove"),
            configuration={
                name: _configuration_update(name, update)
                for name, update in fields.optional_mapping(payload, "componentToConfiguration").items()
            },
            recipes=Path(recipes) if recipes else None,
            artifacts=Path(artifacts) if artifacts else None,
            on_failure=FailurePolicy(policy),
        )
        return {"deploymentId": self._host.submit(deployment)}

    def _validate_token(self, request: Request) -> Answer:
        if self._host.component_of(fields.text(request.payload, "token")) is None:
            raise InvalidTokenError("Invalid token used by stream manager when trying to authorize")
        return {"isValid": True}

    def _authorize_local(self, request: Request, resource: str) -> None:
        try:
            policies = self._configuration.read(request.component, ("accessControl",))
        except ConfigurationMissing:
            policies = None
        authorize(request.component, policies, LOCAL_DEPLOYMENT, request.operation, resource, thing=self._thing)


def _unknown(component: str) -> ResourceNotFoundError:
    return ResourceNotFoundError(
        f"Component {component} is not deployed", resourceType="Component", resourceName=component
    )


def _configuration_update(component: str, update: object) -> ConfigurationUpdate:
    if not isinstance(update, Mapping) or not update.keys() <= {"MERGE", "RESET"}:
        raise InvalidArgumentsError(f"expected MERGE and RESET for {component}, got {update!r}")
    merge, reset = update.get("MERGE") or {}, update.get("RESET") or []
    if not isinstance(merge, Mapping) or not isinstance(reset, list):
        raise InvalidArgumentsError(f"expected an object as MERGE and a list as RESET for {component}")
    return ConfigurationUpdate(merge, tuple(str(pointer) for pointer in reset))
