"""What the demo shows while it runs."""

from __future__ import annotations

import threading
from collections import Counter

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sam3edge.subscriber.names import one_line
from sam3edge_simulator.demo.receiver import Received

STAGES = ("vision", "decoder", "masks", "polygons")
SHOWN = 20
MAX_NAME, MAX_REASON = 200, 500
"""Characters."""


class Display:
    """A table of the last frames, refreshed as messages arrive; on anything but a terminal, a line a frame.

    Args:
        total: frames that will come.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._rows: list[Received] = []
        self._lock = threading.Lock()
        self._live = Live(self._render(), console=console, refresh_per_second=8) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self._render())
            self._live.stop()

    def add(self, received: Received) -> None:
        """Show a frame of which everything has arrived."""
        with self._lock:
            self._rows.append(received)
        if self._live is not None:
            self._live.update(self._render())
        else:
            self._console.print(
                f"{self._number(len(self._rows))}  {_name(received)}  {_found(received).plain}  {_latency(received)}"
                f"  {received.topic}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def _render(self) -> RenderableType:
        table = Table(title="frames", title_justify="left", expand=False)
        table.add_column("frame", no_wrap=True)
        table.add_column("found")
        for stage in STAGES:
            table.add_column(f"{stage} ms", justify="right")
        table.add_column("topic", no_wrap=True)
        with self._lock:
            rows = list(self._rows)
        for row in rows[-SHOWN:]:
            times = (f"{row.timing[stage]:.0f}" if stage in row.timing else "" for stage in STAGES)
            table.add_row(Text(_name(row)), _found(row), *times, row.topic)
        return Group(table, Text(f"{min(len(rows), self._total)} of {self._total} frames answered"))

    def _number(self, row: int) -> str:
        """Which frame of those that were to come; one that somebody has added is another one."""
        return f"{row}/{self._total}" if row <= self._total else f"+{row - self._total}"


def _name(received: Received) -> str:
    """On one line, without what would move the cursor: files may be called anything."""
    return one_line(received.name, MAX_NAME)


def _found(received: Received) -> Text:
    if received.reason:
        return Text(one_line(received.reason, MAX_REASON), style="red")
    counts = Counter(f["properties"]["label"] for f in received.features)
    found = ", ".join(f"{count} × {label}" for label, count in counts.items()) or "nothing"
    text = Text(one_line(found, MAX_REASON))
    if received.unsupported_prompts:
        refused = one_line(", ".join(received.unsupported_prompts), MAX_REASON)
        text.append(f"; cannot answer: {refused}", style="yellow")
    return text


def _latency(received: Received) -> str:
    return " ".join(f"{stage} {received.timing[stage]:.0f} ms" for stage in STAGES if stage in received.timing)
