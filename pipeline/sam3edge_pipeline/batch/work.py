"""One raster of many: segmented, written, reported, and not done twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.errors import FrameError
from sam3edge.core.ports import Engine
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.runtime import OnnxOptions
from sam3edge.rasters.checkpoint import open_checkpoint
from sam3edge.rasters.options import RasterPrompt, SegmentOptions
from sam3edge.rasters.raster_file import open_raster_file
from sam3edge.rasters.segment import RasterRun
from sam3edge.vector.rows import FeatureRefused, features_of
from sam3edge_pipeline.batch.inputs import RasterInput
from sam3edge_pipeline.batch.results import Report, Results

DEVICE = "batch"
"""Where a device writes its name."""


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
            SettingsError: ``out`` is no folder to write to, or there are features of others.
        """
        results = Results(self.out)
        results.open()
        files = model_files(self.bundle, verify(self.bundle, None))
        with closing(open_engine(files, OnnxOptions(threads=self.threads))) as engine:
            yield RasterWorker(engine, self.prompts, self.options, results)


class RasterWorker:
    """Segments one raster after the other. Used by one thread.

    Args:
        engine: see ``segment_raster``; so are ``prompts`` and ``options``.
        results: opened.
    """

    def __init__(
        self, engine: Engine, prompts: Sequence[RasterPrompt], options: SegmentOptions, results: Results
    ) -> None:
        self._engine, self._prompts, self._options, self._results = engine, tuple(prompts), options, results

    def __call__(self, raster: RasterInput) -> Report:
        """Segment a raster, unless that was done before: with this model, prompts and options, and the same file.

        A process that is killed on the way leaves a checkpoint, by which the next one goes on.

        Raises:
            EngineError: the model cannot run.
            SettingsError, VectorFileError: the results cannot be written.
        """
        asked = self._asked(raster)
        if (done := self._results.done(raster.name, asked)) is not None:
            return done
        options, checkpoint = self._options_for(raster), self._results.checkpoint(raster.name)
        try:
            with open_raster_file(raster.path, options.reading) as source, open_checkpoint(checkpoint) as kept:
                run = RasterRun(source, self._engine, self._prompts, options, kept)
                report = replace(self._written(raster, run), no_place=source.no_place)
                self._results.keep(report, asked)
                kept.remove()
                return report
        except (FrameError, FeatureRefused, OSError) as error:  # the last one of a medium; those of results have names
            report = Report(raster.name, raster.path, error=str(error))
            self._results.keep(report, asked)
            return report

    def _options_for(self, raster: RasterInput) -> SegmentOptions:
        """What a user's own bucket lists is allowed, and it alone: STAC items name other people's."""
        if not raster.listed:
            return self._options
        reading = self._options.reading
        return replace(self._options, reading=replace(reading, virtual=(*reading.virtual, raster.path)))

    def _written(self, raster: RasterInput, run: RasterRun) -> Report:
        message: dict[str, Any] = {**run.collection(DEVICE), "features": run.features()}
        if raster.captured_at:
            message["frame"] = {**message["frame"], "captured_at": raster.captured_at}
        count = self._results.write(raster.name, features_of(message))
        return Report(raster.name, raster.path, count, tuple(sorted(run.unsupported_prompts)))

    def _asked(self, raster: RasterInput) -> str:
        """Digest of all that a result depends on. Of what is neither a file nor listed its name stands for what is in
        it."""
        path, reading = Path(raster.path), self._options.reading
        files = [_state(one) for one in (path, *_beside(path), reading.place.elevation, reading.mask)]
        asked = repr((raster, files, self._engine.model, self._prompts, self._options))
        return hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()


def _beside(path: Path) -> Iterator[Path]:
    """Files by which GDAL and we know where an image is, which of it counts, or how it looks from afar; they may come
    later than it. Looked up by their names: folders may hold very many files."""
    kind = path.suffix[1:]
    for ending in (f"{kind[:1]}{kind[-1:]}w", f"{kind}w", "wld", "prj", "rpb", "imd", "aux"):
        yield from (path.with_suffix(f".{one}") for one in (ending.lower(), ending.upper()))
    yield from (path.with_name(f"{path.stem}{one}") for one in ("_rpc.txt", "_RPC.TXT", "_metadata.txt"))
    yield from (path.with_name(f"{path.name}{one}") for one in (".aux.xml", ".ovr", ".msk", ".msk.ovr"))


def _state(path: str | Path | None) -> tuple[int, ...]:
    """By which a change of a file is seen; empty where there is none."""
    try:
        status = Path(path).stat() if path is not None else None
    except (OSError, ValueError):
        return ()
    return () if status is None else (status.st_size, status.st_mtime_ns)
