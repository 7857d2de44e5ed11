"""How soon the drift watch notices that a camera's images have become worse, and how often it alarms without reason.

python -m sam3edge_pipeline.evaluation.drift_sweep assets/demo-bundle --out drift.txt

The bundle looks at synthetic scenes as at the frames of one camera: first at the reference window, then at clean
scenes that are in no other window, then at corrupted ones that follow clean ones.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.polygons import to_detections
from sam3edge.core.ports import Engine
from sam3edge.core.types import Detections, Frame, Prompt
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.runtime import OnnxOptions
from sam3edge.hard_examples.drift import DriftOptions
from sam3edge.hard_examples.drift_monitor import DriftMonitor
from sam3edge_pipeline.evaluation.bundle import frame_of
from sam3edge_pipeline.evaluation.corruptions import CORRUPTIONS, STRENGTHS, Image
from sam3edge_pipeline.synthetic import HELD_OUT_SEEDS, Scene, draw_scene

PROMPTS = tuple(map(Prompt, ("metal tag", "scratch", "hole", "building", "tree")))
"""Half of what the scenes know: common and rare, large and small."""

Look: TypeAlias = "tuple[Frame, Detections]"
Corrupt: TypeAlias = Callable[[Image, int], Image]
"""Takes an image and its scene's seed."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Scenes of each part of the sweep.

    Attributes:
        clean: held-out clean scenes, in as many windows as they fill.
        corrupted: after which a corruption counts as not noticed.
    """

    reference: int = 600
    window: int = 100
    clean: int = 1000
    corrupted: int = 100


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What the watch said.

    Attributes:
        clean_windows: disjoint held-out clean windows.
        false_alarms: of those, the ones with an alarm at any time.
        delays: corrupted frames until the first alarm, by kind and strength; None where there was none.
        objects: found in the corrupted scenes, as a share of those found in the same scenes when they are clean: where
            nothing has changed, there is nothing to notice.
    """

    sizes: Sizes
    clean_windows: int
    false_alarms: int
    delays: Mapping[tuple[str, int], int | None]
    objects: Mapping[tuple[str, int], float]

    def table(self) -> str:
        """As text."""
        lines = [
            f"reference {self.sizes.reference} frames, window {self.sizes.window}, prompts {len(PROMPTS)}",
            f"false alarms: {self.false_alarms} of {self.clean_windows} held-out clean windows",
            f"frames until the alarm (-: none within {self.sizes.corrupted}), objects found of those in clean scenes",
            f"{'':12}" + "".join(f"{f'strength {s}':>14}" for s in STRENGTHS),
        ]
        for kind in CORRUPTIONS:
            cells = [(self.delays[kind, s], self.objects[kind, s]) for s in STRENGTHS]
            lines.append(f"{kind:12}" + "".join(f"{'-' if d is None else d:>7} {o:>6.0%}" for d, o in cells))
        return "\n".join(lines) + "\n"


def look(engine: Engine, scenes: Iterable[Scene], corrupt: Corrupt | None = None) -> Iterator[Look]:
    """What an engine finds in scenes; the frames that come back have no pixels but know their size."""
    for scene in scenes:
        seen = scene if corrupt is None else replace(scene, image=corrupt(scene.image, scene.seed))
        frame = frame_of(seen)
        found = to_detections(engine.segment(frame, PROMPTS), frame, engine.model, nms_iou=0.5)
        yield replace(frame, image=np.zeros((1, 1, 3), np.uint8), size=(frame.width, frame.height)), found


def sweep(
    reference: Sequence[Look],
    clean: Sequence[Look],
    worse: Sequence[Look],
    corrupted: Callable[[str, int], Sequence[Look]],
    sizes: Sizes,
) -> SweepResult:
    """Feed the device's own monitor.

    Args:
        reference, clean: ``sizes.reference`` and ``sizes.clean`` of them.
        worse: the scenes that are corrupted, while they are clean.
        corrupted: gives them by kind and strength.
    """
    options = DriftOptions(sizes.reference, sizes.window, seconds=0)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "reference.json"

        def watch(start: Path | None) -> DriftMonitor:
            file = Path(folder) / "drift.json"
            file.unlink(missing_ok=True)
            if start is not None:
                shutil.copyfile(start, file)
            return DriftMonitor(options, file, lambda: PROMPTS)

        learned = watch(None)
        _until_alarm(learned, reference)
        learned.save()
        shutil.move(Path(folder) / "drift.json", kept)
        windows = [clean[start : start + sizes.window] for start in range(0, len(clean) - sizes.window, sizes.window)]
        before = watch(kept)
        _until_alarm(before, clean[-sizes.window :])  # what a corruption follows
        alarms = 0
        held_out = watch(kept)
        for window in windows:
            alarms += _until_alarm(held_out, window) is not None
        before.save()
        shutil.move(Path(folder) / "drift.json", kept)
        delays: dict[tuple[str, int], int | None] = {}
        objects: dict[tuple[str, int], float] = {}
        for kind in CORRUPTIONS:
            for strength in STRENGTHS:
                looks = corrupted(kind, strength)
                delays[kind, strength] = _until_alarm(watch(kept), looks)
                objects[kind, strength] = _objects(looks) / max(1, _objects(worse))
    return SweepResult(sizes, len(windows), alarms, delays, objects)


def _objects(looks: Sequence[Look]) -> int:
    return sum(len(found.detections) for _, found in looks)


def _until_alarm(monitor: DriftMonitor, looks: Sequence[Look]) -> int | None:
    """Frames until there is an alarm; None where there is none. All frames are fed."""
    first: int | None = None
    for number, (frame, found) in enumerate(looks, 1):
        monitor(frame, found)
        if first is None and monitor.summary()["alarm_count"]:
            first = number
    return first


def sweep_bundle(bundle: Path, sizes: Sizes, first: int = HELD_OUT_SEEDS[0]) -> SweepResult:
    """The whole sweep with the engine that devices have, over the scenes from seed ``first`` on."""
    manifest = verify(bundle, None)
    engine = open_engine(model_files(bundle, manifest), OnnxOptions(("CPUExecutionProvider",)))
    seeds = range(first, first + sizes.reference + sizes.clean + sizes.corrupted)
    reference, clean = seeds[: sizes.reference], seeds[sizes.reference :][: sizes.clean]
    worse = list(map(draw_scene, seeds[-sizes.corrupted :]))

    def corrupted(kind: str, strength: int) -> Sequence[Look]:
        def corrupt(image: Image, seed: int) -> Image:
            return CORRUPTIONS[kind](image, strength, np.random.default_rng(seed))

        return list(look(engine, worse, corrupt))

    try:
        known, unknown = (list(look(engine, map(draw_scene, some))) for some in (reference, clean))
        return sweep(known, unknown, list(look(engine, worse)), corrupted, sizes)
    finally:
        engine.close()


def main() -> None:
    """Read the command line, sweep, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="text file of the table")
    usual = Sizes()
    parser.add_argument("--reference", type=int, default=usual.reference, help="frames of the reference window")
    parser.add_argument("--window", type=int, default=usual.window, help="frames of the window that is compared")
    parser.add_argument("--clean", type=int, default=usual.clean, help="held-out clean frames")
    parser.add_argument("--first-seed", type=int, default=HELD_OUT_SEEDS[0], help="of the scenes")
    given = parser.parse_args()
    sizes = Sizes(given.reference, given.window, given.clean, given.window)
    table = sweep_bundle(given.bundle, sizes, given.first_seed).table()
    given.out.write_text(table, encoding="utf-8")
    sys.stdout.write(table)


if __name__ == "__main__":
    main()
