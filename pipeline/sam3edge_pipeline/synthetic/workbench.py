"""Metal tags on a workbench: ``metal tag``, ``scratch``, ``dent``, ``hole``."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge_pipeline.synthetic.canvas import Canvas, Color, Mask, rectangle, smooth_noise

BENCHES: tuple[Color, ...] = ((88, 66, 48), (52, 56, 62), (118, 92, 64), (38, 62, 78), (70, 40, 36), (150, 140, 120))
METALS: tuple[Color, ...] = ((186, 190, 196), (160, 164, 172), (196, 176, 120), (205, 205, 200), (140, 146, 158))


def draw_workbench(canvas: Canvas, defects: int) -> None:
    """Paint a bench with one tag that carries ``defects`` defects, or, now and then, an empty bench."""
    rng = canvas.rng
    bench = BENCHES[rng.integers(len(BENCHES))]
    canvas.image[:] = bench
    canvas.image += smooth_noise(rng, canvas.height, canvas.width, 40)[..., None] * 6
    for _ in range(int(rng.integers(0, 5))):  # grain of the bench, or the edge of a cloth
        y = rng.uniform(0, canvas.height)
        line = np.array([[0, y], [canvas.width, y + rng.uniform(-60, 60)]])
        canvas.shade(canvas.stroke(line, rng.uniform(2, 10)), float(rng.uniform(-14, 14)))
    if rng.random() < 0.08:
        _clutter(canvas, int(rng.integers(1, 4)), np.ones((canvas.height, canvas.width), bool))
        return
    tag = _tag(canvas)
    inside = cv2.erode(tag.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool)
    canvas.taken |= ~inside
    for _ in range(defects):
        (_scratch, _dent, _hole)[rng.choice(3, p=(0.5, 0.3, 0.2))](canvas, tag)
    if rng.random() < 0.5:
        _hole(canvas, tag)
    if rng.random() < 0.5:
        _engraving(canvas, tag)
    if rng.random() < 0.4:
        _clutter(canvas, int(rng.integers(1, 4)), inside)


def _tag(canvas: Canvas) -> Mask:
    rng = canvas.rng
    w, h = canvas.width * rng.uniform(0.62, 0.86), canvas.height * rng.uniform(0.55, 0.84)
    center = (canvas.width * rng.uniform(0.46, 0.54), canvas.height * rng.uniform(0.46, 0.54))
    r = min(w, h) * rng.uniform(0.05, 0.15)
    angle = float(rng.normal(0, 7))
    core = canvas.polygon(rectangle(center, (w - 2 * r, h - 2 * r), angle)).astype(np.uint8)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(r) + 1, 2 * int(r) + 1))
    tag = cv2.dilate(core, disk).astype(bool)
    shadow = np.roll(tag, (6, 6), (0, 1)) & ~tag
    canvas.shade(shadow, -30.0)
    canvas.paint(tag, METALS[rng.integers(len(METALS))], grain=3)
    brushed = cv2.blur(np.asarray(rng.normal(0, 10, tag.shape), np.float32), (31, 1))
    light = np.linspace(-1, 1, canvas.width, dtype=np.float32)[None, :] * float(rng.uniform(-16, 16))
    canvas.shade(tag, np.asarray(brushed * 2 + light, np.float32))
    rim = tag & ~cv2.erode(tag.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    canvas.shade(rim, 22.0)
    canvas.add("metal tag", tag, margin=0)
    canvas.taken[:] = False
    return tag


def _place(canvas: Canvas, radius: float) -> tuple[float, float] | None:
    """A centre whose surroundings of ``radius`` pixels are free, or None when the tag is full."""
    free = cv2.distanceTransform((~canvas.taken).astype(np.uint8), cv2.DIST_L2, 3)
    ys, xs = np.nonzero(free > radius)
    if len(xs) == 0:
        return None
    i = canvas.rng.integers(len(xs))
    return float(xs[i]), float(ys[i])


def _hole(canvas: Canvas, tag: Mask) -> None:
    rng = canvas.rng
    radius = rng.uniform(15, 28)
    center = _place(canvas, radius + 6)
    if center is None:
        return
    mask = canvas.ellipse(center, (radius, radius * rng.uniform(0.9, 1.1)), 0)
    rim = canvas.ellipse(center, (radius + 4, radius + 4), 0) & ~mask
    canvas.shade(rim, float(rng.uniform(-34, 26)))
    canvas.paint(mask, tuple(rng.uniform(8, 34, 3)), grain=2)
    canvas.add("hole", mask)


def _dent(canvas: Canvas, tag: Mask) -> None:
    rng = canvas.rng
    a, b = rng.uniform(24, 48), rng.uniform(22, 40)
    center = _place(canvas, max(a, b) + 2)
    if center is None:
        return
    angle = float(rng.uniform(0, 180))
    mask = canvas.ellipse(center, (a, b), angle)
    ys, xs = np.mgrid[0 : canvas.height, 0 : canvas.width].astype(np.float32)
    t = np.deg2rad(angle)
    u = ((xs - center[0]) * np.cos(t) + (ys - center[1]) * np.sin(t)) / a
    v = (-(xs - center[0]) * np.sin(t) + (ys - center[1]) * np.cos(t)) / b
    depth = np.clip(1 - u * u - v * v, 0, 1)
    light = np.deg2rad(rng.uniform(200, 250))  # from above, as lamps hang: the far wall is bright, the near one dark
    slope = np.cos(light) * (xs - center[0]) / a + np.sin(light) * (ys - center[1]) / b
    canvas.shade(mask, (-70 * slope * np.sqrt(depth) * 1.6 - 34 * depth).astype(np.float32))
    canvas.add("dent", mask, hides=False)


def _scratch(canvas: Canvas, tag: Mask) -> None:
    rng = canvas.rng
    for _ in range(16):  # long and thin: most places do not fit
        center = _place(canvas, 16)
        if center is None:
            return
        length, width = rng.uniform(80, 190), rng.uniform(14, 22)
        angle = rng.uniform(0, np.pi)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        s = np.linspace(-0.5, 0.5, 12)
        bend = rng.normal(0, 14) * (s**2 - 0.08) * 4
        points = np.array(center) + np.outer(s * length, along) + np.outer(bend, across)
        mask = canvas.stroke(points, width)
        if not (canvas.taken & mask).any():
            break
    else:
        return
    color = (238.0, 238.0, 240.0) if rng.random() < 0.5 else (74.0, 70.0, 70.0)
    canvas.paint(mask, color, grain=10)
    core = canvas.stroke(points + across * width * 0.25, width * 0.3)
    canvas.shade(core & mask, -60.0 if color[0] > 200 else 70.0)
    canvas.add("scratch", mask, hides=False)


def _engraving(canvas: Canvas, tag: Mask) -> None:
    """A serial number: not asked for, and it must not be taken for a scratch."""
    rng = canvas.rng
    text = f"{'ABCDEFGH'[rng.integers(8)]}{rng.integers(100, 9999)}"
    scale, thick = float(rng.uniform(1.0, 1.8)), int(rng.integers(2, 5))
    center = _place(canvas, 42)
    if center is None:
        return
    (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    layer = np.zeros(tag.shape, np.uint8)
    origin = (round(center[0] - w / 2), round(center[1] + h / 2))
    cv2.putText(layer, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 1, thick)
    mask = layer.astype(bool) & tag & ~canvas.taken
    canvas.shade(mask, float(rng.choice((-60, -45, 30))))
    canvas.reserve(mask, 6)


def _clutter(canvas: Canvas, count: int, where: npt.NDArray[np.bool_]) -> None:
    """Coloured stickers: bright, sharp-edged, and none of the phrases."""
    rng = canvas.rng
    for _ in range(count):
        center = _place(canvas, 26) if canvas.taken.any() else (rng.uniform(40, 400), rng.uniform(40, 340))
        if center is None:
            return
        size = (rng.uniform(26, 44), rng.uniform(26, 44))
        mask = canvas.polygon(rectangle(center, size, float(rng.uniform(0, 90)))) & where
        hue = ((214, 60, 52), (60, 120, 214), (232, 198, 60), (70, 170, 90))[rng.integers(4)]
        canvas.paint(mask & ~canvas.taken, hue, grain=3)
        canvas.reserve(mask, 6)
