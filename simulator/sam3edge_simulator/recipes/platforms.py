"""Which manifest of a recipe is for this device."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping

from sam3edge_simulator.profiles import Profile

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "aarch64", "arm64": "aarch64", "i686": "x86"}


def device_attributes(profile: Profile) -> Mapping[str, str]:
    """Platform attributes of this machine under a nucleus.

    The operating system is always ``linux``: that is what the components are written for, whatever the laptop runs.
    """
    machine = platform.machine().lower()
    attributes = {"os": "linux", "architecture": _ARCHITECTURES.get(machine, "arm" if "arm" in machine else machine)}
    if machine.startswith("armv"):
        attributes["architecture.detail"] = machine
    if profile.runtime:
        attributes["runtime"] = profile.runtime
    return attributes


def fits(wanted: Mapping[str, object], device: Mapping[str, str], profile: Profile) -> bool:
    """Whether a manifest's ``Platform`` allows the device: every attribute in it must.

    A value is a name, ``*`` (or, for os and architecture, ``all`` and ``any``) for every device, ``/regex/``, or a list
    of these (``PlatformHelper`` of the component-common library).
    """
    if profile.needs_runtime and "runtime" not in wanted:
        return False
    return all(_attribute_fits(name, value, device.get(name)) for name, value in wanted.items())


def _attribute_fits(name: str, wanted: object, actual: str | None) -> bool:
    if isinstance(wanted, list):
        return any(_attribute_fits(name, one, actual) for one in wanted)
    if wanted == "*" or (name in ("os", "architecture") and wanted in ("all", "any")):
        return True
    if actual is None or not isinstance(wanted, str):
        return wanted is None and actual is None
    if len(wanted) >= 2 and wanted.startswith("/") and wanted.endswith("/"):
        return wanted == "//" or re.fullmatch(wanted[1:-1], actual) is not None
    return wanted == actual
