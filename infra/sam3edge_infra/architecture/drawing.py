"""The picture: stacks as boxes in a grid, arrows from who uses to what is used. The same text for the same graph."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from sam3edge_infra.architecture.graph import Graph, StackNode, Use

GRID = (
    ("simulator", "fleet", "endpoint", "api"),
    ("devices", "storage", "registry", "network"),
    ("monitoring", "rollout", "training", "labeling"),
    ("delivery",),
)
"""Where stacks are: those that use each other beside each other. Any other stack comes behind the last."""

QUIET = ("monitoring", "delivery")
"""Stacks that name everything: they are drawn without arrows."""

WIDTH, GAP, MARGIN, LINE, HEAD = 270, 56, 24, 17, 34
TEXT = 38
"""Characters of a line."""

MAX_NAMED = 6
"""Resources of a kind that are called by their names; of more there is the number."""

LEGEND = "Arrow: uses resources of. Dashed: MQTT messages. Monitoring watches all stacks, a delivery deploys them."

STYLE = """
  .page { fill: #ffffff } .box { fill: #f6f8fa; stroke: #8c959f } .outside { fill: #fff8c5; stroke: #bf8700 }
  text { font: 12px system-ui, 'Segoe UI', sans-serif; fill: #1f2328 } .name { font-weight: 600; font-size: 14px }
  .edge { fill: none; stroke: #0969da; stroke-width: 1.4 } .message { stroke: #9a6700; stroke-dasharray: 5 3 }
  .tip { fill: #0969da } .tip.message { fill: #9a6700; stroke: none } .small { fill: #59636e }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .box { fill: #161b22; stroke: #6e7681 } .outside { fill: #272115; stroke: #9e6a03 }
    text { fill: #e6edf3 } .edge { stroke: #4493f8 } .edge.message { stroke: #d29922 }
    .tip { fill: #4493f8 } .tip.message { fill: #d29922 } .small { fill: #9198a1 }
  }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the picture, pixels; ``row`` and ``column`` in the grid."""

    node: StackNode
    row: int
    column: int
    y: int
    height: int

    @property
    def x(self) -> int:
        """Left side."""
        return MARGIN + self.column * (WIDTH + GAP)


def draw(graph: Graph) -> str:
    """SVG."""
    boxes = {box.node.name: box for box in _boxes(graph)}
    right = max(box.x + WIDTH for box in boxes.values()) + MARGIN
    bottom = max(box.y + box.height for box in boxes.values()) + MARGIN + LINE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}" role="img" '
        f'aria-label="Stacks of the stage {graph.stage} and who uses whose resources">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{right}" height="{bottom}"/>',
    ]
    shown = [use for use in graph.uses if use.by not in QUIET and use.of not in QUIET]
    messages = [Use("devices", node.name, node.topics) for node in graph.stacks if node.topics]
    for number, use in enumerate((*shown, *messages)):
        lines += _arrow(boxes[use.by], boxes[use.of], use, number, "message" if use.by == "devices" else "")
    for box in boxes.values():
        lines += _draw_box(box)
    lines.append(f'<text class="small" x="{MARGIN}" y="{bottom - 14}">{escape(LEGEND)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _boxes(graph: Graph) -> Iterator[Box]:
    nodes = {node.name: node for node in graph.stacks}
    if any(node.topics for node in graph.stacks):
        nodes["devices"] = StackNode("devices", {"outside of AWS": ("Greengrass core devices",)}, ())
    placed = {name for row in GRID for name in row}
    rows = [*GRID[:-1], (*GRID[-1], *sorted(set(nodes) - placed))]
    y = MARGIN
    for number, row in enumerate(rows):
        here = [(column, nodes[name]) for column, name in enumerate(row) if name in nodes]
        if here:
            height = max(HEAD + LINE * len(_text(node)) + 10 for _, node in here)
            yield from (Box(node, number, column, y, height) for column, node in here)
            y += height + GAP


def _text(node: StackNode) -> list[str]:
    lines = []
    for label, names in node.resources.items():
        listed = ", ".join(name.removeprefix(f"{node.name}-") for name in names if name)
        counted = label if len(names) == 1 else f"{len(names)} {_plural(label)}"
        line = f"{counted}: {listed}" if listed and len(names) <= MAX_NAMED else counted
        lines += textwrap.wrap(line, TEXT, subsequent_indent="    ", break_on_hyphens=False)
    return lines


def _plural(label: str) -> str:
    return f"{label[:-1]}ies" if re.search("[^aeiou]y$", label) else f"{label}s"


def _draw_box(box: Box) -> list[str]:
    kind = "outside" if box.node.name == "devices" else "box"
    lines = [
        f'<rect class="{kind}" x="{box.x}" y="{box.y}" width="{WIDTH}" height="{box.height}" rx="8"/>',
        f'<text class="name" x="{box.x + 12}" y="{box.y + 23}">{escape(box.node.name)}</text>',
    ]
    for number, line in enumerate(_text(box.node)):
        y = box.y + HEAD + LINE * number + 11
        indent = 12 * (line.startswith(" ") + 1)
        lines.append(f'<text class="small" x="{box.x + indent}" y="{y}">{escape(line.strip())}</text>')
    return lines


def _arrow(start: Box, end: Box, use: Use, number: int, kind: str) -> list[str]:
    points = _path(start, end, (number * 15) % 60 - 30, (number * 7) % 28 - 14)
    (x1, y1), (x2, y2) = points[-2:]
    length = max(1.0, ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    tip = [(x2, y2), (x2 - 9 * dx + 4 * dy, y2 - 9 * dy - 4 * dx), (x2 - 9 * dx - 4 * dy, y2 - 9 * dy + 4 * dx)]
    title = f"messages: {', '.join(use.what)}" if kind else f"{use.by} uses {use.of}: {', '.join(use.what)}"
    return [
        f"<g><title>{escape(title.rstrip(': '))}</title>",
        f'<polyline class="edge {kind}" points="{_points(points)}"/>',
        f'<polygon class="tip {kind}" points="{_points(tip)}"/></g>',
    ]


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _path(start: Box, end: Box, aside: int, along: int) -> list[tuple[float, float]]:
    """From side to side of neighbours, and else through the gaps between rows and columns.

    Args:
        aside, along: pixels by which the arrow leaves the middle, so that those in one gap do not cover each other.
    """
    rightwards = 1 if end.column > start.column else -1
    down = end.row > start.row
    leave = start.y + start.height if down else start.y
    arrive = end.y if down else end.y + end.height
    level = leave + (GAP / 2 if down else -GAP / 2) + along
    if start.row == end.row and abs(start.column - end.column) == 1:
        y = start.y + min(start.height, end.height) / 2 + along
        return [(_side(start, rightwards), y), (_side(end, -rightwards), y)]
    if start.row == end.row:  # along the gap above the row; the first one has none
        x1, x2 = start.x + WIDTH / 2 + aside, end.x + WIDTH / 2 + aside
        edge = start.y if start.row else start.y + start.height
        level = edge + along + (-GAP / 2 if start.row else GAP / 2)
        return [(x1, edge), (x1, level), (x2, level), (x2, edge)]
    if start.column == end.column and abs(start.row - end.row) == 1:
        x = start.x + WIDTH / 2 + aside
        return [(x, leave), (x, arrive)]
    x1 = start.x + WIDTH / 2 + rightwards * WIDTH / 3 + aside / 2
    if abs(start.row - end.row) == 1:
        x2 = end.x + WIDTH / 2 - rightwards * WIDTH / 3 + aside / 2
        return [(x1, leave), (x1, level), (x2, level), (x2, arrive)]
    side = -1 if end.column else 1  # past the boxes between, and in from the side
    beside, y = _side(end, side) + side * GAP / 2 + along, end.y + end.height / 2 + along
    return [(x1, leave), (x1, level), (beside, level), (beside, y), (_side(end, side), y)]


def _side(box: Box, rightwards: int) -> float:
    return box.x + WIDTH if rightwards > 0 else box.x
