"""Files of OpenCV and ROS with what they found out about a lens."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam3edge.core.errors import GeoreferenceError
from sam3edge.geo.lens import BrownConrady, Fisheye
from sam3edge.geo.lens_file import MAX_BYTES, MAX_OPENINGS, read_lens

MATRIX = np.array([[1000.5, 0, 640.25], [0, 1001.0, 361.0], [0, 0, 1]])
COEFFICIENTS = (-0.3, 0.1, 0.001, 0.0002, -0.01)

ROS = """image_width: 1280
image_height: 720
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [1000.5, 0. , 640.25,
         0. , 1001. , 361. ,
         0. , 0. , 1. ]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.3, 0.1, 0.001, 0.0002, -0.01]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
"""
"""As ``camera_calibration`` writes it."""

MESSAGE = """---
header:
  seq: 0
  frame_id: "camera"
height: 720
width: 1280
distortion_model: "plumb_bob"
D: [-0.3, 0.1, 0.001, 0.0002, -0.01]
K: [1000.5, 0.0, 640.25, 0.0, 1001.0, 361.0, 0.0, 0.0, 1.0]
"""
"""As ``rostopic echo`` shows it."""


def written(path: Path, **members: object) -> Path:
    """By OpenCV, in the format that the name's end says."""
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in members.items():
        storage.write(name, value)
    storage.release()
    return path


@pytest.mark.parametrize("end", ["yml", "yaml", "xml", "json"])
@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_what_opencv_writes_is_read(tmp_path: Path, end: str, shape: tuple[int, int]) -> None:
    path = written(
        tmp_path / f"lens.{end}",
        calibration_time="Sat Nov 28 20:00:00 2026",
        image_width=1280,
        image_height=720,
        camera_matrix=MATRIX,
        distortion_coefficients=np.array(COEFFICIENTS).reshape(shape),
        extrinsic_parameters=np.zeros((20, 6)),
        image_points=np.zeros((20, 54, 2), np.float32),
    )
    read = read_lens(path)
    assert (read.name, read.size) == (path.name, (1280, 720))
    assert (read.focal, read.centre) == ((1000.5, 1001.0), (640.75, 361.5))
    assert read.distortion == BrownConrady(COEFFICIENTS)


@pytest.mark.parametrize("text", [ROS, MESSAGE, "---\n" + ROS, ROS.replace("\n", "\r\n")])
def test_what_ros_writes_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "lens.yaml").write_bytes(text.encode())
    read = read_lens(tmp_path / "lens.yaml")
    assert (read.size, read.focal, read.centre) == ((1280, 720), (1000.5, 1001.0), (640.75, 361.5))
    assert read.distortion == BrownConrady(COEFFICIENTS)


def test_what_people_write_is_read(tmp_path: Path) -> None:
    document = {"camera_matrix": MATRIX.tolist(), "dist_coeff": [list(COEFFICIENTS)]}
    (tmp_path / "lens.json").write_text(json.dumps(document))
    read = read_lens(tmp_path / "lens.json")
    assert (read.size, read.focal, read.distortion) == (None, (1000.5, 1001.0), BrownConrady(COEFFICIENTS))


@pytest.mark.parametrize("member", [{"distortion_model": "equidistant"}, {"fisheye_model": 1}])
def test_fisheyes_are_told_by_their_name(tmp_path: Path, member: dict[str, object]) -> None:
    coefficients = np.array([[0.1, 0.02, 0.003, -0.0004]])
    path = written(tmp_path / "l.yml", camera_matrix=MATRIX, distortion_coefficients=coefficients, **member)
    assert read_lens(path).distortion == Fisheye((0.1, 0.02, 0.003, -0.0004))


def test_models_of_which_nothing_is_used_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "l.yml", camera_matrix=MATRIX, distortion_coefficients=np.array([[*COEFFICIENTS, *[0.0] * 9]])
    )
    assert read_lens(path).distortion == BrownConrady(COEFFICIENTS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected camera_matrix"),
        ("hello", "neither YAML nor JSON|expected camera_matrix"),
        ("{", "neither YAML nor JSON nor XML"),
        ("a:\n  b: [1,\n c", "neither YAML nor JSON nor XML"),
        ("a: 1\n", "expected camera_matrix in .*, got a; write what cv2.calibrateCamera returns"),
        ("K: 7\n", r"expected distortion_coefficients in"),
        ("K: 7\nD: [0]\n", "expected a camera matrix of 9 numbers"),
        ("K: [0,0,1,0,1,1,0,0,1]\nD: [0]\n", "focal lengths above 0"),
        ("K: [9,1,1,0,9,1,0,0,1]\nD: [0]\n", "expected a camera matrix fx, 0, cx"),
        ("K: [9,0,1,0,9,1,0,0,2]\nD: [0]\n", "expected a camera matrix fx, 0, cx"),
        ("K: [9,0,.Nan,0,9,1,0,0,1]\nD: [0]\n", "finite"),
        ("K: [9,0,1,0,9,1,0,0,1]\nD: [.Inf]\n", "finite"),
        ("K: [9,0,1,0,9,1,0,0,1]\nD: [0]\nwidth: 7\n", "expected image_height"),
        ("K: [9,0,1,0,9,1,0,0,1]\nD: [0]\nwidth: 7\nheight: 0\n", "above 0"),
        ("K: [9,0,1,0,9,1,0,0,1]\nD: [1,1,1,1,1,1,1,1,1]\n", "at most 8 coefficients other than 0"),
        ("K: [9,0,1,0,9,1,0,0,1]\nD: [1,1,1,1,1]\ndistortion_model: fisheye\n", "at most 4 coefficients"),
        (
            "K: [9,0,1,0,9,1,0,0,1]\nD: [1]\ndistortion_model: division\n",
            "expected a distortion_model of plumb_bob, .*got",
        ),
        ("a: " + "[" * (MAX_OPENINGS + 1), "got too much"),
        ("a:\n " + "- " * (MAX_OPENINGS + 1), "got too much"),
        ("a: 1\n" + " " * MAX_BYTES, "got too much"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "lens.yaml").write_text(text)
    with pytest.raises(GeoreferenceError, match=reason):
        read_lens(tmp_path / "lens.yaml")


@pytest.mark.parametrize(
    "opening", ["a: " + "[" * 4900, '{"a": ' + '{"a":' * 4900, "a:\n " + "- " * 4900, "<a>" * 4900]
)
def test_depth_that_is_let_through_does_no_harm(tmp_path: Path, opening: str) -> None:
    (tmp_path / "lens.yaml").write_text(opening)
    with pytest.raises(GeoreferenceError):
        read_lens(tmp_path / "lens.yaml")


def test_missing_files_and_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    for path in (tmp_path / "nowhere.yaml", tmp_path, tmp_path / "picture.png"):
        with pytest.raises(GeoreferenceError, match="cannot be read as text"):
            read_lens(path)


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    """Nothing but ours is raised, whatever is in the file."""
    rng, path, refused = np.random.default_rng(1), tmp_path / "lens.yaml", 0
    texts = [ROS.encode(), MESSAGE.encode()]
    for end in ("yml", "xml", "json"):
        members = {"camera_matrix": MATRIX, "distortion_coefficients": np.array([COEFFICIENTS])}
        texts.append(written(tmp_path / f"a.{end}", **members).read_bytes())
    for _ in range(500):
        data = bytearray(texts[rng.integers(len(texts))])
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.choice([*list(b'[]{}:,-"\n <>/&!#%0.e'), int(rng.integers(256))])
        path.write_bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data)
        try:
            read_lens(path)
        except GeoreferenceError:
            refused += 1
    assert 0 < refused < 500
