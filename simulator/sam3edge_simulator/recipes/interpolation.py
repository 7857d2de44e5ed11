"""Recipe variables in lifecycle scripts, as each nucleus replaces them.

The classic nucleus replaces what it knows and leaves everything else (``KernelConfigResolver``). Nucleus lite writes
the script up to the first ``{`` that it cannot replace, and runs that (``recipe-runner``): ``${HOME}`` cuts it short.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sam3edge_simulator.configuration import parse_pointer
from sam3edge_simulator.profiles import Profile

_ONE = re.compile(r"\{(?:([.\w]+):)?([.\w]+):([^:}]+)\}")


@dataclass(frozen=True, slots=True)
class Places:
    """Where one component's files lie.

    Attributes:
        artifacts: folder of its artifacts as they came.
        decompressed: folder of its unpacked artifacts, one folder per archive.
        work: its working folder.
    """

    artifacts: Path
    decompressed: Path
    work: Path


@dataclass(frozen=True, slots=True)
class Variables:
    """What the variables of one component's recipe mean.

    Attributes:
        thing: name of the thing.
        root: the nucleus's root folder.
        places: folders of the component itself.
        configuration: its configuration, a JSON mapping.
        dependencies: the same of its direct dependencies, by name (classic nucleus only).
        suffix: what follows a folder's path.
    """

    thing: str
    root: Path
    places: Places
    configuration: Mapping[str, object]
    suffix: str = ""
    dependencies: Mapping[str, Variables] = field(default_factory=dict)

    def value(self, namespace: str, key: str) -> str | None:
        """Replacement of ``{namespace:key}``; None when there is none."""
        folders = {
            ("artifacts", "path"): self.places.artifacts,
            ("artifacts", "decompressedPath"): self.places.decompressed,
            ("work", "path"): self.places.work,
        }
        if (namespace, key) in folders:
            return f"{folders[namespace, key]}{self.suffix}"
        if (namespace, key) == ("kernel", "rootPath"):
            return str(self.root)
        if (namespace, key) == ("iot", "thingName"):
            return self.thing
        if namespace == "configuration":
            return _configured(self.configuration, key)
        return None


def replace(text: str, variables: Variables) -> str:
    """Replace every variable that is known; the others stay as they are."""

    def one(match: re.Match[str]) -> str:
        component, namespace, key = match.groups()
        owner = variables.dependencies.get(component) if component else variables
        found = owner.value(namespace, key) if owner is not None else None
        return match[0] if found is None else found

    return _ONE.sub(one, text)


def replace_or_cut(text: str, variables: Variables, escape: Callable[[str], str]) -> tuple[str, bool]:
    """Replace variables up to the first ``{`` that is not a variable.

    Args:
        text: what to replace in.
        variables: what they mean.
        escape: applied to configuration values, so that the shell reads them as they are.

    Returns:
        The text as far as it went, and whether it went to the end.
    """
    done = ""
    rest = text
    while True:
        before, brace, after = rest.partition("{")
        done += before
        if not brace:
            return done, True
        inside, closing, rest = after.partition("}")
        namespace, colon, key = inside.partition(":")
        found = variables.value(namespace, key) if closing and colon else None
        if found is None:
            return done, False
        done += escape(found) if namespace == "configuration" else found


def escape_for_script(value: str) -> str:
    """A configuration value as nucleus lite writes it into a script."""
    return re.sub(r'(["\\$`])', r"\\\1", value)


def escape_in_single_quotes(value: str) -> str:
    """A value as nucleus lite writes it between the single quotes of an ``export``."""
    return value.replace("'", "'\\''")


def interpolate(text: str, variables: Variables, profile: Profile) -> str:
    """Replace the variables of one text that is not a script (a time limit, a condition, a policy's resource)."""
    if profile.cuts_scripts:
        return replace_or_cut(text, variables, str)[0]
    return replace(text, variables)


def _configured(configuration: Mapping[str, object], pointer: str) -> str | None:
    node: object = configuration
    for key in parse_pointer(pointer if pointer.startswith("/") else f"/{pointer}"):
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    if isinstance(node, str):
        return node
    return json.dumps(node, separators=(",", ":"), sort_keys=True)
