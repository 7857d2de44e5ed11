"""What the device remembers over a restart: what it runs, its configuration, and what ran before each deployment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

KEPT_RECORDS = 50


class NothingToRestore(Exception):
    """There is no deployment before the present one."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a device ran at one time.

    Attributes:
        roots: version ranges that deployments asked for, by component name.
        components: versions that were chosen, dependencies included.
        configuration: all values with their time stamps (``ConfigurationStore.export``).
    """

    roots: Mapping[str, str] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One deployment that changed the device.

    Attributes:
        id: what ``deploy`` called it.
        at: when it ended, UTC, ISO 8601.
        status: how it ended.
        reason: why it failed; empty on success.
        before: what ran before it.
    """

    id: str
    at: str
    status: str
    reason: str
    before: Snapshot


class History:
    """The device's memory in one file. Used by one thread at a time.

    Args:
        path: the file; created with its folder on the first change.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._present = Snapshot()
        self._records: tuple[Record, ...] = ()
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            self._present = Snapshot(**stored["present"])
            self._records = tuple(
                Record(**{**record, "before": Snapshot(**record["before"])}) for record in stored["records"]
            )

    @property
    def present(self) -> Snapshot:
        """What the device runs now."""
        return self._present

    @property
    def records(self) -> tuple[Record, ...]:
        """Deployments that may be undone, oldest first."""
        return self._records

    def remember(self, present: Snapshot, *, deployment: str, status: str, reason: str = "") -> None:
        """A deployment brought the device to ``present``."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        record = Record(deployment, now, status, reason, self._present)
        self._records = (*self._records, record)[-KEPT_RECORDS:]
        self._present = present
        self._save()

    def last(self) -> Record:
        """The deployment that a roll-back undoes.

        Raises:
            NothingToRestore: there is none.
        """
        if not self._records:
            raise NothingToRestore("no deployment to roll back: nothing was deployed since the device was set up")
        return self._records[-1]

    def undo(self, present: Snapshot) -> None:
        """The last deployment is undone; the device runs ``present``."""
        self._records = self._records[:-1]
        self._present = present
        self._save()

    def configured(self, configuration: Mapping[str, Any]) -> None:
        """The configuration changed outside a deployment."""
        self._present = replace(self._present, configuration=configuration)
        self._save()

    def uses(self, name: str, version: str) -> bool:
        """Whether a component version runs now, or would after a roll-back."""
        snapshots = (self._present, *(record.before for record in self._records))
        return any(snapshot.components.get(name) == version for snapshot in snapshots)

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        stored = {"present": asdict(self._present), "records": [asdict(record) for record in self._records]}
        draft = self._path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(stored, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
