"""The picture in the README: some of the demo's overlays, side by side.

python -m sam3edge_simulator.demo.picture --overlays .demo/overlays --target assets/demo.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

COLUMNS, WIDTH, HEIGHT = 4, 320, 240


def draw_picture(overlays: Path, target: Path) -> None:
    """Write one JPEG of up to eight overlays, each cut to ``WIDTH`` x ``HEIGHT`` pixels around its middle."""
    paths = sorted(overlays.rglob("*.png"))[: 2 * COLUMNS]
    if not paths:
        raise SystemExit(f"no overlays in {overlays}; run make demo first")
    tiles = []
    for path in paths:
        image = cv2.imread(str(path))
        assert image is not None
        scale = max(WIDTH / image.shape[1], HEIGHT / image.shape[0])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = (small.shape[0] - HEIGHT) // 2, (small.shape[1] - WIDTH) // 2
        tiles.append(small[top : top + HEIGHT, left : left + WIDTH])
    tiles += [np.full((HEIGHT, WIDTH, 3), 255, np.uint8)] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(target), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overlays", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    arguments = parser.parse_args()
    draw_picture(arguments.overlays, arguments.target)
