"""Where the work is done: in this process, or in the processes of Ray, on this computer or on a cluster."""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sam3edge.core.errors import EngineError, SettingsError
from sam3edge_pipeline.batch.inputs import RasterInput
from sam3edge_pipeline.batch.results import Report
from sam3edge_pipeline.batch.work import RasterWorker, Task

OBJECT_STORE = 80 << 20
"""Bytes, about the least that Ray takes: only names and reports go through it."""

ANSWER_SECONDS = 10.0
"""Within which a cluster takes a connection; Ray itself asks for ever."""

_HOST_AND_PORT = re.compile(r"(?:\w+://)?\[?(?P<host>[^/]+?)\]?:(?P<port>\d+)")


class Runner(Protocol):
    """What does a task for many rasters."""

    def run(self, task: Task, rasters: Sequence[RasterInput]) -> Iterator[Report]:
        """A report for each, in any order.

        Raises:
            EngineError: the model cannot run.
            SettingsError, VectorFileError: the results cannot be written, or there is no such cluster.
        """


class ThisProcess:
    """One raster after the other. Needs no Ray."""

    def run(self, task: Task, rasters: Sequence[RasterInput]) -> Iterator[Report]:
        """See ``Runner``."""
        with task.open() as worker:
            yield from map(worker, rasters)


@dataclass(frozen=True, slots=True)
class RayProcesses:
    """Ray Data (https://docs.ray.io/en/latest/data/data.html): each process loads the model once. Those that die are
    replaced, and what they had goes on where it was.

    Attributes:
        workers: how many.
        address: of a cluster, as ``ray.init`` takes it; empty for processes on this computer.
        gpus: of each worker; a part of one is shared.
    """

    workers: int
    address: str = ""
    gpus: float = 0.0

    def run(self, task: Task, rasters: Sequence[RasterInput]) -> Iterator[Report]:
        """See ``Runner``."""
        with self._ray() as ray:
            rows = [asdict(raster) for raster in rasters]
            # a block each, so that a worker that dies takes nothing of another raster with it
            reports = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                _Worker,
                fn_constructor_args=(task,),
                compute=ray.data.ActorPoolStrategy(size=self.workers),
                num_gpus=self.gpus or None,
            )
            try:
                for row in reports.iter_rows():
                    yield Report(**{**row, "unsupported_prompts": tuple(row["unsupported_prompts"])})
            except ray.exceptions.RayError as error:
                raise EngineError(f"a worker cannot go on: {_reason(error)}") from error

    @contextmanager
    def _ray(self) -> Iterator[Any]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers of every run
        import ray
        import ray.data

        with ExitStack() as stack:
            here: Mapping[str, Any] = {"address": self.address}
            if not self.address:
                logs = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
                here = {
                    "address": "local",
                    "num_cpus": self.workers,
                    "include_dashboard": False,
                    "object_store_memory": OBJECT_STORE,
                    "_temp_dir": logs,
                }
            else:
                _require_answer(self.address)
            try:
                ray.init(**here, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError) as error:
                raise SettingsError(f"Ray cannot be used at {self.address or 'this computer'}: {error}") from error
            stack.callback(ray.shutdown)
            ray.data.DataContext.get_current().enable_progress_bars = False
            yield ray


class _Worker:
    """A ``RasterWorker`` as Ray makes and calls it."""

    def __init__(self, task: Task) -> None:
        self._stack = ExitStack()
        self._worker: RasterWorker = self._stack.enter_context(task.open())

    def __call__(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return asdict(self._worker(RasterInput(**row)))


def _require_answer(address: str) -> None:
    """Names such as ``auto`` are left to Ray, which knows what they stand for."""
    if (named := _HOST_AND_PORT.fullmatch(address)) is None:
        return
    try:
        with socket.create_connection((named["host"], int(named["port"])), ANSWER_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"no Ray cluster answers at {address}: {error}; ray status says the address on the cluster's computers"
        ) from error


def _reason(error: BaseException) -> str:
    """What the worker itself said, without Ray's account of how it came here: errors are told apart by text only, since
    what a worker raises arrives wrapped in several others."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = [line.partition(": ")[2] for line in lines if line.startswith("sam3edge.core.errors.")]
    return (ours or lines or [type(error).__name__])[-1]
