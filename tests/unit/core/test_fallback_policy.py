"""Why the cloud is asked, and whom to believe: no clock, no network."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import shapely

from sam3edge.core.errors import SettingsError
from sam3edge.core.fallback.policy import (
    CPU,
    Disagreement,
    Escalation,
    FallbackOptions,
    Load,
    Policy,
    compare,
)
from sam3edge.core.types import Confidence, Detection, Detections, ModelInfo, Prompt, Reason
from support.samples import MODEL

ALL: frozenset[Reason] = frozenset(get_args(Reason))
SCRATCH, DENT = Prompt("scratch"), Prompt("dent")
GPU = replace(MODEL, provider="CUDAExecutionProvider")
OPTIONS = FallbackOptions(
    ALL, max_seconds=2.0, recheck_seconds=60.0, max_backlog=10, uncertain_scores=(0.4, 0.6), presence=0.9
)
POLICY = Policy(OPTIONS, accelerator=True)


def box(x: float, prompt: Prompt = SCRATCH, score: float = 0.9, side: float = 10) -> Detection:
    geometry = shapely.box(x, 0, x + side, side)
    return Detection(prompt, score, geometry.bounds, geometry.area, geometry)


def findings(*detections: Detection, unsupported_prompts: tuple[str, ...] = (), **confidence: Confidence) -> Detections:
    by_prompt = {Prompt(text): value for text, value in confidence.items()}
    return Detections(MODEL, detections, {}, dict.fromkeys(unsupported_prompts, "not known"), by_prompt)


@pytest.mark.parametrize(
    ("model", "load", "expected"),
    [
        (GPU, Load(), None),
        (replace(MODEL, provider=CPU), Load(), "degraded"),
        (replace(MODEL, provider="fake"), Load(), None),
        (GPU, Load(backlog=10), None),
        (GPU, Load(backlog=11), "slow"),
        (GPU, Load(seconds=2.0), None),
        (GPU, Load(seconds=2.1), "slow"),
        (GPU, Load(seconds=2.1, age=59.9), "slow"),
        (GPU, Load(seconds=2.1, age=60.0), None),
    ],
)
def test_before_the_device_looks(model: ModelInfo, load: Load, expected: str | None) -> None:
    escalation = POLICY.instead(model, load)
    assert (escalation and escalation.reason) == expected


def test_a_device_that_was_never_meant_to_have_an_accelerator_is_not_degraded() -> None:
    assert Policy(OPTIONS, accelerator=False).instead(replace(MODEL, provider=CPU), Load()) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (findings(), None),
        (findings(box(0)), None),
        (findings(unsupported_prompts=("unicorn",)), "unsupported"),
        (findings(box(0, score=0.39)), None),
        (findings(box(0, score=0.40)), "uncertain"),
        (findings(box(0), box(20, score=0.60)), "uncertain"),
        (findings(box(0, score=0.61)), None),
        (findings(unsupported_prompts=("unicorn",), scratch=Confidence(0.5, 0.5, 0.5)), "unsupported"),
        (findings(scratch=Confidence(0.5, 0.45, 0.45)), "uncertain"),  # nearly admitted
        (findings(scratch=Confidence(0.5, 0.3, 0.3)), None),
        (findings(scratch=Confidence(0.9, 0.3, 0.3)), "uncertain"),  # it is there, and nothing was found
        (findings(box(0), scratch=Confidence(0.99, 0.9, 0.3)), None),
        (findings(box(0), scratch=Confidence(0.1, 0.9, 0.1)), "uncertain"),  # it is not there, and something was found
        (findings(scratch=Confidence(0.05, 0.01, 0.01)), None),
    ],
)
def test_after_the_device_has_looked(found: Detections, expected: str | None) -> None:
    escalation = POLICY.beside(found)
    assert (escalation and escalation.reason) == expected


def test_a_phrase_that_the_cloud_does_not_know_either_is_no_reason() -> None:
    found = findings(unsupported_prompts=("unicorn", "griffin"))
    assert POLICY.beside(found, {"unicorn", "griffin"}) is None
    escalation = POLICY.beside(found, {"unicorn"})
    assert escalation is not None
    assert "griffin" in escalation.detail
    assert "unicorn" not in escalation.detail


@pytest.mark.parametrize("reason", sorted(ALL))
def test_a_reason_that_is_not_wanted_is_none(reason: Reason) -> None:
    def wishes(reasons: frozenset[Reason]) -> set[str]:
        policy = Policy(replace(OPTIONS, reasons=reasons), accelerator=True)
        made: list[Escalation | None] = [
            policy.unavailable("no bundle"),
            policy.instead(replace(MODEL, provider=CPU), Load()),
            policy.instead(GPU, Load(backlog=99)),
            policy.beside(findings(unsupported_prompts=("unicorn",))),
            policy.beside(findings(box(0, score=0.5))),
        ]
        return {escalation.reason for escalation in made if escalation is not None}

    assert wishes(ALL) == ALL
    assert wishes(ALL - {reason}) == ALL - {reason}


def test_bounds_of_zero_and_a_presence_of_one_are_off() -> None:
    policy = Policy(FallbackOptions(ALL, max_seconds=0, max_backlog=0, uncertain_scores=(0, 0), presence=1.0))
    assert policy.instead(GPU, Load(seconds=1e6, backlog=10**6)) is None
    assert policy.beside(findings(scratch=Confidence(1.0, 0.1, 0.1))) is None


@pytest.mark.parametrize(
    ("device", "cloud", "published"),
    [
        (findings(box(0, score=0.5)), findings(box(0)), "cloud"),
        (findings(box(0, score=0.5)), findings(), "cloud"),
        (findings(box(0, score=0.5)), findings(box(0, score=0.45)), "device"),  # nothing was gained
        (findings(unsupported_prompts=("unicorn",)), findings(box(0, Prompt("unicorn"))), "cloud"),
        (
            findings(unsupported_prompts=("unicorn",)),
            findings(box(0, Prompt("unicorn"), 0.5)),
            "cloud",
        ),  # better than nothing
        (findings(box(0, score=0.5)), findings(unsupported_prompts=("scratch",)), "device"),
        (findings(unsupported_prompts=("unicorn",)), findings(unsupported_prompts=("unicorn",)), "cloud"),
    ],
)
def test_the_better_of_two_answers(device: Detections, cloud: Detections, published: str) -> None:
    better = POLICY.better(device, cloud)
    assert better is (device if published == "device" else cloud)


@pytest.mark.parametrize(
    ("device", "cloud", "expected"),
    [
        (findings(), findings(), Disagreement(0, 0)),
        (findings(box(0)), findings(box(1)), Disagreement(0, 0)),
        (findings(box(0)), findings(box(6)), Disagreement(1, 1)),
        (findings(box(0), box(50)), findings(box(0)), Disagreement(1, 0)),
        (findings(box(0)), findings(box(0), box(1)), Disagreement(0, 1)),  # one object is not two
        (findings(box(0)), findings(box(0, DENT)), Disagreement(1, 1)),
        (findings(unsupported_prompts=("dent",)), findings(box(0, DENT)), Disagreement(0, 0)),
        (findings(box(0, DENT)), findings(unsupported_prompts=("dent",)), Disagreement(0, 0)),
    ],
)
def test_disagreement_is_what_only_one_of_them_found(
    device: Detections, cloud: Detections, expected: Disagreement
) -> None:
    assert compare(device, cloud) == expected
    assert bool(expected) == (expected != Disagreement(0, 0))


@pytest.mark.parametrize(
    "wrong", [{"uncertain_scores": (0.6, 0.4)}, {"uncertain_scores": (-0.1, 0.4)}, {"presence": 0.5}, {"presence": 1.1}]
)
def test_options_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        replace(OPTIONS, **wrong)  # type: ignore[arg-type]
