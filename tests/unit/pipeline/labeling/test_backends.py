"""Backends: started twice without harm, honest about how far they are, and labels of what was asked for alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sam3edge.engines.fake import FakeEngine
from sam3edge_pipeline.datasets.formats.annotations import FormatError, ImageAnnotations
from sam3edge_pipeline.datasets.formats.coco import coco_of
from sam3edge_pipeline.labeling.backends import (
    FilesBackend,
    ImageToLabel,
    LabelingError,
    LabelingRequest,
    ReviewBackend,
    from_engine,
    from_uploads,
)
from sam3edge_pipeline.labeling.ground_truth import GroundTruthBackend, GroundTruthSettings, job_parameters
from sam3edge_pipeline.labeling.prelabels import PreLabeled, Proposal
from sam3edge_pipeline.labeling.review.decisions import Action
from sam3edge_pipeline.labeling.review.queue import ReviewQueue
from support.ground_truth import FakeGroundTruth, output_line
from support.labeled_images import HEIGHT, WIDTH, at, record, square, write_image

SETTINGS = GroundTruthSettings(
    place="s3://bucket/jobs",
    role="arn:aws:iam::123456789012:role/labeling",
    work_team="arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/team",
    ui_template="s3://bucket/template.html",
    pre_task="arn:aws:lambda:us-east-1:432418664414:function:PRE-BoundingBox",
    consolidation="arn:aws:lambda:us-east-1:432418664414:function:ACS-BoundingBox",
)


@pytest.fixture
def request_(tmp_path: Path) -> LabelingRequest:
    """Two images of which everything red and blue is to be labeled."""
    images = []
    for number in (0, 1):
        path = tmp_path / "images" / f"{number}.png"
        image = write_image(path, 100 + number)
        images.append(ImageToLabel(record(path, image), path, f"s3://bucket/images/{number}.png"))
    return LabelingRequest("job-1", tuple(images), ("red", "blue"))


def test_phrases_are_as_prompts_say_them() -> None:
    with pytest.raises(LabelingError, match="expected the phrase 'red car', got 'Red  car'"):
        LabelingRequest("job-1", (), ("Red  car",))


class TestFiles:
    def test_the_job_is_completed_when_the_file_is_there(self, tmp_path: Path, request_: LabelingRequest) -> None:
        file = tmp_path / "labels.json"
        backend = FilesBackend(file, "coco", tmp_path / "images", "ann")
        backend.start(request_)
        backend.start(request_)
        assert backend.status(request_).state == "in_progress"
        file.write_bytes(coco_of([ImageAnnotations(f"{n}.png", WIDTH, HEIGHT, (square(100),)) for n in (0, 1)]))
        assert backend.status(request_).state == "completed"
        labeled = backend.results(request_)
        assert sorted((e.phrase, len(e.objects), e.exhaustive, e.reviewer) for e in labeled.events) == [
            ("blue", 0, True, "ann"),
            ("blue", 0, True, "ann"),
            ("red", 1, True, "ann"),
            ("red", 1, True, "ann"),
        ]
        assert labeled.sources[0].name == "labels.json"

    def test_labels_of_other_images_are_refused(self, tmp_path: Path, request_: LabelingRequest) -> None:
        write_image(tmp_path / "images" / "9.png", 9)
        (tmp_path / "labels.json").write_bytes(coco_of([ImageAnnotations("9.png", WIDTH, HEIGHT, (square(9),))]))
        with pytest.raises(LabelingError, match="not asked for"):
            FilesBackend(tmp_path / "labels.json", "coco", tmp_path / "images").results(request_)


class TestReview:
    def test_a_person_decides_what_an_engine_proposes(self, tmp_path: Path, request_: LabelingRequest) -> None:
        backend = ReviewBackend(tmp_path / "queues", from_engine(FakeEngine()))
        backend.start(request_)
        queue = ReviewQueue(tmp_path / "queues" / "job-1")
        for number, image in enumerate(queue.ids):
            assert backend.status(request_).labeled == number
            for revision, action in enumerate(
                (
                    Action("accept", "ann", at(12), 0),
                    Action("absent", "ann", at(12), phrase="blue"),
                    Action("done", "ann", at(13)),
                )
            ):
                queue.act(image, action, revision)
        backend.start(request_)
        assert backend.status(request_).state == "completed"
        labeled = backend.results(request_)
        assert len(labeled.events) == 4
        assert {event.at for event in labeled.events} == {at(13)}
        assert {source.kind for source in labeled.sources} == {"review"}
        assert labeled.images.keys() == {one.record.id for one in request_.images}

    def test_uploaded_proposals_and_their_phrases(self, tmp_path: Path, request_: LabelingRequest) -> None:
        one = request_.images[0]
        example = PreLabeled(one.record, ("dent",), (Proposal("dent", square(3).outline, 0.5),), "random")
        ReviewBackend(tmp_path, from_uploads({one.record.id: example})).start(request_)
        queue = ReviewQueue(tmp_path / "job-1")
        assert queue.item(one.record.id) == PreLabeled(one.record, ("red", "blue", "dent"), example.proposals, "random")
        assert queue.item(request_.images[1].record.id).proposals == ()


class TestGroundTruth:
    @pytest.fixture
    def fake(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, "testing")
        with mock_aws():
            fake = FakeGroundTruth()
            fake.install(monkeypatch)
            boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="bucket")
            yield fake

    def backend(self, **changed: Any) -> GroundTruthBackend:
        clients = [boto3.client(name, region_name="us-east-1") for name in ("sagemaker", "s3")]
        return GroundTruthBackend(*clients, replace(SETTINGS, **changed))

    def test_a_job_from_request_to_labels(self, fake: FakeGroundTruth, request_: LabelingRequest) -> None:
        backend = self.backend()
        backend.start(request_)
        backend.start(request_)
        assert len(fake.jobs) == 1
        assert fake.manifest("job-1") == [
            {"source-ref": o.address} for o in sorted(request_.images, key=lambda i: i.record.id)
        ]
        assert backend.status(request_).state == "in_progress"
        with pytest.raises(LabelingError, match="no output"):
            backend.results(request_)
        fake.complete("job-1", [output_line("job-1", "s3://bucket/images/0.png", WIDTH, HEIGHT, (100, 80, 60, 60))])
        assert backend.status(request_).state == "completed"
        labeled = backend.results(request_)
        assert {(e.phrase, len(e.objects), e.exhaustive, e.job) for e in labeled.events} == {
            ("red", 1, True, "job-1"),
            ("blue", 0, True, "job-1"),
        }
        assert labeled.sources[0].kind == "job"
        assert {e.at for e in labeled.events} == {datetime(2026, 5, 1, 10, tzinfo=timezone.utc)}

    def test_failures_are_told_with_their_reason(self, fake: FakeGroundTruth, request_: LabelingRequest) -> None:
        backend = self.backend()
        backend.start(request_)
        fake.fail("job-1", "the work team is gone")
        status = backend.status(request_)
        assert (status.state, status.reason) == ("failed", "the work team is gone")

    def test_an_unknown_job_is_an_error(self, fake: FakeGroundTruth, request_: LabelingRequest) -> None:
        with pytest.raises(LabelingError, match="job-1"):
            self.backend().status(request_)

    @pytest.mark.parametrize("changed", [{"workers": 0}, {"task_seconds": 1}, {"title": ""}, {"role": "short"}])
    def test_wrong_settings_are_refused_before_anything_is_sent(
        self, fake: FakeGroundTruth, request_: LabelingRequest, changed: dict[str, Any]
    ) -> None:
        with pytest.raises(LabelingError, match="not a labeling job"):
            self.backend(**changed).start(request_)
        assert fake.calls == []

    def test_images_must_be_in_s3(self, fake: FakeGroundTruth, request_: LabelingRequest) -> None:
        images = tuple(ImageToLabel(one.record, one.file) for one in request_.images)
        with pytest.raises(LabelingError, match="upload it"):
            self.backend().start(LabelingRequest("job-1", images, ("red",)))

    @pytest.mark.parametrize(
        ("line", "error", "why"),
        [
            (
                output_line("job-1", "s3://bucket/images/9.png", WIDTH, HEIGHT, (1, 1, 5, 5)),
                LabelingError,
                "not asked for",
            ),
            (output_line("job-1", "s3://bucket/images/0.png", 99, 99, (1, 1, 5, 5)), LabelingError, "99 x 99"),
            (
                output_line("other", "s3://bucket/images/0.png", WIDTH, HEIGHT, (1, 1, 5, 5)),
                FormatError,
                "line 1: job-1",
            ),
        ],
    )
    def test_output_that_does_not_fit_is_refused(
        self, fake: FakeGroundTruth, request_: LabelingRequest, line: Any, error: type[Exception], why: str
    ) -> None:
        backend = self.backend()
        backend.start(request_)
        fake.complete("job-1", [line])
        with pytest.raises(error, match=why):
            backend.results(request_)

    def test_the_same_request_gives_the_same_parameters(self, request_: LabelingRequest) -> None:
        assert json.dumps(job_parameters(request_, SETTINGS)) == json.dumps(job_parameters(request_, SETTINGS))
