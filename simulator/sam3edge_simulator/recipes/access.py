"""What components may do: the ``accessControl`` section of their configuration.

Source: developer guide, *Authorize components to perform IPC operations*; ``AuthorizationHandler`` and ``WildcardTrie``
of the classic nucleus, ``ipc_authz.c`` of nucleus lite.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from sam3edge_simulator.ipc.errors import UnauthorizedError

MQTT_PROXY = "aws.greengrass.ipc.mqttproxy"
PUBSUB = "aws.greengrass.ipc.pubsub"
LOCAL_DEPLOYMENT = "aws.greengrass.Cli"


def authorize(
    component: str, access_control: object, service: str, operation: str, resource: str, *, thing: str
) -> None:
    """Let one operation pass, or refuse it.

    In a policy's resources ``*`` matches any characters, and ``{iot:thingName}`` is the name of the thing; for the
    MQTT proxy ``+`` and ``#`` are wildcards as in a subscription. ``${*}`` is a plain ``*``.

    Args:
        component: the caller.
        access_control: its ``accessControl``, or None.
        service: which service is asked: ``MQTT_PROXY``, ``PUBSUB`` or ``LOCAL_DEPLOYMENT``.
        operation: name without namespace.
        resource: topic or filter, or component name.
        thing: name of the thing.

    Raises:
        UnauthorizedError: no policy allows it.
    """
    mqtt = service == MQTT_PROXY
    policies = access_control.get(service) if isinstance(access_control, Mapping) else None
    for policy in (policies or {}).values() if isinstance(policies, Mapping) else ():
        operations = policy.get("operations", ()) if isinstance(policy, Mapping) else ()
        if "*" not in operations and f"aws.greengrass#{operation}" not in operations:
            continue
        for pattern in policy.get("resources", ()):
            if _expression(str(pattern).replace("{iot:thingName}", thing), mqtt).fullmatch(resource):
                return
    raise UnauthorizedError(
        f"Principal {component} is not authorized to perform {service}:aws.greengrass#{operation} on resource "
        f"{resource}; allow it in accessControl of its configuration"
    )


@lru_cache(maxsize=1024)
def _expression(pattern: str, mqtt: bool) -> re.Pattern[str]:
    expression = ""
    for part in re.findall(r"\$\{.\}|.", pattern, re.DOTALL):
        if part == "*":
            expression += ".*"
        elif part == "+" and mqtt:
            expression += "[^/]*"
        elif part == "#" and mqtt:
            # a/# covers a as well
            expression = f"{expression[:-1]}(?:/.*)?" if expression.endswith("/") else f"{expression}.*"
        else:
            expression += re.escape(part[2] if len(part) == 4 else part)
    return re.compile(expression, re.DOTALL)
