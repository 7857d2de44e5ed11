"""``sam3edge detect``: what people without a device type, and what they get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from sam3edge.cli import detect
from sam3edge.cli.main import app
from sam3edge.cli.schemas import detections_schema
from sam3edge.core.errors import EndpointError
from sam3edge.core.types import Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.invocations.fake import FakeEndpoint
from support.samples import frame, red_square
from support.stand_in import Reply, StandIn, no_json


@pytest.fixture
def server() -> Iterator[StandIn]:
    one = StandIn(FakeEngine(version="9.9.9"))
    yield one
    one.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), red_square()[..., ::-1])
    return path


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["detect", *(str(a) for a in arguments)])


def document(path: Path) -> dict[str, object]:
    body = dict(json.loads(path.read_text()))
    jsonschema.Draft202012Validator(detections_schema()).validate(body)
    return body


def test_an_endpoint_answers_with_a_file_an_image(run: Run, image: Path, server: StandIn, tmp_path: Path) -> None:
    result = run(image, "--prompt", "red", "--prompt", "blue", "--endpoint", server.url, "--out", "o", "--overlay")
    assert result.exit_code == 0, result.output
    body = document(tmp_path / "o" / "a.png.geojson")
    assert body["origin"] == {"by": "cloud"}
    assert body["model"]["version"] == "9.9.9"  # type: ignore[index]
    assert [feature["properties"]["label"] for feature in body["features"]] == ["red"]  # type: ignore[attr-defined]
    assert server.asked[0].phrases == ["red", "blue"]
    drawn = cv2.imread(str(tmp_path / "o" / "a.png.png"))
    assert drawn is not None
    assert drawn.shape == (240, 320, 3)
    assert (drawn[..., ::-1] != red_square()).any()
    assert "1 of 1 images answered" in result.output


def test_a_bundle_answers_here(run: Run, demo_bundle: Path, closed_bundle: Path, tmp_path: Path) -> None:
    scene = demo_bundle.parent / "scenes" / "scene-01.jpg"
    prompts = ["metal tag", "scratch", "unicorn"]
    result = run(scene, *(a for p in prompts for a in ("--prompt", p)), "--bundle", closed_bundle)
    assert result.exit_code == 0, result.output
    body = document(tmp_path / "detections" / "scene-01.jpg.geojson")
    assert body["origin"] == {"by": "device"}
    assert "unicorn" in body["unsupported_prompts"]  # type: ignore[operator]
    assert "does not know unicorn" in result.output
    assert not list((tmp_path / "detections").glob("*.png"))


def test_a_folder_stands_for_its_images_and_names_stay_apart(
    run: Run, image: Path, server: StandIn, tmp_path: Path
) -> None:
    other = tmp_path / "more" / "a.png"
    other.parent.mkdir()
    other.write_bytes(image.read_bytes())
    (image.parent / "notes.txt").write_text("no image")
    result = run(image.parent, other, "--prompt", "red", "--endpoint", server.url)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "detections").iterdir()) == ["a.png-2.geojson", "a.png.geojson"]


def test_an_image_that_cannot_be_answered_is_named_and_the_others_are(
    run: Run, image: Path, server: StandIn, tmp_path: Path
) -> None:
    (image.parent / "b.png").write_bytes(b"no picture at all")
    result = run(image.parent, "--prompt", "red", "--endpoint", server.url)
    assert result.exit_code == 1
    assert "b.png" in result.output
    assert "1 of 2 images answered" in result.output
    assert (tmp_path / "detections" / "a.png.geojson").exists()


def test_a_lying_endpoint_leaves_no_file(run: Run, image: Path, server: StandIn, tmp_path: Path) -> None:
    server.manner = no_json
    result = run(image, "--prompt", "red", "--endpoint", server.url)
    assert result.exit_code == 1
    assert "Invalid JSON" in result.output
    assert not (tmp_path / "detections").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.png", "--prompt", "red", "--endpoint", "http://127.0.0.1:9"), "is not there"),
        (("images", "--prompt", "red"), "there is no bundle in"),
        (("images", "--prompt", " ", "--endpoint", "http://127.0.0.1:9"), "one of them is empty"),
        (("images", "--prompt", "red", "--endpoint", "ftp://x"), "must be http"),
        (("images", "--prompt", "red", "--bundle", "images"), "is not a bundle"),
        ((".", "--prompt", "red", "--endpoint", "http://127.0.0.1:9"), "holds no image"),
        (("images",), "--prompt"),
        (("images", "--prompt", "red", "--threshold", "7"), "--threshold"),
    ],
)
def test_what_is_wrong_is_named_with_status_2(run: Run, image: Path, arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert says in " ".join(result.output.split())


def test_a_busy_endpoint_is_asked_again_when_it_said(server: StandIn) -> None:
    pauses: list[float] = []
    waits = [EndpointError("busy", retryable=True, retry_after=7), EndpointError("busy", retryable=True)]

    def before(number: int) -> None:
        if number <= len(waits):
            raise waits[number - 1]

    endpoint = FakeEndpoint(FakeEngine(), before)
    found = detect.EndpointDetector(endpoint, 5.0, pauses.append).detect(frame(red_square()), (Prompt("red"),))
    assert len(found.detections) == 1
    assert 7 <= pauses[0] <= 8
    assert 0.5 <= pauses[1] <= 1.5
    always = FakeEndpoint(FakeEngine(), lambda number: before(2))
    with pytest.raises(EndpointError):
        detect.EndpointDetector(always, 5.0, pauses.append).detect(frame(), (Prompt("red"),))
    assert always.requests == detect.ATTEMPTS
    final = FakeEndpoint(FakeEngine(), lambda number: (_ for _ in ()).throw(EndpointError("no")))
    with pytest.raises(EndpointError):
        detect.EndpointDetector(final, 5.0, pauses.append).detect(frame(), (Prompt("red"),))
    assert final.requests == 1


def test_sixteen_bits_and_orientation_are_drawn_as_the_model_saw_them(
    run: Run, server: StandIn, tmp_path: Path
) -> None:
    deep = red_square()[..., ::-1].astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    server.manner = server.honest
    result = run("deep.png", "--prompt", "red", "--endpoint", server.url, "--overlay")
    assert result.exit_code == 0, result.output
    drawn = cv2.imread(str(tmp_path / "detections" / "deep.png.png"))
    assert drawn is not None
    assert abs(float(drawn[5, 5].mean()) - 90) < 2


def test_an_error_of_the_endpoint_is_shown_and_its_markup_is_not_ours(run: Run, image: Path, server: StandIn) -> None:
    body = json.dumps({"error": {"message": "[bold]too dark[/]"}}).encode()
    server.manner = lambda asked: Reply(body, 422)
    result = run(image, "--prompt", "red", "--endpoint", server.url)
    assert "[bold]too dark[/]" in result.output
