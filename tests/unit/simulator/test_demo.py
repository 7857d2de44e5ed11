"""What the demo says, and leaves behind."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sam3edge_simulator.demo import run
from sam3edge_simulator.demo.display import Display
from sam3edge_simulator.demo.receiver import Received

ASSETS = Path(__file__).parents[3] / "assets"


@pytest.mark.parametrize("terminal", [False, True])
def test_frames_that_somebody_adds_are_not_counted_among_those_of_the_demo(terminal: bool) -> None:
    said = io.StringIO()
    features = [{"properties": {"label": label}} for label in ("ship", "ship", "car")]
    with Display(Console(file=said, force_terminal=terminal, width=200, height=50), 2) as display:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            display.add(Received(name, "topic", whole={"features": features}))
    assert said.getvalue().count("2 × ship, 1 × car") >= 3
    assert "3/2" not in said.getvalue()
    assert "3 of 2" not in said.getvalue()
    assert ("2 of 2 frames answered" if terminal else "+1  c.jpg") in said.getvalue()


def test_a_demo_that_is_aborted_leaves_no_page_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Aborted(Exception):
        pass

    def abort(*_: Any) -> None:
        raise Aborted

    (tmp_path / "index.html").write_text("the demo before")
    monkeypatch.setattr(run, "build_component", abort)
    options = run.Options(ASSETS / "scenes", (), ASSETS / "demo-bundle", tmp_path)
    with pytest.raises(Aborted):
        run.run_demo(options, Console(file=io.StringIO()))
    assert not (tmp_path / "index.html").exists()
