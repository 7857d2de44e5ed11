"""How well tracks keep their identity, and what a look costs: ``python -m benchmarks.tracks``, from ``tests``.

Crowds of ``tests/support/moving_scenes.py``, 40 seconds each, by frames a second, people and what happens to them; the
same with seconds between two frames; then people and cars of ``ground_scenes.py``, 24 seconds, every second one hidden
for a second, as cameras see them that stand, turn or fly: by the picture alone, and with places on Earth. IDF1 by
Ristani et al. (2016); ms/frame is processor time of the stage, its file included. Nothing was chosen on these seeds
(see ``tests/unit/tracking/test_sequences.py``).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sam3edge.tracking.places import Places
from sam3edge.tracking.stage import EventChannel, TrackObjects
from sam3edge.tracking.tracker import TrackingOptions
from support.ground_scenes import FLIGHTS, SATELLITE, SURVEYED, street, watch
from support.moving_scenes import Moment, crowd, film, idf1, without_places

SECONDS, SEEDS = 40, range(1000, 1010)
GROUND_SECONDS, GROUND_SEEDS, WALKERS = 24, range(1000, 1006), 20
STATED = {"rtk": SURVEYED, "satellite": SATELLITE}
"""How well a camera knows where it is; see ``ground_scenes``."""


def measure(moments: Sequence[Moment], file: Path, restart: float | None) -> tuple[float, float]:
    """IDF1, and milliseconds of processor time a frame."""
    file.unlink(missing_ok=True)
    stage, frames, spent = _opened(file), [], 0.0
    for moment in moments:
        if restart is not None and float(moment.frame.name) >= restart:
            stage, restart = _opened(file), None
        began = time.process_time()
        detections = stage(moment.frame, moment.detections).detections
        spent += time.process_time() - began
        frames.append({str(d.properties["track_id"]): d.geometry for d in detections if "track_id" in d.properties})
    return idf1([moment.truth for moment in moments], frames), 1000 * spent / len(moments)


def _opened(file: Path) -> TrackObjects:
    return TrackObjects(EventChannel("line-7", "t", 131_072), file, TrackingOptions(), Places)


def main() -> None:
    """Print all tables."""
    _crowds()
    _far_apart()
    _ground()


def _ground() -> None:
    say = sys.stdout.write
    say("\ncamera    errors     frames/s  seen  IDF1 picture  lowest  IDF1 places  lowest  ms/frame\n")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tracks.json"
        for name, flight in FLIGHTS.items():
            for errors, stated in STATED.items():
                for rate in (1.0, 2.0):
                    times = np.arange(0, GROUND_SECONDS, 1 / rate).tolist()
                    plain, placed, seen = [], [], []
                    for seed in GROUND_SEEDS:
                        walkers = street(seed, WALKERS, GROUND_SECONDS, flight)
                        moments = watch(walkers, flight, times, seed, errors=stated)
                        seen.append(np.mean([len(moment.truth) for moment in moments]))
                        plain.append(measure(without_places(moments), file, None))
                        placed.append(measure(moments, file, None))
                    before, (scores, costs) = np.array(plain).T[0], np.array(placed).T
                    say(
                        f"{name:8}  {errors:9}  {rate:8.0f}  {np.mean(seen):4.1f}  {before.mean():12.3f}"
                        f"  {before.min():6.3f}  {scores.mean():11.3f}  {scores.min():6.3f}  {costs.mean():8.2f}\n"
                    )


def _far_apart() -> None:
    """What a large model on a small device sees of the crowds, nobody of whom is hidden."""
    say = sys.stdout.write
    say("\na frame every  people  IDF1 mean  lowest\n")
    with tempfile.TemporaryDirectory() as folder:
        for pause in (2.5, 3.5, 5.0):
            for people in (2, 6, 12):
                times = np.arange(0, SECONDS, pause).tolist()
                films = (film(crowd(seed, people, SECONDS, hide=0.0), times, seed) for seed in SEEDS)
                scores = np.array([measure(moments, Path(folder) / "tracks.json", None)[0] for moments in films])
                say(f"{pause:11.1f} s  {people:6d}  {scores.mean():9.3f}  {scores.min():6.3f}\n")


def _crowds() -> None:
    say = sys.stdout.write
    say("frames/s  people  hidden  restart  IDF1 mean  lowest  ms/frame\n")
    with tempfile.TemporaryDirectory() as folder:
        for rate in (1.0, 2.0):
            for people in (6, 12, 20):
                for hidden, pause in ((0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (1.0, 4.0)):
                    times = [t for t in np.arange(0, SECONDS, 1 / rate).tolist() if not 20 <= t < 20 + pause]
                    results = [
                        measure(
                            film(crowd(seed, people, SECONDS, hide=hidden), times, seed),
                            Path(folder) / "tracks.json",
                            20 + pause if pause else None,
                        )
                        for seed in SEEDS
                    ]
                    scores, costs = np.array(results).T
                    say(
                        f"{rate:8.0f}  {people:6d}  {hidden:4.0f} s  {f'{pause:.0f} s' if pause else 'none':>7}"
                        f"  {scores.mean():9.3f}  {scores.min():6.3f}  {costs.mean():8.2f}\n"
                    )


if __name__ == "__main__":
    main()
