"""One raster of many: segmented, written, reported, and not done twice."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.ports import Engine
from sam3edge.durable import make_folder, write_file
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.runtime import OnnxOptions
from sam3edge.rasters.checkpoint import open_checkpoint
from sam3edge.rasters.options import RasterPrompt, SegmentOptions
from sam3edge.rasters.raster_file import open_raster_file
from sam3edge.rasters.segment import RasterRun
from sam3edge.vector.files import FeatureWriter, FormatKind
from sam3edge.vector.geoparquet import GeoParquet
from sam3edge.vector.rows import FeatureRefused, features_of
from sam3edge_pipeline.batch.inputs import RasterInput

DEVICE = "batch"
"""Where a device writes its name."""

SHARD = FormatKind(GeoParquet)
"""Without a style of its own: the folder of shards is one table."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a raster.

    Attributes:
        name, path: of the ``RasterInput``.
        features: how many were found.
        unsupported_prompts: phrases that the model does not know.
        error: why it was skipped; empty if it was not.
        resumed: whether it was done by an earlier run.
    """

    name: str
    path: str
    features: int = 0
    unsupported_prompts: tuple[str, ...] = ()
    error: str = ""
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of every raster; it travels to other processes.

    Attributes:
        bundle: folder of the model, on every computer that works.
        out: folder, shared by these computers: ``features`` becomes a table of a shard for each raster.
        threads: of the engine; 0 for one a core.
    """

    bundle: Path
    prompts: tuple[RasterPrompt, ...]
    options: SegmentOptions
    out: Path
    threads: int = 0

    @contextmanager
    def open(self) -> Iterator[RasterWorker]:
        """Load the model.

        Raises:
            BundleError: the bundle is not sound.
            EngineError: the model cannot run.
        """
        files = model_files(self.bundle, verify(self.bundle, None))
        with closing(open_engine(files, OnnxOptions(threads=self.threads))) as engine:
            yield RasterWorker(engine, self.prompts, self.options, self.out)


class RasterWorker:
    """Segments one raster after the other. Used by one thread.

    Args:
        engine: see ``segment_raster``; so are ``prompts`` and ``options``.
        out: as in ``Task``.
    """

    def __init__(self, engine: Engine, prompts: Sequence[RasterPrompt], options: SegmentOptions, out: Path) -> None:
        self._engine, self._prompts, self._options = engine, tuple(prompts), options
        self._features, self._reports, self._checkpoints = (out / n for n in ("features", "reports", "checkpoints"))
        for folder in (self._features, self._reports, self._checkpoints):
            make_folder(folder)

    def __call__(self, raster: RasterInput) -> Report:
        """Segment a raster, unless that was done before: with this model, prompts and options, and the same file.

        A process that is killed on the way leaves a checkpoint, by which the next one goes on.

        Raises:
            EngineError: the model cannot run.
            SettingsError, VectorFileError: ``out`` cannot be written.
        """
        asked = self._asked(raster)
        if (done := self._done(raster, asked)) is not None:
            return done
        checkpoint = self._checkpoints / f"{raster.name}.sqlite"
        try:
            with open_raster_file(raster.path, self._options.reading) as source, open_checkpoint(checkpoint) as kept:
                run = RasterRun(source, self._engine, self._prompts, self._options, kept)
                report = self._written(raster, run)
                self._keep(report, asked)
                kept.remove()
                return report
        except (FrameError, FeatureRefused) as error:
            report = Report(raster.name, raster.path, error=str(error))
            self._keep(report, asked)
            return report

    def _written(self, raster: RasterInput, run: RasterRun) -> Report:
        message: dict[str, Any] = {**run.collection(DEVICE), "features": run.features()}
        if raster.captured_at:
            message["frame"] = {**message["frame"], "captured_at": raster.captured_at}
        shard_name = f"{raster.name}.parquet"
        for draft in self._features.glob(f".{shard_name}.*"):  # of a process that was killed
            shutil.rmtree(draft, ignore_errors=True)
        with FeatureWriter(self._features / shard_name, SHARD) as shard:
            shard.write(features_of(message))
        return Report(raster.name, raster.path, shard.count, tuple(sorted(run.unsupported_prompts)))

    def _asked(self, raster: RasterInput) -> str:
        """Digest of all that a result depends on. Of a file in S3 its name stands for what is in it."""
        path = Path(raster.path)
        state = (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else ()
        asked = repr((raster, state, self._engine.model, self._prompts, self._options))
        return hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()

    def _done(self, raster: RasterInput, asked: str) -> Report | None:
        """The report of an earlier run; one of a raster that could not be read does not count."""
        try:
            kept: Mapping[str, Any] = json.loads(self._report_file(raster.name).read_bytes())
            report = Report(**{**kept["report"], "unsupported_prompts": tuple(kept["report"]["unsupported_prompts"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SettingsError(
                f"expected a report of ours in {self._report_file(raster.name)}, got {error!r}; use another --out"
            ) from error
        return None if kept["asked"] != asked or report.error else replace(report, resumed=True)

    def _keep(self, report: Report, asked: str) -> None:
        """Last of all: who finds it finds the shard."""
        document = json.dumps({"asked": asked, "report": asdict(report)}, indent=1)
        try:
            write_file(self._report_file(report.name), document.encode())
        except OSError as error:
            raise SettingsError(f"expected to write to {self._reports}: {error.strerror or error}") from error

    def _report_file(self, name: str) -> Path:
        return self._reports / f"{name}.json"
