"""The two nuclei as they differ, in numbers and rules.

Sources: the classic nucleus 2.18 (Java), nucleus lite 2.6 (C) and the developer guide; what the comments call *seen*
was measured against the real nucleus lite with a TLS broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Publishing(Enum):
    """What a publish to IoT Core means to a nucleus."""

    SPOOL = "spool"
    """Answered once it lies in a bounded spool in memory, which is sent when there is a connection."""

    DIRECT = "direct"
    """Answered once it is written to the connection; without one an error, and what was under way is lost with it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Rules and limits of one nucleus.

    Attributes:
        name: ``classic`` or ``lite``.
        version: what components read as ``GGC_VERSION``.
        runtime: the platform attribute ``runtime`` of the device; empty when the nucleus has none.
        needs_runtime: whether a manifest without the attribute ``runtime`` is passed over.
        case_sensitive: whether the keys of a recipe are read exactly as written.
        yaml_as_text: whether numbers and truth values of a YAML recipe arrive as text.
        ignored_steps: lifecycle steps that never run.
        skips: whether ``Skipif`` is heeded.
        cuts_scripts: whether a script ends at the first ``{`` that is not a known variable; else it is left as it is.
        cross_component_variables: whether ``{component:artifacts:path}`` is known.
        path_suffix: what follows the folder in ``{work:path}`` and ``{artifacts:path}``.
        rolls_back: whether a failed deployment restores what ran before.
        restarts_on_configuration: whether a new configuration value restarts the component.
        ready_states: states of a HARD dependency in which the dependent may start.
        restart_delay: seconds before the first restart after a failure.
        restart_growth: factor by which the delay grows with each further failure.
        stop_grace: seconds between SIGTERM and SIGKILL.
        failure_memory: seconds for which a failure counts towards BROKEN.
        publishing: what a publish to IoT Core means.
        in_flight: unacknowledged publishes at most.
        publish_buffer: bytes that all of them share, with their topics; 0 for no such bound.
        spool_bytes: payload bytes that the spool holds at most; 0 without one.
        largest_publish: payload bytes; more is refused, or closes the connection when ``drops_large``.
        drops_large: whether a larger publish closes the whole IPC connection.
        largest_delivery: payload bytes; larger messages to the device never arrive.
        ends_streams: whether answers without events end their stream on the wire.
        operations: names of the IPC operations that are served; every other one answers ServiceError.
        builtin: components that are part of the nucleus, with their versions.
    """

    name: str
    version: str
    runtime: str
    needs_runtime: bool
    case_sensitive: bool
    yaml_as_text: bool
    ignored_steps: frozenset[str]
    skips: bool
    cuts_scripts: bool
    cross_component_variables: bool
    path_suffix: str
    rolls_back: bool
    restarts_on_configuration: bool
    ready_states: frozenset[str]
    restart_delay: float
    restart_growth: float
    stop_grace: float
    failure_memory: float
    publishing: Publishing
    in_flight: int
    publish_buffer: int
    spool_bytes: int
    largest_publish: int
    drops_large: bool
    largest_delivery: int
    ends_streams: bool
    operations: frozenset[str]
    builtin: Mapping[str, str]


IOT_CORE_LARGEST_PAYLOAD = 128 * 1024
"""Bytes; AWS IoT Core's own limit for one message."""

_COMMON_OPERATIONS = frozenset(
    {
        "CreateLocalDeployment",
        "GetConfiguration",
        "PublishToIoTCore",
        "PublishToTopic",
        "RestartComponent",
        "SubscribeToConfigurationUpdate",
        "SubscribeToIoTCore",
        "SubscribeToTopic",
        "UpdateConfiguration",
        "UpdateState",
        "ValidateAuthorizationToken",
    }
)

CLASSIC = Profile(
    name="classic",
    version="2.18.0",
    runtime="",
    needs_runtime=False,
    case_sensitive=False,
    yaml_as_text=False,
    ignored_steps=frozenset(),
    skips=True,
    cuts_scripts=False,
    cross_component_variables=True,
    path_suffix="",
    rolls_back=True,
    restarts_on_configuration=False,
    ready_states=frozenset({"RUNNING", "FINISHED"}),
    restart_delay=1.0,
    restart_growth=2.0,
    stop_grace=5.0,
    failure_memory=3600.0,
    publishing=Publishing.SPOOL,
    in_flight=5,
    publish_buffer=0,
    spool_bytes=int(2.5 * 1024 * 1024),
    largest_publish=IOT_CORE_LARGEST_PAYLOAD,
    drops_large=False,
    largest_delivery=IOT_CORE_LARGEST_PAYLOAD,
    ends_streams=True,
    operations=_COMMON_OPERATIONS
    | {
        "DeferComponentUpdate",
        "PutComponentMetric",
        "SendConfigurationValidityReport",
        "SubscribeToComponentUpdates",
        "SubscribeToValidateConfigurationUpdates",
    },
    builtin={"aws.greengrass.Nucleus": "2.18.0", "aws.greengrass.TokenExchangeService": "2.0.3"},
)

LITE = Profile(
    name="lite",
    version="2.6.0",
    runtime="aws_nucleus_lite",
    needs_runtime=True,
    case_sensitive=True,
    yaml_as_text=True,
    ignored_steps=frozenset({"shutdown", "recover"}),
    skips=False,
    cuts_scripts=True,
    cross_component_variables=False,
    path_suffix="/",
    rolls_back=False,
    restarts_on_configuration=True,
    # systemd's BindsTo: a unit that only installed, or has ended, is not active.
    ready_states=frozenset({"RUNNING"}),
    restart_delay=1.0,  # RestartSec of the generated units
    restart_growth=1.0,
    stop_grace=15.0,
    failure_memory=3600.0,
    publishing=Publishing.DIRECT,
    in_flight=10,
    publish_buffer=15_000,  # seen; a part of it stays taken when the connection breaks, until the daemon restarts
    spool_bytes=0,
    largest_publish=7_300,
    drops_large=True,
    largest_delivery=4_800,
    ends_streams=False,
    operations=_COMMON_OPERATIONS,
    builtin={"aws.greengrass.NucleusLite": "2.6.0", "aws.greengrass.TokenExchangeService": "2.0.3"},
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (CLASSIC, LITE)}
"""By name."""
