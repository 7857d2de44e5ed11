"""Configuration of the components: a tree of values with time stamps, merged, reset and watched.

The rules are those of the classic nucleus (``com.aws.greengrass.config``): mappings are merged key by key, every other
value (lists too) is replaced as a whole, and a value keeps the time stamp of the update that set it, so that an older
update cannot overwrite a newer value.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str, ...]
"""Keys from the component's root to a node."""

Watcher: TypeAlias = Callable[[str, Path], None]
"""Called with the component and the path of a value that changed."""


DEFAULT_STAMP = 1
"""Time stamp of values from a recipe: every update is newer."""


class ConfigurationClash(ValueError):
    """An update would turn a mapping into a plain value, or the other way round."""


class ConfigurationMissing(KeyError):
    """There is no such component or key."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value that is not a mapping.

    Attributes:
        value: what JSON can carry.
        modified: milliseconds since 1970 of the update that set it.
    """

    value: object
    modified: int


_Tree: TypeAlias = "dict[str, _Tree | _Leaf]"


@dataclass(frozen=True, slots=True, eq=False)
class _Watch:
    component: str
    path: Path
    call: Watcher


class ConfigurationStore:
    """Values of all components. Used by several threads; watchers are called from the thread that made the change.

    Args:
        now: milliseconds since 1970.
    """

    def __init__(self, now: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._roots: dict[str, _Tree] = {}
        self._watches: set[_Watch] = set()

    def read(self, component: str, path: Sequence[str] = ()) -> Any:
        """The value at ``path`` as JSON would carry it: a mapping, or the bare value of a leaf.

        Raises:
            ConfigurationMissing: there is no such component or key.
        """
        with self._lock:
            return _plain(self._find(component, tuple(path)))

    def has(self, component: str) -> bool:
        """Whether the component has a configuration, be it an empty one."""
        with self._lock:
            return component in self._roots

    def modified(self, component: str, path: Sequence[str] = ()) -> int:
        """Milliseconds since 1970 of the newest value at or below ``path``; 0 for an empty mapping.

        Raises:
            ConfigurationMissing: there is no such component or key.
        """
        with self._lock:
            return _newest(self._find(component, tuple(path)))

    def merge(self, component: str, value: object, path: Sequence[str] = (), timestamp: int | None = None) -> None:
        """Merge a value in at ``path``, creating what is missing on the way.

        Values that are newer than ``timestamp`` stay as they are.

        Raises:
            ConfigurationClash: a mapping would replace a plain value, or the other way round; nothing is changed.

        Args:
            component: created when it is new.
            value: a mapping, or any JSON value when ``path`` is not empty.
            timestamp: milliseconds since 1970; now when None.
        """
        stamp = self._now() if timestamp is None else timestamp
        for key in reversed(path):
            value = {key: value}
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a mapping as configuration of {component}, got {type(value).__name__}")
        with self._lock:
            before = self._roots.get(component, {})
            root = _load(_export(before))
            _merge(root, value, stamp, ())
            self._roots[component] = root
            changed = _differences(_leaves(before), _leaves(root))
        self._tell(component, changed)

    def update(
        self,
        component: str,
        *,
        defaults: Mapping[str, object],
        reset: Iterable[str] = (),
        merge: Mapping[str, object] | None = None,
    ) -> bool:
        """Change a component's values as a deployment does: first reset, then add missing defaults, then merge.

        Args:
            component: created when it is new.
            defaults: the recipe's ``DefaultConfiguration``; values that exist already stay, be they old defaults.
            reset: JSON pointers (RFC 6901) of what is removed; the empty pointer means the whole configuration.
            merge: values that win.

        Returns:
            Whether any value changed.

        Raises:
            ConfigurationClash: a mapping would replace a plain value, or the other way round; nothing is changed.
            ValueError: ``reset`` holds something that is not a JSON pointer.
        """
        paths = [parse_pointer(pointer) for pointer in reset]
        with self._lock:
            before = _leaves(self._roots.get(component, {}))
            root = _load(_export(self._roots.get(component, {})))
            for path in paths:
                _remove(root, path)
            _merge(root, defaults, DEFAULT_STAMP, ())
            _merge(root, merge or {}, self._now(), ())
            self._roots[component] = root
            changed = _differences(before, _leaves(root))
        self._tell(component, changed)
        return bool(changed)

    def remove(self, component: str) -> None:
        """Forget a component."""
        with self._lock:
            self._roots.pop(component, None)

    def watch(self, component: str, path: Sequence[str], call: Watcher) -> Callable[[], None]:
        """Have ``call`` called for every changed value at or below ``path``.

        Returns:
            What ends it; calling it twice does no harm.
        """
        watch = _Watch(component, tuple(path), call)
        with self._lock:
            self._watches.add(watch)

        def end() -> None:
            with self._lock:
                self._watches.discard(watch)

        return end

    def export(self) -> dict[str, Any]:
        """Everything with its time stamps, as JSON can carry it; for ``load``."""
        with self._lock:
            return {name: _export(root) for name, root in self._roots.items()}

    def load(self, exported: Mapping[str, Any]) -> None:
        """Put back what ``export`` gave, in place of everything; watchers hear of what differs."""
        with self._lock:
            before = {name: _leaves(root) for name, root in self._roots.items()}
            self._roots = {name: _load(root) for name, root in exported.items()}
            after = {name: _leaves(root) for name, root in self._roots.items()}
        for name in before.keys() & after.keys():
            old, new = before[name], after[name]
            self._tell(name, _differences(old, new))

    def _find(self, component: str, path: Path) -> _Tree | _Leaf:
        node: _Tree | _Leaf | None = self._roots.get(component)
        if node is None:
            raise ConfigurationMissing(f"component {component!r} has no configuration")
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
            if node is None:
                raise ConfigurationMissing(f"component {component!r} has no configuration key {'/'.join(path)!r}")
        return node

    def _tell(self, component: str, changed: Sequence[Path]) -> None:
        with self._lock:
            watches = [watch for watch in self._watches if watch.component == component]
        for path in changed:
            for watch in watches:
                if path[: len(watch.path)] == watch.path:
                    watch.call(component, path)


def parse_pointer(pointer: str) -> Path:
    """Keys of a JSON pointer (RFC 6901).

    Raises:
        ValueError: it is not empty and does not start with a slash.
    """
    if not pointer:
        return ()
    if not pointer.startswith("/"):
        raise ValueError(f"expected a JSON pointer that starts with '/', got {pointer!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def _plain(node: _Tree | _Leaf) -> Any:
    if isinstance(node, _Leaf):
        return copy.deepcopy(node.value)
    return {key: _plain(child) for key, child in node.items()}


def _newest(node: _Tree | _Leaf) -> int:
    if isinstance(node, _Leaf):
        return node.modified
    return max((_newest(child) for child in node.values()), default=0)


def _merge(tree: _Tree, value: Mapping[str, object], stamp: int, at: Path) -> None:
    for key, new in value.items():
        old = tree.get(key)
        path = (*at, key)
        if isinstance(new, Mapping):
            if isinstance(old, _Leaf):
                raise ConfigurationClash(f"{'/'.join(path)} is a plain value, cannot become a mapping; reset it first")
            child: _Tree = {} if old is None else old
            tree[key] = child
            _merge(child, new, stamp, path)
        elif isinstance(old, dict):
            raise ConfigurationClash(f"{'/'.join(path)} is a mapping, cannot become a plain value; reset it first")
        elif old is None or (stamp != DEFAULT_STAMP and old.modified <= stamp):
            tree[key] = _Leaf(copy.deepcopy(new), stamp)


def _remove(tree: _Tree, path: Path) -> None:
    if not path:
        tree.clear()
        return
    for key in path[:-1]:
        child = tree.get(key)
        if not isinstance(child, dict):
            return
        tree = child
    tree.pop(path[-1], None)


def _differences(before: Mapping[Path, object], after: Mapping[Path, object]) -> list[Path]:
    """Paths whose values are not the same; 1, 1.0 and true are different values."""
    return sorted(
        path
        for path in before.keys() | after.keys()
        if path not in before
        or path not in after
        or before[path] != after[path]
        or type(before[path]) is not type(after[path])
    )


def _leaves(tree: _Tree, at: Path = ()) -> dict[Path, object]:
    leaves: dict[Path, object] = {}
    for key, child in tree.items():
        if isinstance(child, _Leaf):
            leaves[(*at, key)] = child.value
        else:
            leaves.update(_leaves(child, (*at, key)))
    return leaves


def _export(node: _Tree | _Leaf) -> Any:
    if isinstance(node, _Leaf):
        return [node.value, node.modified]
    return {key: _export(child) for key, child in node.items()}


def _load(exported: Mapping[str, Any]) -> _Tree:
    return {
        key: _Leaf(copy.deepcopy(node[0]), node[1]) if isinstance(node, list) else _load(node)
        for key, node in exported.items()
    }
