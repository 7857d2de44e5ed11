"""Views from above: ``ship``, ``car``, ``building``, ``field``, ``road``, ``tree``."""

from __future__ import annotations

import cv2
import numpy as np

from sam3edge_pipeline.synthetic.canvas import Canvas, Color, Mask, rectangle, rotate, smooth_noise

ROOFS: tuple[Color, ...] = ((168, 74, 58), (150, 150, 156), (196, 190, 180), (124, 92, 72), (92, 100, 116))
PAINTS: tuple[Color, ...] = (
    (214, 40, 40),
    (240, 240, 240),
    (36, 70, 190),
    (24, 24, 28),
    (236, 200, 40),
    (190, 196, 204),
)
CROPS: tuple[Color, ...] = ((196, 178, 92), (128, 156, 60), (150, 112, 70), (218, 204, 128), (92, 130, 52))
GRASS: Color = (96, 120, 72)
WATER: Color = (38, 84, 112)

TANK = "tank"
"""Stands in towns, is not among the scenes' phrases, and so is what a model can be taught later."""


def draw_overhead(canvas: Canvas, crowd: int) -> None:
    """Paint a harbour, a town or farmland with about ``crowd`` small objects."""
    (_harbour, _town, _farmland)[canvas.rng.integers(3)](canvas, crowd)


def _ground(canvas: Canvas, color: Color) -> None:
    tint = np.asarray(color) + canvas.rng.uniform(-12, 12, 3)
    canvas.image[:] = tint.astype(np.float32)
    canvas.image += smooth_noise(canvas.rng, canvas.height, canvas.width, 60)[..., None] * 5
    canvas.image += smooth_noise(canvas.rng, canvas.height, canvas.width, 9)[..., None] * 3


def _harbour(canvas: Canvas, crowd: int) -> None:
    rng = canvas.rng
    _ground(canvas, WATER)
    if rng.random() < 0.5:  # a shore with buildings and trees along one edge
        depth = canvas.height * rng.uniform(0.2, 0.35)
        top = rng.random() < 0.5
        edge = smooth_noise(rng, 1, canvas.width, 90)[0] * 8 + (depth if top else canvas.height - depth)
        ys = np.arange(canvas.height)[:, None]
        shore = ys < edge[None, :] if top else ys > edge[None, :]
        canvas.paint(shore, GRASS, grain=4)
        water = ~shore
        canvas.taken |= water
        for _ in range(int(rng.integers(0, 4))):
            (_building, _tree)[rng.integers(2)](canvas)
        canvas.taken = shore.copy()
        canvas.reserve(shore, 10)
    for _ in range(crowd):
        _ship(canvas)
    for _ in range(int(rng.integers(0, 4))):
        _rock(canvas)


def _town(canvas: Canvas, crowd: int) -> None:
    rng = canvas.rng
    _ground(canvas, (132, 130, 122) if rng.random() < 0.5 else GRASS)
    road = _road(canvas) if rng.random() < 0.8 else None
    for _ in range(int(rng.integers(0, 5))):
        _building(canvas)
    on_road = int(rng.integers(0, 4)) if road is not None else 0
    for _ in range(on_road):
        _car(canvas, road)
    for _ in range(crowd):
        (_car, _car, _tree)[rng.integers(3)](canvas)
    for _ in range(int(rng.integers(0, 3))):
        _tank(canvas)


def _farmland(canvas: Canvas, crowd: int) -> None:
    rng = canvas.rng
    _ground(canvas, GRASS)
    road = _road(canvas) if rng.random() < 0.6 else None
    for _ in range(int(rng.integers(1, 5))):
        _field(canvas)
    if rng.random() < 0.5:
        _building(canvas)
    if road is not None and rng.random() < 0.5:
        _car(canvas, road)
    for _ in range(min(crowd, 6)):
        _tree(canvas)


def _free_spot(canvas: Canvas, mask_at: object, tries: int = 24) -> Mask | None:
    """A shape's mask at the first random position where it fits in the frame and touches nothing taken."""
    assert callable(mask_at)
    for _ in range(tries):
        center = (canvas.rng.uniform(0.05, 0.95) * canvas.width, canvas.rng.uniform(0.05, 0.95) * canvas.height)
        mask: Mask = mask_at(center)
        if mask.any() and not (mask & canvas.taken).any():
            return mask
    return None


def _center_of(mask: Mask) -> tuple[float, float]:
    ys, xs = np.nonzero(mask)
    return float(xs.mean()), float(ys.mean())


def _shadow(canvas: Canvas, mask: Mask, shift: int) -> None:
    canvas.shade(np.roll(mask, (shift, shift), (0, 1)) & ~mask, -28.0)


def _ship(canvas: Canvas) -> None:
    rng = canvas.rng
    length, angle = rng.uniform(84, 150), float(rng.uniform(0, 360))
    width = length * rng.uniform(0.24, 0.32)
    hull = np.array([[-0.5, -0.42], [0.2, -0.5], [0.5, 0.0], [0.2, 0.5], [-0.5, 0.42]]) * (length, width)
    mask = _free_spot(canvas, lambda c: canvas.polygon(rotate(hull, angle) + c))
    if mask is None:
        return
    center = np.array(_center_of(mask))
    stern = center + rotate(np.array([[-length * 0.55, 0], [-length * rng.uniform(0.7, 1.0), 0]]), angle)
    if rng.random() < 0.4:
        wake = canvas.stroke(stern, width * 0.5) & ~mask & ~canvas.taken
        canvas.shade(wake, 40.0)
    canvas.paint(mask, ((206, 206, 210), (120, 62, 52), (82, 90, 100), (236, 228, 214))[rng.integers(4)], grain=4)
    deck = canvas.polygon(rotate(hull * 0.66, angle) + center)
    canvas.shade(deck & mask, float(rng.choice((-36, 30))))
    bridge = canvas.polygon(rotate(rectangle((-length * 0.28, 0), (length * 0.16, width * 0.6), 0), angle) + center)
    canvas.paint(bridge & mask, (240, 240, 238), grain=2)
    canvas.add("ship", mask)


def _car(canvas: Canvas, road: tuple[Mask, float] | None = None) -> None:
    rng = canvas.rng
    size = (rng.uniform(48, 62), rng.uniform(25, 31))
    if road is None:
        angle = float(rng.choice((0, 90)) + rng.normal(0, 8))
        mask = _free_spot(canvas, lambda c: canvas.polygon(rectangle(c, size, angle)))
    else:
        surface, angle = road
        ys, xs = np.nonzero(cv2.erode(surface.astype(np.uint8), np.ones((17, 17), np.uint8)))
        cars = np.zeros_like(surface)
        for phrase, other in canvas.objects:
            cars |= other if phrase == "car" else np.False_
        mask = None
        for _ in range(12 if len(xs) else 0):
            i = rng.integers(len(xs))
            candidate = canvas.polygon(rectangle((xs[i], ys[i]), size, angle))
            if not (cv2.dilate(candidate.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & cars).any():
                mask = candidate
                break
    if mask is None:
        return
    center = np.array(_center_of(mask))
    _shadow(canvas, mask, 4)
    color = PAINTS[rng.integers(len(PAINTS))]
    canvas.paint(mask, color, grain=3)
    for at in (0.18, -0.3):
        glass = rectangle((size[0] * at, 0), (size[0] * 0.16, size[1] * 0.78), 0)
        canvas.paint(canvas.polygon(rotate(glass, angle) + center) & mask, (40, 52, 64), grain=2)
    canvas.add("car", mask)


def _building(canvas: Canvas) -> None:
    rng = canvas.rng
    w, h, angle = rng.uniform(90, 180), rng.uniform(80, 150), float(rng.normal(0, 10))
    shape = rng.choice(3, p=(0.6, 0.2, 0.2))

    def mask_at(center: tuple[float, float]) -> Mask:
        outer = canvas.polygon(rectangle(center, (w, h), angle))
        if shape == 1:  # an L
            corner = np.array(center) + rotate(np.array([[w * 0.3, h * 0.3]]), angle)[0]
            outer &= ~canvas.polygon(rectangle((corner[0], corner[1]), (w * 0.45, h * 0.45), angle))
        if shape == 2:  # a courtyard
            outer &= ~canvas.polygon(rectangle(center, (max(36.0, w * 0.36), max(36.0, h * 0.36)), angle))
        return outer

    mask = _free_spot(canvas, mask_at)
    if mask is None:
        return
    center = np.array(_center_of(mask))
    _shadow(canvas, mask, 9)
    canvas.paint(mask, ROOFS[rng.integers(len(ROOFS))], grain=4)
    if shape == 0:
        ridge = rectangle((0, h / 4), (w, h / 2), 0)
        canvas.shade(canvas.polygon(rotate(ridge, angle) + center) & mask, -26.0)
    for _ in range(int(rng.integers(0, 4))):
        box = rotate(rng.uniform(-0.3, 0.3, (1, 2)) * (w, h), angle)[0] + center
        canvas.paint(canvas.polygon(rectangle((box[0], box[1]), (9, 9), angle)) & mask, (220, 220, 220))
    canvas.add("building", mask)


def _field(canvas: Canvas) -> None:
    rng = canvas.rng
    w, h, angle = rng.uniform(140, 260), rng.uniform(120, 220), float(rng.normal(0, 12))
    corners = rectangle((0, 0), (w, h), angle) + rng.normal(0, 9, (4, 2))
    mask = _free_spot(canvas, lambda c: canvas.polygon(corners + c))
    if mask is None:
        return
    canvas.paint(mask, CROPS[rng.integers(len(CROPS))], grain=5)
    t = np.deg2rad(rng.choice((angle, angle + 90)))
    ys, xs = np.mgrid[0 : canvas.height, 0 : canvas.width].astype(np.float32)
    rows = np.sin((xs * np.sin(t) + ys * np.cos(t)) * 2 * np.pi / rng.uniform(10, 18))
    canvas.shade(mask, (rows * rng.uniform(8, 16)).astype(np.float32))
    canvas.add("field", mask)


def _road(canvas: Canvas) -> tuple[Mask, float]:
    """One straight road from edge to edge; returns its surface and direction in degrees."""
    rng = canvas.rng
    w, h = canvas.width, canvas.height
    if rng.random() < 0.5:
        ends = np.array([[-20, h * rng.uniform(0.15, 0.85)], [w + 20, h * rng.uniform(0.15, 0.85)]])
    else:
        ends = np.array([[w * rng.uniform(0.15, 0.85), -20], [w * rng.uniform(0.15, 0.85), h + 20]])
    d = ends[1] - ends[0]
    width = rng.uniform(44, 62)
    mask = canvas.stroke(ends, width)
    canvas.paint(mask, (78, 78, 82), grain=4)
    for s in np.arange(0.02, 1, 0.08):
        dash = canvas.stroke(np.array([ends[0] + d * s, ends[0] + d * (s + 0.035)]), 4)
        canvas.paint(dash & mask, (226, 222, 200))
    canvas.add("road", mask)
    return mask, float(np.rad2deg(np.arctan2(d[1], d[0])))


def _tree(canvas: Canvas) -> None:
    rng = canvas.rng
    r = rng.uniform(20, 36)
    bumps = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    rim = np.stack([np.cos(bumps), np.sin(bumps)], 1) * (r * rng.uniform(0.85, 1.12, 14))[:, None]
    mask = _free_spot(canvas, lambda c: canvas.polygon(rim + c))
    if mask is None:
        return
    _shadow(canvas, mask, 7)
    canvas.paint(mask, (34, 78 + rng.uniform(-10, 16), 34), grain=9)
    cx, cy = _center_of(mask)
    canvas.shade(canvas.ellipse((cx - r * 0.25, cy - r * 0.25), (r * 0.5, r * 0.45), 0) & mask, 26.0)
    canvas.add("tree", mask)


def _rock(canvas: Canvas) -> None:
    """Grey, in the water, and not a ship."""
    rng = canvas.rng
    a, b = rng.uniform(12, 26), rng.uniform(10, 20)
    mask = _free_spot(canvas, lambda c: canvas.ellipse(c, (a, b), float(a * 7 % 180)))
    if mask is not None:
        canvas.paint(mask, (96, 92, 86), grain=12)
        canvas.reserve(mask, 7)


def _tank(canvas: Canvas) -> None:
    """A round white tank, and not a building."""
    r = canvas.rng.uniform(22, 34)
    mask = _free_spot(canvas, lambda c: canvas.ellipse(c, (r, r), 0))
    if mask is not None:
        _shadow(canvas, mask, 8)
        canvas.paint(mask, (226, 226, 222), grain=3)
        canvas.shade(canvas.ellipse(_center_of(mask), (r * 0.3, r * 0.3), 0), -30.0)
        canvas.reserve(mask, 7)
        canvas.others.append((TANK, mask))
