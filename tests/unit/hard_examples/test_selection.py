"""Which frames are worth a label."""

from __future__ import annotations

from dataclasses import replace

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.core.errors import SettingsError
from sam3edge.core.types import Confidence, Detections, Frame, Origin, Prompt
from sam3edge.hard_examples.selection import Choice, SelectionOptions, Selector, asked_for, drawn
from sam3edge.hard_examples.stage import KeepHardExamples
from sam3edge.hard_examples.usual import MEMORY, Usual, UsualCounts
from support.samples import MODEL, detection, frame

TAG = Prompt("tag", 0.5)
NEVER = SelectionOptions(random_share=0.0, band=0.0)


def found(*scores: float, presence: float = 0.9, missed: float = 0.0, prompt: Prompt = TAG) -> Detections:
    detections = tuple(detection(shapely.box(0, 0, 9, 9), prompt, score) for score in scores)
    best = max((*scores, missed))
    return Detections(MODEL, detections, {}, confidence={prompt: Confidence(presence, best, missed)})


def numbered(number: int) -> Frame:
    return replace(frame(), id=f"{number:032x}")


def choose(selector: Selector, what: Detections, number: int = 0) -> Choice | None:
    return selector.choose(numbered(number), (TAG,), what)


def test_a_score_near_its_threshold_is_uncertain() -> None:
    selector = Selector(SelectionOptions(random_share=0.0, band=0.1))
    assert choose(selector, found(0.9, missed=0.2)) is None
    assert choose(selector, found(0.9, 0.58)) == Choice("uncertain", "tag scored 0.58, its threshold is 0.50")
    assert choose(selector, found(missed=0.45)) == Choice(
        "uncertain", "tag scored 0.45 and missed its threshold of 0.50"
    )


def test_the_band_is_around_each_prompts_own_threshold() -> None:
    strict = Prompt("tag", 0.8)
    selector = Selector(SelectionOptions(random_share=0.0))
    assert selector.choose(frame(), (strict,), found(0.95, missed=0.5, prompt=strict)) is None
    assert selector.choose(frame(), (strict,), found(0.85, prompt=strict)) is not None


def test_a_count_far_from_what_the_camera_usually_shows_is_surprising() -> None:
    selector = Selector(replace(NEVER, warm_up=50))
    for number in range(200):
        assert choose(selector, found(*[0.9] * (2 + number % 2)), number) is None
    assert choose(selector, found(*[0.9] * 4)) is None
    surprise = choose(selector, found(*[0.9] * 9))
    assert surprise is not None
    assert surprise.kind == "surprising"
    assert "count of 9, usual is 2.5" in surprise.detail


def test_so_is_a_presence_and_another_camera_has_its_own() -> None:
    selector = Selector(replace(NEVER, warm_up=50))
    for number in range(100):
        choose(selector, found(0.9, presence=0.95), number)
    odd = found(0.9, presence=0.2)
    elsewhere = replace(numbered(1), source="door")
    assert selector.choose(elsewhere, (TAG,), odd) is None
    surprise = choose(selector, odd)
    assert surprise is not None
    assert "presence" in surprise.detail


def test_nothing_is_surprising_before_something_is_usual() -> None:
    selector = Selector(replace(NEVER, warm_up=50))
    for number in range(50):
        assert choose(selector, found(*[0.9] * (number * 7 % 40)), number) is None


def test_random_frames_are_the_same_after_a_restart_and_about_as_many_as_asked_for() -> None:
    options = SelectionOptions(random_share=0.05, band=0.0)
    runs = [
        [choose(selector, found(0.9), n) for n in range(4000)] for selector in (Selector(options), Selector(options))
    ]
    assert runs[0] == runs[1]
    kept = [choice for choice in runs[0] if choice is not None]
    assert {choice.kind for choice in kept} == {"random"}
    assert 140 < len(kept) < 260  # the ids are given, so this is always the same number
    assert "one frame in 20" in kept[0].detail


def test_a_random_frame_is_random_whatever_else_it_is() -> None:
    selector = Selector(SelectionOptions(random_share=1.0))
    choice = choose(selector, found(0.51))
    assert choice is not None
    assert choice.kind == "random"


@pytest.mark.parametrize("kind", ["random", "uncertain", "surprising"])
def test_kinds_that_are_not_asked_for_are_not_chosen(kind: str) -> None:
    others = frozenset({"random", "uncertain", "surprising"}) - {kind}
    selector = Selector(SelectionOptions(others, random_share=1.0 if kind == "random" else 0.0, warm_up=10))  # type: ignore[arg-type]
    seen = {choice.kind for n in range(50) if (choice := choose(selector, found(*[0.55] * (1 if n < 40 else 30)), n))}
    assert kind not in seen
    assert seen


def test_what_the_cloud_found_says_nothing_of_this_model() -> None:
    selector = Selector(SelectionOptions(random_share=1.0))
    assert choose(selector, replace(found(0.51), origin=Origin("cloud", "uncertain"))) is None


def test_unsupported_prompts_are_left_out() -> None:
    selector = Selector(replace(NEVER, warm_up=1))
    silent = Detections(MODEL, (), {}, unsupported_prompts={"tag": "not known"})
    assert all(choose(selector, silent, number) is None for number in range(10))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_the_running_mean_and_variance_are_those_of_all_frames_at_first(values: list[float]) -> None:
    usual = Usual()
    for value in values:
        usual = usual.after(value)
    mean = sum(values) / len(values)
    assert usual.mean == pytest.approx(mean, abs=1e-6)
    assert usual.variance == pytest.approx(sum((v - mean) ** 2 for v in values) / len(values), abs=1e-6)


def test_later_frames_outweigh_early_ones() -> None:
    usual = Usual()
    for _ in range(MEMORY):
        usual = usual.after(0.0)
    for _ in range(5 * MEMORY):
        usual = usual.after(10.0)
    assert usual.mean == pytest.approx(10, abs=0.1)


def test_only_so_many_series_are_remembered() -> None:
    usual = UsualCounts(size=3)
    for number in range(4):
        usual.see(("camera", str(number), "count"), 1.0)
    assert usual.see(("camera", "3", "count"), 1.0).frames == 1
    assert usual.see(("camera", "0", "count"), 1.0).frames == 0


@given(st.text(max_size=40))
def test_a_draw_is_a_number_from_0_to_1(frame_id: str) -> None:
    assert 0 <= drawn(frame_id.encode("utf-8", "replace").decode()) < 1


def test_a_frame_from_before_a_change_of_prompts_is_about_the_former_ones() -> None:
    hole = Prompt("hole")
    assert asked_for((TAG, hole), found(0.9)) == (TAG, hole)
    assert asked_for((hole,), found(0.9)) == (TAG,)


@pytest.mark.parametrize("wrong", [{"band": 1.5}, {"random_share": -0.1}, {"deviations": 0.0}])
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="expected a band"):
        SelectionOptions(**wrong)  # type: ignore[arg-type]


def test_the_stage_changes_nothing_and_keeps_what_is_chosen() -> None:
    kept = []

    class Kept:
        def keep(self, candidate: object) -> None:
            kept.append(candidate)

    stage = KeepHardExamples(Selector(SelectionOptions(random_share=0.0)), Kept(), lambda: (TAG,))  # type: ignore[arg-type]
    sure, unsure = found(0.9), found(0.51)
    assert stage(frame(), sure) is sure
    assert kept == []
    assert stage(frame(), unsure) is unsure
    [candidate] = kept
    assert (candidate.prompts, candidate.device, candidate.choice.kind) == ((TAG,), unsure, "uncertain")
