"""The judgement of a canary: its rule, its false alarms and its power, by construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sam3edge_pipeline.rollout.observations import MAX_PROMPTS
from sam3edge_pipeline.rollout.quality import MAX_CAMERAS, MAX_REASONS, SampleRule, judge
from sam3edge_pipeline.rollout.windows import Tally, Window
from support.canaries import NEW, OLD, Scene, windows

RULE = SampleRule()
TRIALS = 200


def outcomes(old: Scene, new: Scene, *, seed: int, trials: int = TRIALS, looks: int = 1) -> dict[str, int]:
    """How often each outcome occurs, over independent trials."""
    rng = np.random.default_rng(seed)
    counted = {"passed": 0, "worse": 0, "insufficient": 0}
    for _ in range(trials):
        counted[judge(windows(rng, old), windows(rng, new, digest=NEW), RULE, looks).outcome] += 1
    return counted


@pytest.mark.parametrize(
    ("scene", "name"),
    [
        (Scene(), "independent frames"),
        (Scene(wander=0.05), "blocks that differ"),
        (Scene(present=0.3, errors=0.01), "errors"),
    ],
)
def test_an_equal_model_is_seldom_found_worse(scene: Scene, name: str, figure: Callable[[str], None]) -> None:
    counted = outcomes(scene, scene, seed=1)
    figure(f"canary, equal models, {name}: {counted['worse']} of {TRIALS} false alarms, {counted['passed']} passed")
    assert counted["worse"] <= RULE.alpha * TRIALS
    assert counted["passed"] >= 0.9 * TRIALS


def test_a_model_that_finds_30_percent_less_is_found_worse(figure: Callable[[str], None]) -> None:
    scene = Scene(wander=0.05)
    counted = outcomes(scene, replace(scene, finds=0.7), seed=2)
    figure(f"canary, 30 % less found: {counted['worse']} of {TRIALS} seen")
    assert counted["worse"] >= RULE.power * TRIALS
    assert counted["passed"] <= (1 - RULE.power) * TRIALS


def test_several_looks_do_not_add_false_alarms() -> None:
    rng = np.random.default_rng(3)
    looks, trials, alarmed = 6, 60, 0
    for _ in range(trials):
        before, after = windows(rng, Scene(), cameras=1), windows(rng, Scene(), digest=NEW, cameras=1, blocks=36)
        growing = [after[: 6 * (look + 1)] for look in range(looks)]
        alarmed += any(
            judge(before, seen, replace(RULE, min_blocks=4, min_frames=100), looks).outcome == "worse"
            for seen in growing
        )
    assert alarmed <= 0.05 * trials


@pytest.mark.parametrize(
    ("worse", "measure"),
    [
        (Scene(errors=0.1), "errors"),
        (Scene(latency_ms=160.0), "latency"),
        (Scene(score=0.6), "scores"),
        (Scene(finds=0.5), "presence"),
        (Scene(present=0.9), "objects per frame"),
    ],
)
def test_what_became_worse_is_named(worse: Scene, measure: str) -> None:
    rng = np.random.default_rng(4)
    verdict = judge(windows(rng, Scene()), windows(rng, worse, digest=NEW), RULE)
    assert verdict.outcome == "worse"
    assert measure in {one.measure for one in verdict.comparisons if one.significant and one.matters}
    assert any(reason.startswith(measure) for reason in verdict.reasons)


@pytest.mark.parametrize("score", [0.73, 0.95])
def test_a_model_whose_scores_have_a_scale_of_their_own_is_passed(score: float) -> None:
    rng = np.random.default_rng(5)
    sides = [windows(rng, Scene(score=mean), blocks=40, frames=100) for mean in (0.8, score)]
    verdict = judge(*sides, RULE)
    assert verdict.outcome == "passed", verdict.reasons


def test_a_significant_change_that_is_too_small_to_matter_is_passed() -> None:
    rng = np.random.default_rng(5)
    sides = [windows(rng, Scene(latency_ms=ms), blocks=40, frames=200) for ms in (80.0, 85.0)]
    verdict = judge(*sides, RULE)
    [first, *_] = [one for one in verdict.comparisons if one.measure == "latency"]
    assert first.significant
    assert not first.matters
    assert verdict.outcome == "passed"


def test_too_few_frames_are_not_passed_and_it_is_said_of_which_camera() -> None:
    rng = np.random.default_rng(6)
    verdict = judge(windows(rng, Scene()), windows(rng, Scene(), blocks=3), RULE)
    assert verdict.outcome == "insufficient"
    assert any("300 frames" in one and "camera-0" in one and "got 90 in 3" in one for one in verdict.reasons)


def test_a_camera_that_fell_silent_is_not_passed() -> None:
    rng = np.random.default_rng(7)
    silent = [window for window in windows(rng, Scene()) if window.camera != "camera-1"]
    verdict = judge(windows(rng, Scene()), silent, RULE)
    assert verdict.outcome == "insufficient"
    assert any("camera-1" in reason and "got 0 in 0" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    "bad", [Scene(finds=0.3), Scene(errors=0.3), Scene(latency_ms=400.0)], ids=["finds less", "fails", "is slow"]
)
def test_the_devices_that_a_verdict_is_about_are_named(bad: Scene) -> None:
    """Whoever reads it can take them out of the canaries."""
    rng = np.random.default_rng(15)
    before = [*windows(rng, Scene()), *windows(rng, Scene(), thing="line-8")]
    after = [*windows(rng, Scene(), digest=NEW), *windows(rng, bad, digest=NEW, thing="line-8")]
    verdict = judge(before, after, RULE)
    assert (verdict.outcome, verdict.devices) == ("worse", ("line-8",))
    overall = [one.subject for one in verdict.comparisons if one.measure == "objects per frame"]
    assert len(overall) == 1
    if bad.finds < 1:
        assert overall[0].startswith("all cameras, most of it by line-8/camera-")
    silent = judge(before, [one for one in after if one.thing == "line-7"], RULE)
    assert (silent.outcome, silent.devices) == ("insufficient", ("line-8",))
    nobody = judge([], after, RULE)
    assert (nobody.outcome, nobody.devices) == ("insufficient", ())


def test_a_device_brings_no_more_cameras_than_can_be_compared() -> None:
    """What it calls its cameras is its own affair: thousands of them would hide the one that matters."""
    rng = np.random.default_rng(16)
    real = [windows(rng, Scene(), digest=digest, blocks=20) for digest in (OLD, NEW)]
    seen_once = Tally(1, 0, (1, *[0] * 15), (0,) * 20, 0.0)
    made_up = [Window("line-7", f"made-up-{n:04}", OLD, 0, 1, tallies={"dent @0.5": seen_once}) for n in range(2000)]
    verdict = judge([*made_up, *real[0]], real[1], RULE)
    assert len({one.subject for one in verdict.comparisons if one.measure == "latency"}) == 2
    assert verdict.reasons[-1] == f"and {2 * (MAX_CAMERAS - 2) - MAX_REASONS} more"
    assert verdict.devices == ("line-7",)


def test_nor_more_prompts() -> None:
    rng = np.random.default_rng(17)
    [plain] = windows(rng, Scene(), cameras=1, blocks=1)
    tally = plain.tallies["dent @0.5"]
    rare = {f"rare {n}": replace(tally, asked=1) for n in range(2 * MAX_PROMPTS)}
    sides = [[replace(plain, start=n, tallies={**rare, **plain.tallies}) for n in range(12)] for _ in range(2)]
    compared = {one.subject for one in judge(*sides, RULE).comparisons if one.measure == "presence"}
    assert len(compared) == MAX_PROMPTS
    assert {f"{prompt!r} on line-7/camera-0" for prompt in plain.tallies} <= compared


def test_objects_too_rare_to_be_missed_are_not_passed() -> None:
    rng = np.random.default_rng(8)
    rare = Scene(present=0.01)
    verdict = judge(windows(rng, rare), windows(rng, rare), RULE)
    assert verdict.outcome == "insufficient"
    assert verdict.smallest_effect is not None
    assert verdict.smallest_effect > RULE.effect
    assert "30%" in verdict.reasons[0]


def test_without_anything_before_nothing_is_passed() -> None:
    rng = np.random.default_rng(9)
    assert judge([], windows(rng, Scene()), RULE).outcome == "insufficient"
    nothing = windows(rng, Scene(finds=0.0))
    verdict = judge(nothing, nothing, RULE)
    assert (verdict.outcome, verdict.smallest_effect) == ("insufficient", None)


def test_other_prompts_than_before_are_not_compared() -> None:
    rng = np.random.default_rng(10)
    before = windows(rng, Scene())
    renamed = [replace(w, tallies={f"{k}!": t for k, t in w.tallies.items()}) for w in windows(rng, Scene())]
    verdict = judge(before, renamed, RULE)
    assert verdict.outcome == "insufficient"
    assert any("other prompts" in reason for reason in verdict.reasons)


def test_the_smallest_effect_shrinks_with_the_sample() -> None:
    rng = np.random.default_rng(11)
    few, many = (
        judge(windows(rng, Scene(), digest=OLD, blocks=n), windows(rng, Scene(), blocks=n), RULE).smallest_effect
        for n in (15, 60)
    )
    assert few is not None
    assert many is not None
    assert many < few / 1.5


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        SampleRule(alpha=0)
    with pytest.raises(ValueError, match="min_blocks"):
        SampleRule(min_blocks=1)


def test_the_smallest_sample_that_the_rule_takes_has_the_power_that_it_states(figure: Callable[[str], None]) -> None:
    rng = np.random.default_rng(12)
    seen = judged = 0
    for _ in range(TRIALS):
        sides = [
            windows(rng, Scene(finds=finds), digest=digest, cameras=1, blocks=12, frames=25)
            for finds, digest in ((1.0, OLD), (0.7, NEW))
        ]
        verdict = judge(*sides, RULE)
        if verdict.smallest_effect is not None and verdict.smallest_effect <= RULE.effect:
            judged += 1
            seen += verdict.outcome == "worse"
    figure(f"canary, one camera with 300 frames, 30 % less found: {seen} of {judged} seen, {TRIALS} tried")
    assert judged >= TRIALS // 2
    assert seen >= RULE.power * judged
