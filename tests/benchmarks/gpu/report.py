"""Results as files: JSON for machines, Markdown for people."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
import transformers

from benchmarks.gpu.fidelity import Truth
from benchmarks.gpu.measure import Row
from sam3edge.engines.ort import ort
from sam3edge_export.parity.fidelity import PUBLISHED

VISION_TFLOP, PROMPT_TFLOP = 5.4, 0.42
"""Operations at full size, of an image and of each prompt, masks included."""

ACHIEVABLE = 790.0
"""TFLOP/s of a large bf16 matrix product on an H200, measured."""


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured in one go.

    Attributes:
        size: of the model.
        rows: measurements.
        left_out: what was not measured, and why.
        truths: how far bf16 is from float32.
    """

    size: str
    rows: Sequence[Row]
    left_out: Mapping[str, str]
    truths: Sequence[Truth] = ()


def environment() -> dict[str, str]:
    """Where this runs."""
    found = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "onnxruntime": ort.__version__,
        "python": platform.python_version(),
    }
    if torch.cuda.is_available():
        found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return found


def write(results: Results, folder: Path) -> Path:
    """Write ``<date>-<device>.json`` and ``.md``; the latter is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    where = environment()
    name = "-".join([where["date"], re.sub(r"[^a-z0-9]+", "-", where["device"].lower()).strip("-"), results.size])
    rows = [{**asdict(row), "images_per_second": row.images_per_second} for row in results.rows]
    content = {
        "environment": where,
        "size": results.size,
        "rows": rows,
        "fidelity": [asdict(truth) for truth in results.truths],
        "left_out": dict(results.left_out),
    }
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    page = folder / f"{name}.md"
    page.write_text(markdown(results, where), encoding="utf-8")
    return page


def markdown(results: Results, where: Mapping[str, str]) -> str:
    """The page."""
    lines = [
        f"# SAM 3 ({results.size} size, random weights) on {where['device']}, {where['date']}",
        "",
        ", ".join(f"{name} {value}" for name, value in where.items() if name not in ("date", "device")) + ".",
        "",
        "Times are of a whole batch, in milliseconds. Thresholds are laid between the scores of the random weights, so "
        "that exactly the instances in the table are admitted; outlines are taken of ellipses. The floor is what the "
        f"operations take at {ACHIEVABLE:.0f} TFLOP/s.",
        "",
        "| who | images | prompts (present) | instances | median | 95 % | images/s | floor | peak MB | first run s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results.rows:
        load = row.load
        cells = [
            row.who,
            str(load.images),
            f"{load.prompts} ({load.present})",
            str(load.present * load.instances),
            f"{row.milliseconds:.2f}",
            f"{row.slowest:.2f}",
            f"{row.images_per_second:.1f}",
            f"{floor(row):.1f}" if results.size == "full" else "",
            f"{row.memory:.0f}",
            f"{row.first:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Ratios",
        "",
        *(f"- {line}" for line in ratios(results.rows)),
        "",
        "## Stages, median milliseconds",
        "",
    ]
    for row in results.rows:
        if row.stages:
            split = ", ".join(f"{stage} {ms:.2f}" for stage, ms in row.stages.items())
            load = row.load
            lines.append(f"- {row.who}, {load.images} images, {load.prompts} prompts ({load.present} present): {split}")
    if results.truths:
        bar = Truth("autocast", PUBLISHED)
        lines += ["", "## Distance from float32, all queries of four phrases", ""]
        lines += [f"- {line(truth)}" for truth in results.truths]
        lines += [f"- Meta's package on an H200, 2026-11-26, another image: {line(bar)}"]
    lines += ["", "## Left out", "", *(f"- {what}: {why}" for what, why in results.left_out.items())]
    return "\n".join(lines).rstrip() + "\n"


def line(row: Row | Truth) -> str:
    """One row for the terminal."""
    if isinstance(row, Truth):
        d = row.distance
        return (
            f"bf16 {row.way}: logits {d.logits:.4f}, scores {d.scores:.4f}, boxes {d.boxes:.4f}, mask IoU mean "
            f"{d.mean_iou:.3f}, worst {d.worst_iou:.3f}"
        )
    load = row.load
    stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in row.stages.items())
    return (
        f"{row.milliseconds:9.2f} ms  {row.images_per_second:7.1f} images/s  {row.who}: {load.images} images, "
        f"{load.prompts} prompts ({load.present} present); first run {row.first:.1f} s; {stages}"
    )


def floor(row: Row) -> float:
    """Milliseconds that the operations take at best."""
    load = row.load
    return 1000 * load.images * (VISION_TFLOP + PROMPT_TFLOP * load.prompts) / ACHIEVABLE


def ratios(rows: Sequence[Row]) -> list[str]:
    """Several prompts against one, and others against us."""
    found = []
    alone = {row.who: row for row in rows if (row.load.images, row.load.prompts) == (1, 1)}
    ours = next(iter(alone.values()), None)
    for row in rows:
        base = alone.get(row.who)
        asked = f"{row.load.prompts} prompts ({row.load.present} present)"
        if base is not None and row.load.images == 1 and row.load.prompts > 1:
            found.append(f"{row.who}: {asked} cost {row.milliseconds / base.milliseconds:.2f} times 1")
        if ours is not None and base is row and row is not ours:
            found.append(
                f"{row.who}: 1 image and 1 prompt take {row.milliseconds / ours.milliseconds:.2f} times {ours.who}"
            )
    return found
