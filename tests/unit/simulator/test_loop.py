"""Parts of the local run that can be tried alone; the whole is ``make loop``, and slow."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam3edge_pipeline.datasets.store import open_dataset
from sam3edge_pipeline.synthetic import PHRASES
from sam3edge_pipeline.synthetic.examples import write_examples
from sam3edge_pipeline.synthetic.overhead import TANK
from sam3edge_simulator.loop.cloud import BUCKET, local_cloud
from sam3edge_simulator.loop.teaching import KNOWN, label_example, label_uploads, seed_of, store, worth_labeling

AT = datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_the_dataset_knows_what_was_labeled_and_keeps_splits_apart(tmp_path: Path) -> None:
    retained = write_examples(range(3_000_000, 3_000_004), tmp_path / "a", "train", PHRASES)
    test = write_examples(range(1_000_060, 1_000_063), tmp_path / "b", "test", KNOWN)
    learned = write_examples(range(2_000_000, 2_000_003), tmp_path / "c", "train", KNOWN)
    parts = {"train": [label_example(e, AT) for e in retained], "test": [label_example(e, AT) for e in test]}
    manifest = store(tmp_path / "set", "hard", parts, [label_example(e, AT) for e in learned])  # type: ignore[arg-type]
    assert manifest.examples == {"train": 7, "validation": 0, "test": 3}
    assert [source.name for source in manifest.sources] == ["generator of the scenes"]
    by_id = {one.id: one for one in open_dataset(tmp_path / "set").examples}
    assert TANK not in by_id[retained[0].id].exhaustive
    assert TANK in by_id[learned[0].id].exhaustive
    assert len(by_id[learned[0].id].objects) == len(learned[0].objects)


def test_scenes_are_known_by_their_names() -> None:
    assert seed_of("scene-2000007.png") == 2_000_007
    with pytest.raises(ValueError, match="expected the name of a scene"):
        seed_of("IMG_0001.JPG")


def test_the_stand_in_for_aws_gives_keys_only_for_a_token_and_has_a_bucket() -> None:
    with local_cloud() as cloud:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(cloud.credentials)
        asked = urllib.request.Request(cloud.credentials, headers={"Authorization": "token"})
        with urllib.request.urlopen(asked) as response:
            assert {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} <= json.loads(response.read()).keys()
        cloud.client("s3").put_object(Bucket=BUCKET, Key="hard-examples/a", Body=b"x")
        assert cloud.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1


def test_what_is_downloaded_lies_as_it_did(tmp_path: Path) -> None:
    with local_cloud() as cloud:
        for key in ("hard-examples/line-7/a/frame.jpg", "other/b"):
            cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=key.encode())
        cloud.download("hard-examples/", tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == [
        "hard-examples/line-7/a/frame.jpg"
    ]


def test_damaged_uploads_are_told(tmp_path: Path) -> None:
    place = tmp_path / "hard-examples/line-7/2026/01/01/f"
    place.mkdir(parents=True)
    (place / "frame.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    (place / "example.json").write_text("{}")
    with pytest.raises(Exception, match=r"example\.json"):
        label_uploads(tmp_path, AT)


TANKS = [f"uncertain: tank scored 0.0{n}" for n in range(3)]
DRAWN = [f"random: {n}" for n in range(3)]
OTHERS = ["uncertain: scratch scored 0.5", ""]


@pytest.mark.parametrize(
    ("kept", "budget", "chosen"),
    [
        ([*OTHERS, *DRAWN, *TANKS], 4, [TANKS[0], *DRAWN]),
        ([*OTHERS, *DRAWN, *TANKS], 8, [*TANKS, *DRAWN, *OTHERS]),
        ([*OTHERS, *TANKS], 4, [*TANKS, OTHERS[0]]),
        ([*DRAWN, *OTHERS], 4, [*DRAWN, OTHERS[0]]),
        ([*TANKS[:1], *DRAWN], 4, [TANKS[0], *DRAWN]),
    ],
)
def test_labels_are_spent_on_what_was_kept_for_the_phrase_and_on_what_was_drawn(
    tmp_path: Path, kept: list[str], budget: int, chosen: list[str]
) -> None:
    [one] = write_examples(range(2_000_000, 2_000_001), tmp_path, "train", KNOWN)
    labeled = [replace(label_example(one, AT), reason=reason) for reason in kept]
    assert [o.reason for o in worth_labeling(labeled, "tank", budget)] == chosen


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_cycle(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sam3edge_simulator.loop", "--out", str(tmp_path / "loop")]
    assert subprocess.run(command, check=False).returncode == 0
