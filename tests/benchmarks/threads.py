"""ONNX Runtime's threads, and whether they spin: ``python -m benchmarks.threads`` in ``tests``.

For each setting: frames a second and cores that are busy, when one frame follows the other (an endpoint under load),
when a frame comes five times a second (a camera), and when another process wants the processor, too.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sam3edge.bundle.golden import golden_frame
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.types import Frame, Prompt
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.runtime import OnnxOptions

BUNDLE = Path(__file__).parents[2] / "assets" / "demo-bundle"
SECONDS = 4.0


def _busy() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _compete(stop: float) -> None:
    while time.monotonic() < stop:
        sum(range(10_000))


@contextmanager
def _competition(wanted: bool) -> Iterator[None]:
    process = multiprocessing.Process(target=_compete, args=(time.monotonic() + SECONDS + 1,))
    if wanted:
        process.start()
    yield
    if wanted:
        process.terminate()
        process.join()


def measure(threads: int, spinning: bool, interval: float, competition: bool) -> tuple[float, float, float]:
    """Frames a second, cores busy, and the median latency in milliseconds."""
    files = model_files(BUNDLE, read_manifest(BUNDLE))
    engine = open_engine(files, OnnxOptions(("CPUExecutionProvider",), threads=threads, spinning=spinning))
    golden, prompts = golden_frame(BUNDLE), [Prompt("ship"), Prompt("car")]
    engine.segment(golden, prompts)
    latencies = []
    with _competition(competition):
        begun, busy = time.monotonic(), _busy()
        while time.monotonic() < begun + SECONDS:
            number = len(latencies)
            frame = Frame(str(number), "b", "b", golden.image, golden.captured_at, f"sha256:{number}")
            at = time.perf_counter()
            engine.segment(frame, prompts)
            latencies.append((time.perf_counter() - at) * 1000)
            time.sleep(max(0.0, begun + interval * len(latencies) - time.monotonic()) if interval else 0.0)
        seconds, busy = time.monotonic() - begun, _busy() - busy
    engine.close()
    return len(latencies) / seconds, busy / seconds, statistics.median(latencies)


def main() -> None:
    """Print a table."""
    sys.stdout.write(
        f"{os.cpu_count()} cores\nthreads spinning | one after the other | five a second | beside another\n"
    )
    for threads in (1, os.cpu_count() or 1):
        for spinning in (True, False):
            cells = []
            for interval, competition in ((0.0, False), (0.2, False), (0.0, True)):
                rate, cores, latency = measure(threads, spinning, interval, competition)
                cells.append(f"{rate:5.1f} frames/s {cores:4.2f} cores {latency:5.1f} ms")
            sys.stdout.write(f"{threads:7d} {'yes' if spinning else 'no':8s} | {' | '.join(cells)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
