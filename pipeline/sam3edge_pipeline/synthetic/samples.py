"""The sample images that ``make demo`` feeds: scenes that no training or evaluation has seen.

python -m sam3edge_pipeline.synthetic.samples --out assets/scenes
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2

from sam3edge_pipeline.synthetic.scene import draw_scene

SEEDS = range(3_000_000, 3_000_016)


def write_samples(out: Path) -> None:
    """Write one JPEG a seed."""
    out.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS, 1):
        image = draw_scene(seed).image[..., ::-1]
        cv2.imwrite(str(out / f"scene-{number:02d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    write_samples(parser.parse_args().out)
