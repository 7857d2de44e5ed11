"""The folder that a run writes: shards of features, a report for each raster, and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge.durable import make_folder, write_file
from sam3edge.vector.files import FeatureWriter, FormatKind
from sam3edge.vector.geoparquet import GeoParquetShard

SHARD = FormatKind(GeoParquetShard)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a raster.

    Attributes:
        name, path: of the ``RasterInput``.
        features: how many were found.
        unsupported_prompts: phrases that the model does not know.
        no_place: why its features have no place on Earth; empty where they have.
        error: why it was skipped; empty if it was not.
        resumed: whether it was done by an earlier run.
    """

    name: str
    path: str
    features: int = 0
    unsupported_prompts: tuple[str, ...] = ()
    no_place: str = ""
    error: str = ""
    resumed: bool = False


class Results:
    """What is known of each raster. Several processes may use one folder, each for rasters of its own."""

    def __init__(self, out: Path) -> None:
        self._features, self._reports, self._checkpoints = (out / n for n in ("features", "reports", "checkpoints"))

    def open(self) -> None:
        """Make the folders.

        Raises:
            SettingsError: that is not possible, or there are features of others.
        """
        try:
            for folder in (self._features, self._reports, self._checkpoints):
                make_folder(folder)
            # a shard of ours has a report; or, while it is made, a checkpoint, which goes after the report has come
            found, begun, done = (
                [path.name for path in folder.iterdir()]
                for folder in (self._features, self._checkpoints, self._reports)
            )
        except OSError as error:
            raise SettingsError(
                f"expected --out to be a folder to write to, {error.filename} is none: {error.strerror}"
            ) from error
        ours = {f"{Path(name).stem}.parquet" for name in (*begun, *done)}
        # readers of folders pass over what begins so
        others = sorted(name for name in found if name not in ours and not name.startswith((".", "_")))
        if others:
            raise SettingsError(
                f"{self._features} becomes one table of what is found, and holds {others[0]}, which no run has "
                "written; use another --out, or put it elsewhere"
            )

    def checkpoint(self, name: str) -> Path:
        """Of a raster's name."""
        return self._checkpoints / f"{name}.sqlite"

    def write(self, name: str, features: Iterable[Mapping[str, Any]]) -> int:
        """Write a raster's shard, whole or not at all.

        Returns:
            How many features there were.

        Raises:
            FeatureRefused, VectorFileError: as ``FeatureWriter``.
        """
        with FeatureWriter(self._shard(name), SHARD) as shard:
            shard.write(features)
        return shard.count

    def done(self, name: str, asked: str) -> Report | None:
        """The report of an earlier run to which the same was asked; one of a raster that could not be read, or whose
        shard is gone, does not count.

        Raises:
            SettingsError: it is no report of ours.
        """
        file = self._report(name)
        try:
            kept: Mapping[str, Any] = json.loads(file.read_bytes())
            report = Report(**{**kept["report"], "unsupported_prompts": tuple(kept["report"]["unsupported_prompts"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"expected a report of ours in {file}, got {error!r}; use another --out") from error
        counts = kept["asked"] == asked and not report.error and self._shard(name).is_file()
        return replace(report, resumed=True) if counts else None

    def keep(self, report: Report, asked: str) -> None:
        """Keep a report, after the shard: who finds it finds that. What an earlier run found in a raster that is
        skipped now goes.

        Raises:
            SettingsError: it cannot be written.
        """
        document = json.dumps({"asked": asked, "report": asdict(report)}, indent=1)
        try:
            if report.error:
                self._shard(report.name).unlink(missing_ok=True)
            write_file(self._report(report.name), document.encode())
        except OSError as error:
            raise SettingsError(f"expected to write to {self._reports}: {error.strerror or error}") from error

    def _shard(self, name: str) -> Path:
        return self._features / f"{name}.parquet"

    def _report(self, name: str) -> Path:
        return self._reports / f"{name}.json"
