from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sam3edge.core.errors import PublishError
from sam3edge.core.types import Message
from sam3edge.publishers.files import FilesPublisher


def test_the_payload_lies_where_topic_and_id_say(tmp_path: Path) -> None:
    publisher = FilesPublisher(tmp_path / "out")
    publisher.publish(Message("frame-1", "site/camera/detections", b'{"type": "FeatureCollection"}\xff\x00'))
    path = tmp_path / "out" / "site" / "camera" / "detections" / "frame-1.json"
    assert path.read_bytes() == b'{"type": "FeatureCollection"}\xff\x00'
    assert list((tmp_path / "out" / ".incoming").iterdir()) == []


def test_the_same_id_is_written_once(tmp_path: Path) -> None:
    publisher = FilesPublisher(tmp_path)
    publisher.publish(Message("1", "t", b"first"))
    path = tmp_path / "t" / "1.json"
    inode = path.stat().st_ino
    publisher.publish(Message("1", "t", b"first"))
    assert path.stat().st_ino == inode


def test_the_same_id_from_many_threads_is_never_seen_in_part(tmp_path: Path) -> None:
    publisher = FilesPublisher(tmp_path)
    payload = b"x" * 300_000
    path = tmp_path / "t" / "1.json"
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            if path.exists():
                seen.append(len(path.read_bytes()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    writers = [threading.Thread(target=publisher.publish, args=(Message("1", "t", payload),)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    watcher.join()
    assert set(seen) <= {len(payload)}
    assert path.read_bytes() == payload


HOSTILE = [
    "..",
    ".",
    "",
    "/",
    "../../etc/passwd",
    "a/../../b",
    "..\\..",
    "/etc/passwd",
    "a\x00b",
    ".incoming",
    "~",
    "%2E",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_is_written_outside(tmp_path: Path, hostile: str) -> None:
    folder = tmp_path / "deep" / "out"
    publisher = FilesPublisher(folder)
    publisher.publish(Message(hostile, "t", b"id"))
    publisher.publish(Message("1", hostile, b"topic"))
    publisher.publish(Message(hostile, f"t/{hostile}/x", b"both"))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 3
    assert all(path.is_relative_to(folder) and ".incoming" not in path.parts for path in written)
    assert all(path.resolve().is_relative_to(folder.resolve()) for path in written)


names = st.text(max_size=12) | st.sampled_from(HOSTILE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(first=st.tuples(names, names), second=st.tuples(names, names))
@example(first=("a", ""), second=("a", "%"))
@example(first=(".a", "t"), second=("%2Ea", "t"))
def test_different_messages_have_different_files_inside(
    tmp_path: Path, first: tuple[str, str], second: tuple[str, str]
) -> None:
    publisher = FilesPublisher(tmp_path)
    paths = [publisher.path_of(Message(name, topic, b"")) for name, topic in (first, second)]
    assert (paths[0] == paths[1]) == (first == second)
    for path in paths:
        inside = path.relative_to(tmp_path)
        assert not {"..", ".", "/", ".incoming"} & set(inside.parts)


def test_remains_of_an_interrupted_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".incoming").mkdir()
    (tmp_path / ".incoming" / "12.tmp").write_bytes(b"half")
    FilesPublisher(tmp_path)
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_folder_that_cannot_be_used_is_a_publish_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishError, match="cannot be used"):
        FilesPublisher(tmp_path / "file")


def test_a_failed_write_is_a_publish_error_and_leaves_nothing(tmp_path: Path) -> None:
    publisher = FilesPublisher(tmp_path)
    (tmp_path / "t").write_text("a file where a folder is needed")
    with pytest.raises(PublishError, match="could not be written"):
        publisher.publish(Message("1", "t", b"x"))
    assert list((tmp_path / ".incoming").iterdir()) == []
