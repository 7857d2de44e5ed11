"""What cannot be written leaves nothing behind, and what was there before stays."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from sam3edge.core.errors import VectorFileError
from sam3edge.vector import coco, drafts, files
from sam3edge.vector.files import FORMATS, FeatureWriter, write_features
from sam3edge.vector.rows import FeatureRefused
from support.vector_files import FIELD, SQUARE, feature, names_in, read_layer

ENDS = tuple(FORMATS)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full(*_: Any, **__: Any) -> None:
    raise FULL


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("where", ["sync_tree", "move_file"])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, end: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"found{end}"
    write_features(path, [feature("a", FIELD)])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(files, where, full)
    with pytest.raises(VectorFileError, match=r"found.*cannot be written: .*No space left on device; nothing of it"):
        write_features(path, [feature("b", FIELD)])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


SMALL_FILES = """
import resource, sys
from pathlib import Path
from sam3edge.core.errors import VectorFileError
from sam3edge.vector import coco, drafts, files
from support.vector_files import FIELD, feature

folder = Path(sys.argv[1])
files.MAX_ROWS = 50
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
for end in files.FORMATS:
    many = (feature(f"{n}", FIELD, note=f"{n ** 40:x}" * 20) for n in range(1000))
    try:
        files.write_features(folder / f"found{end}", many)
    except VectorFileError as error:
        print(end, error)
"""


def test_a_file_that_may_not_grow_leaves_nothing(tmp_path: Path) -> None:
    """The operating system refuses every write beyond 30 kB, to GDAL, SQLite and Arrow as to us."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", SMALL_FILES, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    refused = [line.split()[0] for line in done.stdout.splitlines() if "nothing of it is left" in line]
    assert refused == list(ENDS)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("end", ENDS)
def test_features_that_break_off_leave_nothing(tmp_path: Path, end: str) -> None:
    def some() -> Iterator[dict[str, Any]]:
        yield feature("a", FIELD)
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError, match="the source is gone"):
        write_features(tmp_path / f"found{end}", some())
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("end", ENDS)
def test_a_writer_that_is_given_up_leaves_nothing(tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ROWS", 1)
    writer = FeatureWriter(tmp_path / f"found{end}")
    writer.write([feature("a", FIELD), feature("b", FIELD)])
    writer.abort()
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VectorFileError, match=r"cannot be written: File exists"):
        write_features(tmp_path / "file" / "found.gpkg", [])
    assert names_in(tmp_path) == ["file"]


def test_a_folder_without_permission_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_: Any) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path))

    monkeypatch.setattr(drafts.tempfile, "mkdtemp", denied)
    with pytest.raises(VectorFileError, match=r"cannot be written: .*Permission denied"):
        write_features(tmp_path / "found.gpkg", [])


def test_a_file_name_that_is_a_folder_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "found.gpkg").mkdir()
    with pytest.raises(VectorFileError, match=r"cannot be written: .*Is a directory"):
        write_features(tmp_path / "found.gpkg", [feature("a", FIELD)])
    assert names_in(tmp_path) == ["found.gpkg"]


def test_one_bad_feature_does_not_cost_the_others(tmp_path: Path) -> None:
    path = tmp_path / "found.gpkg"
    with FeatureWriter(path) as writer:
        with pytest.raises(FeatureRefused):
            writer.write([feature("a", FIELD), {"type": "nothing"}, feature("never read")])
        writer.write([feature("b", FIELD)])
    assert sorted(read_layer(path, "detections")) == ["a", "b"]
    assert writer.count == 2


RING = shapely.Polygon([(0, 0), (900, 0), (900, 900), (0, 900)], [[(10, 10), (10, 20), (20, 20), (20, 10)]])
TEETH = shapely.Polygon(
    [(0, 0), *((1e6 if n % 2 else 1, n * 1e-2) for n in range(100)), (0, 1)],
    [[(0.2, 0.2), (0.2, 0.4), (0.4, 0.4), (0.4, 0.2)]],
)


def of_size(width: int, height: int, outline: Any = RING) -> dict[str, Any]:
    return {**feature("a", FIELD, outline), "frame": {"name": "a.png", "id": "f", "width": width, "height": height}}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (of_size(10**9, 10**9), "has a hole, which COCO says by run lengths of the frame"),
        (of_size(2**53 - 1, 1), "has a hole"),
        (of_size(10**6, 2000, TEETH), "has a hole"),
        (of_size(-5, -5), "needs the frame's name, width and height"),
        (of_size(100, 100, shapely.box(0, 0, 1e200, 1e200)), "within 2147483648 pixels of the origin"),
        (of_size(100, 100, shapely.Polygon([(0, 0), (9, 9), (0, 0)])), "needs an area in pixels"),
    ],
)
def test_a_frame_or_outline_beyond_measure_costs_itself_only(
    tmp_path: Path, bad: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco, "MAX_CROSSINGS", 1 << 16)
    with FeatureWriter(tmp_path / "found.coco.json") as writer:
        with pytest.raises(FeatureRefused, match=reason):
            writer.write([bad])
        writer.write([of_size(1000, 1000)])
    assert len(json.loads((tmp_path / "found.coco.json").read_text())["annotations"]) == 1


def test_one_frame_with_two_sizes_is_two_images(tmp_path: Path) -> None:
    """So that run lengths are of a size that was looked at."""
    write_features(tmp_path / "found.coco.json", [of_size(2**40, 2**40, SQUARE), of_size(1000, 1000)])
    written = json.loads((tmp_path / "found.coco.json").read_text())
    assert [one["image_id"] for one in written["annotations"]] == [1, 2]
    assert written["annotations"][1]["segmentation"]["size"] == [1000, 1000]


@pytest.mark.parametrize(
    "bad",
    [
        feature("a", FIELD, None),
        {**feature("a", FIELD), "frame": None},
        {**feature("a", FIELD), "frame": {"name": "a.png", "width": 0, "height": 5}},
    ],
)
def test_coco_takes_no_feature_without_pixels_or_frame(tmp_path: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(FeatureRefused, match=r"COCO needs .* feature a"):
        write_features(tmp_path / "found.coco.json", [bad])
    assert names_in(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from sam3edge.vector.files import FeatureWriter
from support.vector_files import FIELD, feature

with FeatureWriter(Path(sys.argv[1])) as writer:
    writer.write([feature("a", FIELD)])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_that_writes_the_file(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    for name in ("found.gpkg", "other.gpkg"):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)], env=environment, timeout=60, check=False)
    ours, others = names_in(tmp_path)
    assert (ours[:12], others[:12]) == (".found.gpkg.", ".other.gpkg.")
    write_features(tmp_path / "found.gpkg", [feature("b", FIELD)])
    assert names_in(tmp_path) == sorted([others, "found.gpkg"])


def test_what_another_one_is_writing_stays(tmp_path: Path) -> None:
    """Nor does a folder go that looks like one of ours and is not."""
    path = tmp_path / "found.gpkg"
    backup = tmp_path / ".found.gpkg.mybackup"
    backup.mkdir()
    with FeatureWriter(path) as slow:
        slow.write([feature("a", FIELD)])
        write_features(path, [feature("b", FIELD)])
        assert sorted(read_layer(path, "detections")) == ["b"]
    assert sorted(read_layer(path, "detections")) == ["a"]
    assert names_in(tmp_path) == [backup.name, "found.gpkg"]


def test_a_file_system_without_locks_leaves_what_it_cannot_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path = tmp_path / "found.gpkg"
    with FeatureWriter(path) as slow, monkeypatch.context() as patched:
        patched.setattr(drafts.fcntl, "flock", unsupported)
        slow.write([feature("a", FIELD)])
        write_features(path, [feature("b", FIELD)])
    assert sorted(read_layer(path, "detections")) == ["a"]
    assert names_in(tmp_path) == ["found.gpkg"]


def test_a_disk_that_is_full_at_once_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "_locked", full)
    with pytest.raises(VectorFileError, match="No space left on device"):
        FeatureWriter(tmp_path / "found.gpkg")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("end", ENDS)
def test_a_folder_in_the_place_of_the_file_is_refused_before_anything_is_read(tmp_path: Path, end: str) -> None:
    (tmp_path / f"found{end}").mkdir()

    def never() -> Iterator[dict[str, Any]]:
        raise AssertionError("read")
        yield

    with pytest.raises(VectorFileError, match="Is a directory"):
        write_features(tmp_path / f"found{end}", never())


def test_coco_has_the_area_of_an_outline_that_crosses_itself(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    write_features(tmp_path / "found.coco.json", [feature("a", FIELD, bow_tie)])
    [written] = json.loads((tmp_path / "found.coco.json").read_text())["annotations"]
    assert written["area"] == 50
    assert (
        shapely.union_all([shapely.Polygon(np.reshape(ring, (-1, 2))) for ring in written["segmentation"]]).area == 50
    )
