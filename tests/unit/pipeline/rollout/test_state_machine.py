"""The roll-out from the event to its end, executed by moto: both ways through the state machine, and every way out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import sam3edge
from sam3edge.bundle.manifest import read_manifest
from sam3edge_pipeline.lambda_tasks import RETRIES
from sam3edge_pipeline.rollout import handlers
from sam3edge_pipeline.rollout.settings import RolloutSettings
from sam3edge_pipeline.rollout.state_machine import FUNCTIONS, Loop, Times, definition, to_text
from sam3edge_simulator.greengrass_cloud import Deployment
from support.canaries import OLD
from support.rollout_rig import (
    CANARY,
    FIRST,
    FLEET,
    MODEL,
    SEGMENTER,
    STARTED,
    UPLOADER,
    Rig,
    after_canary,
    rollout_rig,
)

pytestmark = pytest.mark.long


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, demo_bundle: Path, tmp_path: Path) -> Iterator[Rig]:
    with rollout_rig(monkeypatch, demo_bundle, tmp_path) as made:
        made.hears(STARTED - timedelta(days=1), 1.0, OLD)
        made.cloud.calls.clear()
        yield made


def hearing(rig: Rig, digest: str, finds: float, frames: int = 360) -> None:
    """Have the canary find that share of what is there, once it has the new model."""
    rig.cloud.carry_out = after_canary(rig, lambda _: rig.hears(STARTED, finds, digest, frames, seed=8))


def test_an_approved_model_that_is_as_good_reaches_the_fleet(rig: Rig) -> None:
    package = rig.released("1.1.0")
    hearing(rig, package.digest, 1.0)
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["status"] == "SUCCEEDED", rig.outcome(ended["name"])
    outcome = rig.outcome(ended["name"])
    assert outcome["outcome"] == "RolledOut"
    assert outcome["bake"]["outcome"] == "passed"
    for target in (CANARY, FLEET):
        by_hand, ours = rig.deployed(target)
        assert ours.versions[MODEL] == "1.1.0"
        assert ours.versions["aws.greengrass.Nucleus"] == "2.17.0"
        assert (
            ours.request["components"][SEGMENTER]["configurationUpdate"]
            == by_hand.request["components"][SEGMENTER]["configurationUpdate"]
        )
        assert ours.request["components"][MODEL]["configurationUpdate"] == {"reset": ["/Bundle"]}
        assert ours.request["deploymentPolicies"]["failureHandlingPolicy"] == "ROLLBACK"
        assert ours.request["deploymentPolicies"]["componentUpdatePolicy"] == {
            "timeoutInSeconds": 120,
            "action": "NOTIFY_COMPONENTS",
        }
        assert ours.request["iotJobConfiguration"]["timeoutConfig"] == {"inProgressTimeoutInMinutes": 120}
        good = rig.rollout.records.good(target)
        assert good is not None
        assert (good.versions[MODEL], good.bundle_digest) == ("1.1.0", package.digest)
    order = [one.request["targetArn"] for one in rig.cloud.deployments[2:]]
    assert order == [CANARY, FLEET]


def test_an_event_that_comes_again_starts_nothing(rig: Rig) -> None:
    package = rig.released("1.1.0")
    hearing(rig, package.digest, 1.0)
    approved = rig.decide(package, "Approved")
    ended = rig.run(approved)
    again = handlers.start({**approved, "id": "another"}, None)
    assert again == {"started": False, "execution": ended["name"], "reason": "it was started before"}
    assert len(rig.states.list_executions(stateMachineArn=rig.machine)["executions"]) == 1
    assert len(rig.cloud.deployments) == 4


def test_a_rejected_model_is_not_rolled_out(rig: Rig) -> None:
    package = rig.released("1.1.0")
    rejected = rig.decide(package, "Rejected")
    assert handlers.start(rejected, None) == {"started": False, "reason": "the package is Rejected"}
    assert rig.states.list_executions(stateMachineArn=rig.machine)["executions"] == []


def test_a_model_that_was_rejected_since_its_approval_is_not_rolled_out(rig: Rig) -> None:
    package = rig.released("1.1.0")
    approved = rig.decide(package, "Approved")
    rig.decide(package, "Rejected")
    ended = rig.run(approved)
    assert ended["status"] == "SUCCEEDED"
    assert rig.outcome(ended["name"])["outcome"] == "NotApproved"
    assert rig.cloud.calls == []


def test_a_canary_that_finds_less_is_rolled_back_from_its_own_store(rig: Rig) -> None:
    package = rig.released("1.1.0")
    parity = read_manifest(rig.work / "bundle-1.1.0").parity
    assert parity is not None
    assert parity["passed"]  # which says nothing of what a camera shows
    hearing(rig, package.digest, 0.7)
    ended = rig.run(rig.decide(package, "Approved"))
    assert (ended["status"], ended["error"]) == ("FAILED", "RolledBack")
    outcome = rig.outcome(ended["name"])
    assert outcome["bake"]["outcome"] == "worse"
    assert outcome["bake"]["devices"] == ["line-7"]
    assert "the canary is worse on line-7: objects per frame of line-7/camera-0" in outcome["reason"]
    assert outcome["reason"] == ended["cause"]
    assert len(rig.deployed(FLEET)) == 1
    _, forth, back = rig.deployed(CANARY)
    assert back.versions == {**forth.versions, SEGMENTER: FIRST[SEGMENTER]}
    assert json.loads(back.request["components"][MODEL]["configurationUpdate"]["merge"]) == {"Bundle": OLD}


def test_a_store_that_has_lost_the_bundle_leads_back_by_the_versions_before(rig: Rig) -> None:
    package = rig.released("1.1.0")
    hearing(rig, package.digest, 0.7)
    carry_out = rig.cloud.carry_out

    def refuse_the_store(deployment: Deployment) -> None:
        if deployment.request["deploymentName"].endswith("-back-0-canary"):
            deployment.counts = {"Failed": 1}
        carry_out(deployment)

    rig.cloud.carry_out = refuse_the_store
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RolledBack"
    back = rig.deployed(CANARY)[-1]
    assert {name: back.versions[name] for name in FIRST} == FIRST
    assert back.request["components"][MODEL]["configurationUpdate"] == {"reset": ["/Bundle"]}


def test_a_roll_back_that_fails_both_ways_is_a_failure_of_its_own(rig: Rig) -> None:
    package = rig.released("1.1.0")

    def fail(deployment: Deployment) -> None:
        deployment.counts = {"Failed": 1}

    rig.cloud.carry_out = fail
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RollBackFailed"
    names = [one.request["deploymentName"].removeprefix(ended["name"]) for one in rig.deployed(CANARY)]
    assert names == ["by hand", "-to-canary", "-back-0-canary", "-back-1-canary"]
    assert "1 failed" in rig.outcome(ended["name"])["reason"]


def test_a_canary_that_says_too_little_is_rolled_back_and_it_is_said(rig: Rig) -> None:
    package = rig.released("1.1.0")
    hearing(rig, package.digest, 1.0, frames=40)
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RolledBack"
    outcome = rig.outcome(ended["name"])
    assert outcome["bake"]["outcome"] == "insufficient"
    assert "not enough samples" in outcome["reason"]
    assert "expected 300 frames" in outcome["reason"]
    assert outcome["rounds"]["bake"] == 4


def test_a_canary_deployment_that_fails_is_rolled_back(rig: Rig) -> None:
    package = rig.released("1.1.0")

    def fail(deployment: Deployment) -> None:
        deployment.counts = {"Failed": 1}

    rig.cloud.carry_out = after_canary(rig, fail)
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RolledBack"
    assert "0 of 1 devices succeeded, 1 failed" in rig.outcome(ended["name"])["reason"]
    assert len(rig.deployed(FLEET)) == 1


def test_a_deployment_that_never_ends_is_cut_at_its_bound(rig: Rig) -> None:
    package = rig.released("1.1.0")

    def hang(deployment: Deployment) -> None:
        deployment.counts = {"InProgress": 1}

    rig.cloud.carry_out = after_canary(rig, hang)
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RolledBack"
    assert rig.outcome(ended["name"])["reason"] == "the canaries did not finish deploying in time"
    assert rig.path(ended["name"]).count("CanaryPoll") == 3


def test_a_fleet_that_fails_is_rolled_back_with_its_canaries(rig: Rig) -> None:
    package = rig.released("1.1.0")
    hearing(rig, package.digest, 1.0)
    carry_out = rig.cloud.carry_out

    def fail_the_fleet(deployment: Deployment) -> None:
        if deployment.request["deploymentName"].endswith("-to-fleet"):
            deployment.counts = {"Succeeded": 5, "Failed": 1, "Queued": 4}
        carry_out(deployment)

    rig.cloud.carry_out = fail_the_fleet
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RolledBack"
    assert "5 of 10 devices succeeded, 1 failed" in rig.outcome(ended["name"])["reason"]
    for target in (CANARY, FLEET):
        assert "-back-0-" in rig.deployed(target)[-1].request["deploymentName"]


def test_an_approval_that_is_withdrawn_while_the_canary_bakes_is_rolled_back(rig: Rig) -> None:
    package = rig.released("1.1.0")
    rig.cloud.carry_out = after_canary(rig, lambda _: rig.decide(package, "Rejected") and None)
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RolledBack"
    assert "the approval was withdrawn" in rig.outcome(ended["name"])["reason"]


def test_a_canary_that_becomes_unhealthy_is_rolled_back(rig: Rig) -> None:
    package = rig.released("1.1.0")

    def fall_ill(deployment: Deployment) -> None:
        rig.cloud.devices["canaries"]["line-7"] = "UNHEALTHY"

    rig.cloud.carry_out = after_canary(rig, fall_ill)
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RolledBack"
    assert rig.outcome(ended["name"])["reason"] == "line-7 became unhealthy"


def test_what_somebody_else_deployed_meanwhile_is_left_alone(rig: Rig) -> None:
    package = rig.released("1.1.0")

    def by_hand(deployment: Deployment) -> None:
        request = {**deployment.request, "deploymentName": "by hand, too", "clientToken": "x"}
        rig.rollout.greengrass.create_deployment(**request)

    rig.cloud.carry_out = after_canary(rig, by_hand)
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "RolledBack"
    assert "another deployment took its place" in rig.outcome(ended["name"])["reason"]
    assert rig.deployed(CANARY)[-1].request["deploymentName"] == "by hand, too"


def test_component_versions_that_greengrass_cannot_make_deploy_nothing(rig: Rig) -> None:
    rig.cloud.component_state = "FAILED"
    ended = rig.run(rig.decide(rig.released("1.1.0"), "Approved"))
    assert ended["error"] == "Failed"
    assert "is FAILED" in rig.outcome(ended["name"])["reason"]
    assert len(rig.cloud.deployments) == 2


def test_component_versions_that_never_become_deployable_deploy_nothing(rig: Rig) -> None:
    rig.cloud.component_state = "REQUESTED"
    ended = rig.run(rig.decide(rig.released("1.1.0"), "Approved"))
    assert ended["error"] == "Failed"
    assert "in time" in rig.outcome(ended["name"])["reason"]
    assert len(rig.cloud.deployments) == 2


def test_one_roll_out_waits_for_the_other_and_gives_up_at_the_bound(rig: Rig) -> None:
    assert rig.rollout.records.claim(CANARY, "the one before", STARTED.timestamp(), 3600)
    ended = rig.run(rig.decide(rig.released("1.1.0"), "Approved"))
    assert ended["error"] == "Busy"
    assert rig.path(ended["name"]).count("Claim") == 2
    assert not rig.rollout.records.claim(CANARY, "a third", STARTED.timestamp(), 3600)


def test_an_error_before_anything_is_deployed_ends_as_failed_and_gives_the_claim_back(rig: Rig) -> None:
    package = rig.released("1.1.0")
    rig.s3.delete_object(Bucket="models", Key="bundles/1.1.0/vision.onnx")
    ended = rig.run(rig.decide(package, "Approved"))
    assert ended["error"] == "Failed"
    assert "ClientError" in rig.outcome(ended["name"])["reason"]
    assert rig.rollout.records.claim(CANARY, "the next", STARTED.timestamp(), 3600)


def test_the_second_roll_out_publishes_only_what_changed(rig: Rig) -> None:
    first = rig.released("1.1.0")
    hearing(rig, first.digest, 1.0)
    rig.run(rig.decide(first, "Approved"))
    made = rig.cloud.calls.count("CreateComponentVersion")
    assert made == 3
    second = rig.released("1.2.0")
    rig.clock.now = STARTED.timestamp()
    rig.run(rig.decide(second, "Approved"))
    assert rig.cloud.calls.count("CreateComponentVersion") == 4
    approved_again = {**rig.decide(first, "Approved"), "attempt": 2}
    rig.run(approved_again)
    assert rig.cloud.calls.count("CreateComponentVersion") == 4


def test_a_canary_that_uploads_goes_on_uploading_forth_and_back(rig: Rig) -> None:
    [by_hand] = rig.deployed(CANARY)
    by_hand.request["components"][UPLOADER] = {"componentVersion": "0.0.1"}
    package = rig.released("1.1.0")
    hearing(rig, package.digest, 1.0)
    approved = rig.decide(package, "Approved")
    rig.run(approved)
    assert rig.deployed(CANARY)[-1].versions[UPLOADER] == sam3edge.__version__
    assert UPLOADER not in rig.deployed(FLEET)[-1].versions
    assert rig.outcome(rig.run({**approved, "attempt": 2})["name"])["outcome"] == "UpToDate"
    worse = rig.released("1.2.0")
    rig.clock.now = STARTED.timestamp()
    hearing(rig, worse.digest, 0.7)
    assert rig.run(rig.decide(worse, "Approved"))["error"] == "RolledBack"
    assert rig.deployed(CANARY)[-1].versions[UPLOADER] == sam3edge.__version__


def test_what_runs_everywhere_is_not_deployed_again(rig: Rig) -> None:
    package = rig.released("1.1.0")
    hearing(rig, package.digest, 1.0)
    approved = rig.decide(package, "Approved")
    rig.run(approved)
    ended = rig.run({**approved, "attempt": 2})
    assert rig.outcome(ended["name"])["outcome"] == "UpToDate"
    assert len(rig.cloud.deployments) == 4


# ---------------------------------------------------------------------- the definition itself


def targets(state: dict[str, Any]) -> list[str]:
    """Every state that may follow."""
    choices = [one["Next"] for one in state.get("Choices", [])] + [one["Next"] for one in state.get("Catch", [])]
    return choices + [state[name] for name in ("Next", "Default") if name in state]


def machine() -> dict[str, Any]:
    return definition({name: f"arn:aws:lambda:eu-west-1:123456789012:function:{name}" for name in FUNCTIONS}, Times())


def test_no_state_dangles_and_all_are_reached() -> None:
    states = machine()["States"]
    reached, waiting = set(), ["Begin"]
    while waiting:
        name = waiting.pop()
        assert name in states, f"{name} does not exist"
        if name not in reached:
            reached.add(name)
            waiting += targets(states[name])
    assert reached == set(states)


def test_every_state_ends_somewhere_and_every_task_is_bounded() -> None:
    for name, state in machine()["States"].items():
        if state["Type"] in {"Succeed", "Fail"}:
            assert not targets(state)
            continue
        assert targets(state), name
        if state["Type"] == "Task":
            assert state["TimeoutSeconds"] <= 900
            assert all(one["MaxAttempts"] <= RETRIES for one in state["Retry"])
            assert [one["ErrorEquals"] for one in state["Catch"]] == [["States.ALL"]]
        if state["Type"] == "Wait":
            assert isinstance(state["Seconds"], int)


def test_every_circle_is_counted() -> None:
    """Without the states that count a round, no state can be come back to."""
    states = machine()["States"]
    counting = {name for name, state in states.items() if "States.MathAdd" in json.dumps(state.get("Parameters", {}))}
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"an unbounded circle: {above[above.index(name) :]}"
        if name in done or name in counting:
            return
        for after in targets(states[name]):
            walk(after, (*above, name))
        done.add(name)

    walk("Begin", ())
    for name in counting:
        for after in targets(states[name]):
            walk(after, ())


def test_the_definition_is_deterministic_and_bounded() -> None:
    assert to_text(machine()) == to_text(machine())
    assert machine()["TimeoutSeconds"] == Times().longest()
    assert Times().longest() > sum(loop.seconds * loop.rounds for loop in Times().loops())
    assert len(to_text(machine())) < 1_048_576
    with pytest.raises(ValueError, match="judge"):
        definition({name: "x" for name in FUNCTIONS if name != "judge"}, Times())
    with pytest.raises(ValueError, match="rounds"):
        Loop(1, 0)
    with pytest.raises(ValueError, match="events"):
        Times(bake=Loop(60, 2000))


def test_the_settings_fit_the_times() -> None:
    default = {name: field.default for name, field in RolloutSettings.model_fields.items()}
    assert default["claim_seconds"] > Times().longest()
    assert default["max_bakes"] == Times().bake.rounds
    for loop in (Times().canary, Times().back):
        assert loop.seconds * loop.rounds > default["device_minutes"] * 60
