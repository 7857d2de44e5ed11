"""The gate and its report, with engines that find colours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam3edge.core.ports import Engine
from sam3edge.core.types import EngineOutput, Frame, Instance, ModelInfo, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge_export.parity.fixtures import MOST_PHRASES, FixtureError, Fixtures, read_fixtures, read_phrases
from sam3edge_export.parity.gate import ByInstances, ByLogits, Candidate, Parity, run_gate
from sam3edge_export.parity.report import write_report
from sam3edge_export.parity.stages import TensorRecorder, differences, largest
from sam3edge_export.parity.verdict import TOLERANCES
from support.samples import frame, red_square


class Bent:
    """An engine whose answers are changed, as those of a bad export are."""

    def __init__(self, engine: Engine, change: Callable[[Instance], Instance | None]) -> None:
        self._engine = engine
        self._change = change

    @property
    def model(self) -> ModelInfo:
        return self._engine.model

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        answer = self._engine.segment(frame, prompts)
        changed = [self._change(i) for i in answer.instances]
        return replace(answer, instances=tuple(i for i in changed if i is not None))

    def close(self) -> None:
        self._engine.close()


FIXTURES = Fixtures((frame(red_square(10)), frame(red_square(30))), ("red", "green"))


def gate(engine: Engine, fixtures: Fixtures = FIXTURES) -> Parity:
    return run_gate(Candidate(FakeEngine(), None), Candidate(engine, None), fixtures, ByInstances(), TOLERANCES["fp32"])


def test_an_export_that_finds_the_same_passes() -> None:
    parity = gate(FakeEngine())
    assert parity.passed
    summary = parity.summary()
    assert (summary["objects"], summary["missing"], summary["extra"], summary["worst_iou"]) == (2, 0, 0, 1)
    assert [[p.text for p in asked] for asked in parity.asked] == [["red", "green"]] * 2


def test_of_many_phrases_each_frame_is_asked_for_some_and_all_have_their_frames() -> None:
    phrases = tuple(f"phrase {n}" for n in range(MOST_PHRASES + 4))
    frames = tuple(frame(red_square(10 + n)) for n in range(3))
    parity = gate(FakeEngine(), Fixtures(frames, phrases))
    asked = [[p.text for p in prompts] for prompts in parity.asked]
    assert all(len(set(texts)) == MOST_PHRASES for texts in asked)
    assert {text for texts in asked for text in texts} == set(phrases)
    few = Fixtures(frames, phrases[:MOST_PHRASES])
    assert {few.asked_of(number) for number in range(3)} == {few.phrases}


def test_an_export_that_loses_objects_fails() -> None:
    parity = gate(Bent(FakeEngine(), lambda i: None))
    assert not parity.passed
    assert parity.summary()["missing"] == 2


def test_an_export_whose_masks_shrink_fails() -> None:
    kernel = np.ones((3, 3), np.uint8)
    parity = gate(Bent(FakeEngine(), lambda i: replace(i, mask=cv2.erode(i.mask, kernel))))
    assert any("overlaps its mask" in f for f in parity.failures)


def test_progress_is_told_frame_by_frame() -> None:
    told: list[int] = []
    run_gate(
        Candidate(FakeEngine(), None),
        Candidate(FakeEngine(), None),
        FIXTURES,
        ByInstances(),
        TOLERANCES["fp32"],
        told.append,
    )
    assert told == [1, 2]


class Scores:
    """An engine of random weights: every query has a score near a quarter, whatever is asked."""

    def __init__(self, shift: float, logits: float = 0, recorder: TensorRecorder | None = None, times: int = 1) -> None:
        self._shift, self._logits, self._recorder, self._times = shift, logits, recorder, times
        self.model = ModelInfo("random", "0.0.0", "sha256:" + "0" * 64, "fp32", "fake")

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        scores = [0.2501, 0.2502, 0.2600, 0.2601, 0.2602]
        if self._recorder is not None:  # half of the logits in each of two runs
            self._recorder("decoder", decoded(0, self._times))
            self._recorder("decoder", decoded(self._logits, self._times))
        instances = [
            Instance(p, s + self._shift, (0, 0, 9, 9), np.full((8, 8), s * 10, np.float32))
            for p in prompts
            for s in scores
            if s + self._shift > p.threshold
        ]
        return EngineOutput(tuple(instances), {})

    def close(self) -> None:
        pass


def decoded(logits: float, times: int = 1) -> dict[str, np.ndarray]:
    """What a decoder gives whose logits are all the same and whose presence is a half, multiplied in so often."""
    scores = 0.5**times / (1 + np.exp(-np.full((1, 5), logits)))
    return {"logits": np.full((1, 5), logits), "presence": np.zeros((1, 1)), "scores": scores}


def witnessed(logits: float) -> TensorRecorder:
    recorder = TensorRecorder()
    recorder("decoder", decoded(logits))
    return recorder


def watched(shift: float, logits: float, times: int = 1) -> Candidate:
    recorder = TensorRecorder()
    return Candidate(Scores(shift, logits, recorder, times), recorder)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_scores_in_which_presence_is_not_multiplied_once_fail(times: int) -> None:
    """Although both sides agree, as they would where the same mistake is in both."""
    sides = watched(0, 0, times), watched(0, 0, times)
    parity = run_gate(*sides, Fixtures(FIXTURES.frames, ("a",)), ByLogits(), TOLERANCES["fp32"])
    assert parity.passed is (times == 1)
    assert all("presence has to be multiplied in once" in failure for failure in parity.failures)
    assert parity.summary()["stages"]["decoder"]["score_rule"] == (0 if times == 1 else pytest.approx(0.25, abs=0.13))


def test_without_learned_weights_the_threshold_is_put_into_the_widest_gap() -> None:
    prompts, admitted = ByLogits().ask(Scores(0), FIXTURES.frames[0], ["a"])
    assert 0.2502 < prompts[0].threshold < 0.2600
    assert len(admitted) == 3


@pytest.mark.parametrize(("logits", "passes"), [(0.0005, True), (0.002, False), (float("nan"), False)])
def test_without_learned_weights_the_logits_are_bounded(logits: float, passes: bool) -> None:
    sides = watched(0, 0), watched(0, logits)
    parity = run_gate(*sides, Fixtures(FIXTURES.frames, ("a",)), ByLogits(), TOLERANCES["fp32"])
    assert parity.passed == passes


def test_without_learned_weights_another_admitted_set_fails() -> None:
    sides = watched(0, 0), watched(-0.008, 0)
    parity = run_gate(*sides, Fixtures(FIXTURES.frames, ("a",)), ByLogits(), TOLERANCES["fp32"])
    assert any("not found" in f for f in parity.failures)


def test_differences_are_the_largest_over_all_frames() -> None:
    near, far = differences(witnessed(0), witnessed(0.1)), differences(witnessed(0), witnessed(0.3))
    assert largest([near, far, near])["decoder"]["logits"] == pytest.approx(0.3)


def test_the_report_holds_figures_and_pictures(tmp_path: Path) -> None:
    kernel = np.ones((3, 3), np.uint8)
    parity = gate(Bent(FakeEngine(), lambda i: replace(i, mask=cv2.erode(i.mask, kernel))))
    write_report(parity, [gate(FakeEngine())], tmp_path / "report")
    figures = json.loads((tmp_path / "report" / "parity.json").read_text())
    assert figures["passed"] is False
    assert len(figures["frames"]) == 2
    assert figures["frames"][0]["objects"][0]["iou"] < 1
    assert figures["against"][0]["passed"] is True
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4, "two images and two differing masks"
    assert "overlaps its mask" in page


def test_the_page_cannot_be_written_into_by_a_phrase(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    fixtures = Fixtures((replace(FIXTURES.frames[0], name=script),), ("red",))
    write_report(gate(Bent(FakeEngine(), lambda i: None), fixtures), [], tmp_path)
    assert script not in (tmp_path / "index.html").read_text()


class TestFixtures:
    def test_the_first_image_comes_last_and_small(self, tmp_path: Path) -> None:
        for i, side in enumerate((1300, 100, 100)):
            cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((side, side // 2, 3), np.uint8))
        frames = read_fixtures(tmp_path, ("a",), 9).frames
        assert [(f.name, f.height, f.width) for f in frames] == [
            ("1.png", 100, 50),
            ("2.png", 100, 50),
            ("0.png", 640, 320),
        ]

    def test_only_so_many_are_read(self, tmp_path: Path) -> None:
        for i in range(3):
            cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((9, 9, 3), np.uint8))
        assert len(read_fixtures(tmp_path, ("a",), 2).frames) == 2

    def test_what_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"no picture")
        with pytest.raises(FixtureError, match=r"a\.jpg cannot be read"):
            read_fixtures(tmp_path, ("a",), 9)

    @pytest.mark.parametrize("name", ["missing", "."])
    def test_no_images_is_an_error_that_says_what_is_wanted(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(FixtureError, match="image"):
            read_fixtures(tmp_path / name, ("a",), 9)

    def test_phrases_are_read_as_devices_look_them_up(self, tmp_path: Path) -> None:
        path = tmp_path / "prompts.txt"
        path.write_text("# what we look for\nYellow  School Bus\n\nship\nSHIP\n", encoding="utf-8")
        assert read_phrases(path) == ("yellow school bus", "ship")

    @pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe\x00"])
    def test_a_file_without_phrases_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "prompts.txt"
        path.write_bytes(content)
        with pytest.raises(FixtureError, match="phrase"):
            read_phrases(path)
