"""The labeling functions, with their files in buckets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.datasets.formats.annotations import ImageAnnotations
from sam3edge_pipeline.datasets.formats.coco import coco_of
from sam3edge_pipeline.labeling import handlers
from sam3edge_pipeline.labeling.review.decisions import Action
from sam3edge_pipeline.labeling.review.queue import ReviewQueue
from sam3edge_pipeline.labeling.steps import VerificationError
from support.labeled_images import at, square
from support.labeling_cloud import DEFAULTS, LabelingCloud, labeling_cloud

SCALES = {"f1": 1.0, "f2": 0.5, "f3": 0.75}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LabelingCloud]:
    with labeling_cloud(monkeypatch, tmp_path / "work") as made:
        yield made


def another_environment(tmp_path: Path) -> None:
    """Everything that a function kept on its disk is gone."""
    shutil.rmtree(tmp_path / "work")


def event(step: str, job: str = "yard-1", backend: str = "files", **more: Any) -> dict[str, Any]:
    extra = {
        "check": {"maximum": 10},
        "verify": {"backend": backend, "minimum_share": 1.0},
        "store": {"backend": backend, "dataset": "yard", "version": "1", "parent": ""},
    }.get(step, {"backend": backend})
    return {"job": job, **extra, **more}


def label(cloud: LabelingCloud, names: dict[str, float], job: str = "yard-1") -> None:
    """A tool's export arrives."""
    images = [
        ImageAnnotations(
            f"hard-examples/thing-1/2026/01/02/{name}/frame.jpg", round(320 * scale), round(240 * scale), (square(20),)
        )
        for name, scale in names.items()
    ]
    cloud.s3.put_object(Bucket=cloud.learning, Key=f"labeling/labels/{job}.json", Body=coco_of(images))


def test_uploads_become_a_dataset_version_by_a_label_file(cloud: LabelingCloud, tmp_path: Path) -> None:
    for name, scale in SCALES.items():
        cloud.upload(name, scale)
    assert handlers.check(event("check"), None) == {"count": 3}
    assert handlers.start(event("start"), None) == {"job": "yard-1"}
    assert handlers.status(event("status"), None)["state"] == "in_progress"
    label(cloud, SCALES)
    another_environment(tmp_path)
    assert handlers.status(event("status"), None)["state"] == "completed"
    assert handlers.verify(event("verify"), None) == {"labeled": 3, "missing": 0}
    stored = handlers.store(event("store"), None)
    assert stored["version"] == "1"
    assert sum(stored["examples"].values()) == 3
    assert "datasets/yard/1/manifest.json" in cloud.keys("datasets/")
    assert handlers.store(event("store"), None) == stored
    # what is labeled is not labeled again
    cloud.upload("f4", 0.25)
    assert handlers.check(event("check", job="yard-2"), None) == {"count": 1}


def test_a_job_keeps_its_images_whatever_is_uploaded_meanwhile(cloud: LabelingCloud, tmp_path: Path) -> None:
    cloud.upload("f1", 1.0)
    assert handlers.check(event("check"), None) == {"count": 1}
    for name, scale in {"f2": 0.5, "f3": 0.75, "f4": 0.25}.items():
        cloud.upload(name, scale)
    another_environment(tmp_path)
    assert handlers.check(event("check"), None) == {"count": 1}
    label(cloud, {"f1": 1.0})
    assert handlers.verify(event("verify"), None) == {"labeled": 1, "missing": 0}


def test_only_the_newest_uploads_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with labeling_cloud(monkeypatch, tmp_path, {**DEFAULTS, "SAM3EDGE_LABELING_MAX_EXAMPLES": "2"}) as cloud:
        for name, scale in SCALES.items():
            cloud.upload(name, scale)
        assert handlers.check(event("check"), None) == {"count": 2}


def test_a_damaged_upload_costs_the_others_nothing(cloud: LabelingCloud, caplog: pytest.LogCaptureFixture) -> None:
    cloud.upload("f1", 1.0)
    key = cloud.upload("f2", 0.5)
    cloud.s3.put_object(Bucket=cloud.examples, Key=key, Body=b"{")
    assert handlers.check(event("check"), None) == {"count": 1}
    assert "passed over" in caplog.text


def test_a_name_that_leads_out_of_the_folder_is_not_fetched(cloud: LabelingCloud, tmp_path: Path) -> None:
    cloud.upload("f1", 1.0)
    cloud.s3.put_object(Bucket=cloud.examples, Key="hard-examples/../../../example.json", Body=b"{}")
    assert handlers.check(event("check"), None) == {"count": 1}
    assert not list(tmp_path.glob("example.json"))


def test_reviewers_get_a_queue_and_what_they_decide_comes_back(cloud: LabelingCloud, tmp_path: Path) -> None:
    cloud.upload("f1", 1.0)
    handlers.check(event("check"), None)
    handlers.start(event("start", backend="review"), None)
    keys = cloud.keys("labeling/queues/yard-1/")
    assert any(key.endswith("/item.json") for key in keys)
    another_environment(tmp_path)
    assert handlers.status(event("status", backend="review"), None)["state"] == "in_progress"

    mine = tmp_path / "mine"
    for key in keys:
        target = mine / key.removeprefix("labeling/queues/yard-1/")
        target.parent.mkdir(parents=True, exist_ok=True)
        cloud.s3.download_file(cloud.learning, key, str(target))
    queue = ReviewQueue(mine)
    [item] = queue.ids
    queue.act(item, Action("accept", "ann", at(1), object=0), 0)
    queue.act(item, Action("absent", "ann", at(2), phrase="dent"), 1)
    queue.act(item, Action("done", "ann", at(3)), 2)
    for path in mine.rglob("decisions.json"):
        key = f"labeling/queues/yard-1/{path.relative_to(mine).as_posix()}"
        cloud.s3.upload_file(str(path), cloud.learning, key)
    assert handlers.status(event("status", backend="review"), None)["state"] == "completed"
    assert handlers.verify(event("verify", backend="review"), None) == {"labeled": 1, "missing": 0}


def test_too_few_labels_are_refused(cloud: LabelingCloud) -> None:
    for name, scale in SCALES.items():
        cloud.upload(name, scale)
    handlers.check(event("check"), None)
    label(cloud, {"f1": 1.0})
    with pytest.raises(VerificationError, match="got them for 1"):
        handlers.verify(event("verify"), None)


def test_settings_name_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3EDGE_LABELING_DATASET", "A b")
    with pytest.raises(SettingsError) as refused:
        handlers.read_settings()
    assert all(name in str(refused.value) for name in ("dataset", "examples", "learning", "phrases"))


def test_ground_truth_is_set_up_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DEFAULTS.items():
        monkeypatch.setenv(name, value)
    assert handlers.read_settings().ground_truth() is None
    monkeypatch.setenv("SAM3EDGE_LABELING_WORK_TEAM", "arn")
    with pytest.raises(SettingsError, match="consolidation"):
        handlers.read_settings()
    for name in ("ROLE", "UI_TEMPLATE", "PRE_TASK", "CONSOLIDATION"):
        monkeypatch.setenv(f"SAM3EDGE_LABELING_{name}", name.lower())
    found = handlers.read_settings().ground_truth()
    assert found is not None
    assert (found.place, found.role) == ("s3://learning/labeling/ground-truth", "role")
