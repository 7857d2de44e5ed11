"""Lines in files: whole, once, bounded."""

from __future__ import annotations

import io
import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.core.messages.envelope import to_json
from sam3edge.subscriber.listener import BATCH
from sam3edge.subscriber.sinks.ndjson import NdjsonFile, NdjsonPipe
from support.device_messages import WHOLE, of_frame
from support.smart_home import COUNTS, EVENT, STATUS

DETECTIONS = ("detections",)
SMALL = {**WHOLE, "features": []}


def frames(path: Path) -> list[str]:
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line)["frame"]["id"] for line in text.splitlines()]


def small(*names: str) -> list[dict[str, Any]]:
    return [of_frame(SMALL, name) for name in names]


def begun_and_ended(path: Path) -> None:
    file = NdjsonFile(path, DETECTIONS)
    file.write([])
    file.close()


def test_nothing_is_made_or_changed_before_the_first_write(tmp_path: Path) -> None:
    """Another sink may be refused."""
    NdjsonFile(tmp_path / "new" / "x.ndjson", DETECTIONS).close()
    torn = tmp_path / "x.ndjson"
    torn.write_bytes(b'{"type":')
    NdjsonFile(torn, DETECTIONS).close()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.ndjson", b'{"type":')]


def test_only_messages_of_its_topics_are_written(tmp_path: Path) -> None:
    given = [EVENT, WHOLE, COUNTS, STATUS]
    file = NdjsonFile(tmp_path / "x.ndjson", ("detections", "events"))
    file.write(given)
    file.close()
    assert [json.loads(line) for line in (tmp_path / "x.ndjson").read_text().splitlines()] == given[:3]
    stream = io.BytesIO()
    NdjsonPipe(stream, ("status",)).write(given)
    assert json.loads(stream.getvalue()) == STATUS


def test_lines_on_a_terminal_move_no_cursor() -> None:
    hostile = of_frame(SMALL, "a", source="\x1b[2J \x9b2J \x7f \u00e9 \u4e2d")
    stream = io.BytesIO()
    NdjsonPipe(stream, DETECTIONS).write([hostile])
    text = stream.getvalue().decode()
    assert text[:-1].isprintable()
    assert "\u00e9 \u4e2d" in text
    assert json.loads(text) == hostile


def test_what_a_process_before_had_written_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    file = NdjsonFile(path, DETECTIONS)
    file.write(small("a", "b"))
    file.close()
    path.write_bytes(path.read_bytes() + b'{"torn": "li')
    again = NdjsonFile(path, DETECTIONS)
    again.write(small("b", "c", "a"))
    again.close()
    assert frames(path) == ["a", "b", "c"]


@pytest.mark.parametrize("size", [1, 1_048_576, 1_048_577, 3_000_000])
def test_a_torn_line_of_any_length_is_cut(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.ndjson"
    torn = (b'{"type":"FeatureCollection","features":["' + b"x" * size)[:size]
    for before in (b"", to_json(EVENT) + b"\n"):
        path.write_bytes(before + torn)
        begun_and_ended(path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("message", [WHOLE, EVENT, COUNTS, STATUS], ids=lambda m: m["message_type"])
def test_a_line_that_was_torn_anywhere_is_known_as_ours(tmp_path: Path, message: dict[str, Any]) -> None:
    line = to_json(message)
    for size in {1, 2, *range(3, len(line), 1 + len(line) // 40), len(line) - 2, len(line) - 1}:
        path = tmp_path / "x.ndjson"
        path.write_bytes(line[:size])
        begun_and_ended(path)
        assert path.read_bytes() == b""


def test_a_message_that_only_lacks_its_end_of_line_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(to_json(of_frame(SMALL, "a")))
    file = NdjsonFile(path, DETECTIONS)
    file.write(small("a", "b"))
    file.close()
    assert frames(path) == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"my": "precious config"}',
        b'{"my": "precious con',
        b'{\n  "my": "precious config"\n}\n',
        b'{"type": "FeatureCollection", "features": []}',
        b'{"type": "FeatureCollection", "features": []}\n',
        b'{"id": "x"}',
        b'{"message_type": "letter", "text": "De',
        b"hello",
        b"[1, 2",
        b"7\n",
        b"\n",
        b"\x00\xff" * 1000,
    ],
)
def test_files_of_others_are_refused_and_stay_as_they_are(tmp_path: Path, content: bytes) -> None:
    for name in ("x.ndjson", "x.ndjson.2"):  # the second one would be renamed, and deleted later
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SettingsError, match="another name"):
            NdjsonFile(tmp_path / "x.ndjson", DETECTIONS, max_bytes=1, files=5)
        assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, content)]
        (tmp_path / name).unlink()


def test_a_whole_batch_is_known_again_across_files(tmp_path: Path) -> None:
    """As many as may have been written before a kill, however they lie."""
    path = tmp_path / "x.ndjson"
    batch = small(*(f"{number:03}" for number in range(BATCH)))
    file = NdjsonFile(path, DETECTIONS)
    file.write(batch[:60])
    file.rotate()
    file.write(batch[60:])
    file.close()
    again = NdjsonFile(path, DETECTIONS)
    again.write([*batch, *small("new")])
    again.close()
    assert frames(path) == [f"{number:03}" for number in range(60, BATCH)] + ["new"]


def test_lines_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    before = to_json(EVENT) + b'\nhello\n{"a": 1}\n[]\n'
    path.write_bytes(before)
    file = NdjsonFile(path, DETECTIONS)
    file.write(small("a"))
    file.close()
    assert path.read_bytes().startswith(before + b'{"type"')


def test_files_are_rotated_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    [line] = small("0000")
    one = len(json.dumps(line, separators=(",", ":"))) + 1
    file = NdjsonFile(path, DETECTIONS, max_bytes=3 * one, files=3)
    for number in range(11):
        file.write(small(f"{number:04}"))
    file.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.ndjson", "x.ndjson.1", "x.ndjson.2"]
    assert frames(path) == ["0009", "0010"]
    assert frames(tmp_path / "x.ndjson.1") == ["0006", "0007", "0008"]
    assert frames(tmp_path / "x.ndjson.2") == ["0003", "0004", "0005"]


def test_a_single_file_is_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    file = NdjsonFile(path, DETECTIONS, max_bytes=1, files=1)
    for name in ("a", "b"):
        file.write(small(name))
    file.close()
    assert [p.name for p in tmp_path.iterdir()] == ["x.ndjson"]
    assert frames(path) == ["b"]


def test_a_write_that_fails_half_way_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    file = NdjsonFile(path, DETECTIONS)
    file.write(small("a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.size + 20, limits[1]))  # then the medium takes no more
    try:
        with pytest.raises(SubscriptionError, match="too large"):
            file.write(small("b", "c"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert frames(path) == ["a"]
    file.write(small("b", "c"))
    file.close()
    assert frames(path) == ["a", "b", "c"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be written"):
        NdjsonFile(tmp_path / "file" / "x.ndjson", DETECTIONS)
    with pytest.raises(SettingsError, match="cannot be written"):
        NdjsonFile(tmp_path, DETECTIONS)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="expected a file"):
        NdjsonFile(tmp_path / "pipe", DETECTIONS)
