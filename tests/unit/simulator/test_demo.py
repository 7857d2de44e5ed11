"""What the demo says, and leaves behind."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from types import SimpleNamespace
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


@pytest.mark.parametrize("terminal", [False, True])
def test_names_and_labels_are_shown_as_they_are_and_move_no_cursor(terminal: bool) -> None:
    said = io.StringIO()
    label = {"properties": {"label": "[/red]ship"}}
    with Display(Console(file=said, force_terminal=terminal, width=200, height=50), 2) as display:
        display.add(Received("[red]four\x1b[2J.jpg", "topic", whole={"features": [label]}))
        display.add(Received("five.jpg", "topic", reason="not [/an] image\x1b[2J"))
    assert "[red]four [2J.jpg" in said.getvalue()
    assert "1 × [/red]ship" in said.getvalue()
    assert "not [/an] image [2J" in said.getvalue()
    assert "\x1b[2J" not in said.getvalue()


def test_frames_of_which_nothing_came_are_named(tmp_path: Path) -> None:
    """In the terminal, and on the page, where they are no frames that were answered."""
    said, receiver = io.StringIO(), SimpleNamespace(repetitions=0, component_errors=["[/broken]"])
    frames = {"a.jpg": Received("a.jpg", "t", whole={"features": []}), "[half].jpg": Received("[half].jpg", "t")}
    names = ["a.jpg", "[half].jpg", "gone.jpg"]
    run._summary(Console(file=said, width=200), receiver, frames, names, tmp_path)  # type: ignore[arg-type]
    assert "1 of 3 frames answered (0 could not be used)" in said.getvalue()
    assert "no message came of [half].jpg, gone.jpg: a file that ends too early" in said.getvalue()
    assert "component error: [/broken]" in said.getvalue()

    images = tmp_path / "images"
    images.mkdir()
    for name in names:
        shutil.copy(ASSETS / "scenes" / "scene-01.jpg", images / name)
    options = run.Options(images, (), ASSETS / "demo-bundle", tmp_path)
    run._draw(options, [images / name for name in names], frames, ["ship"])
    page = (tmp_path / "index.html").read_text()
    assert "0 in 1 of 3 frames" in page
    assert page.count("its message has not come, or not all of it") == 2


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
