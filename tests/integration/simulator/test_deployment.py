"""Deployments: versions, configuration, digests, roll-back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest

from sam3edge_simulator.deployer import DeploymentRefused, Patience
from sam3edge_simulator.deployment_document import (
    ConfigurationUpdate,
    Deployment,
    DeploymentFailed,
    DeploymentStatus,
    FailurePolicy,
    read_document,
)
from sam3edge_simulator.history import NothingToRestore
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import CLASSIC, LITE
from sam3edge_simulator.states import State, StateChange
from support.waiting import WATCHFUL, until, until_reads

NAME = "com.example.Thing"
FOREVER = {"run": "exec sleep 600"}


def test_failed_deployment_rolls_back_and_says_why(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, "1.0.0", lifecycle=FOREVER, defaults={"rate": 1})
    build.add(NAME, "2.0.0", lifecycle={"run": "exit 9"}, defaults={"rate": 2, "new": True})
    nucleus = device(patience=WATCHFUL)
    nucleus.deploy(build.deployment(NAME))

    with pytest.raises(DeploymentFailed, match="BROKEN: run exited with status 9") as failure:
        nucleus.deploy(
            build.deployment(NAME, version="2.0.0", configuration={NAME: ConfigurationUpdate(merge={"rate": 7})})
        )

    assert failure.value.result.status is DeploymentStatus.FAILED_ROLLBACK_COMPLETE
    assert failure.value.result.components == {NAME: "1.0.0"}
    status = nucleus.component(NAME)
    assert (status.version, status.state, status.errors) == ("1.0.0", State.RUNNING, 0)
    assert nucleus.configuration.read(NAME) == {"rate": 1}


def test_first_deployment_that_fails_leaves_nothing(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "exit 9"})
    nucleus = device(patience=WATCHFUL)
    with pytest.raises(DeploymentFailed) as failure:
        nucleus.deploy(build.deployment(NAME))
    assert failure.value.result.status is DeploymentStatus.FAILED_ROLLBACK_COMPLETE
    assert nucleus.components == ()


@pytest.mark.parametrize(
    ("profile", "policy"),
    [(CLASSIC, FailurePolicy.DO_NOTHING), (LITE, FailurePolicy.ROLLBACK)],
    ids=["classic-do-nothing", "lite"],
)
def test_without_roll_back_the_broken_component_stays(device: Callable[..., Nucleus], build, profile, policy) -> None:
    build.add(NAME, "1.0.0", lifecycle=FOREVER).add(NAME, "2.0.0", lifecycle={"run": "exit 9"})
    nucleus = device(profile, patience=WATCHFUL)
    nucleus.deploy(build.deployment(NAME))
    with pytest.raises(DeploymentFailed) as failure:
        nucleus.deploy(build.deployment(NAME, version="2.0.0", on_failure=policy))
    assert failure.value.result.status is DeploymentStatus.FAILED_ROLLBACK_NOT_REQUESTED
    status = nucleus.component(NAME)
    assert (status.version, status.state) == ("2.0.0", State.BROKEN)

    nucleus.rollback()
    status = nucleus.component(NAME)
    assert (status.version, status.state) == ("1.0.0", State.RUNNING)


def test_rollback_restores_versions_and_configuration(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, "1.0.0", lifecycle=FOREVER, defaults={"rate": 1}).add(NAME, "2.0.0", lifecycle=FOREVER)
    build.add("com.example.Other", lifecycle=FOREVER)
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    nucleus.set_configuration(NAME, merge={"rate": 5})
    nucleus.deploy(build.deployment(NAME, version="2.0.0"))
    nucleus.deploy(build.deployment("com.example.Other"))

    assert nucleus.rollback().components == {NAME: "2.0.0"}
    assert nucleus.rollback().components == {NAME: "1.0.0"}
    assert nucleus.configuration.read(NAME) == {"rate": 5}
    nucleus.rollback()
    assert nucleus.configuration.read(NAME) == {"rate": 1}
    nucleus.rollback()
    assert nucleus.components == ()
    with pytest.raises(NothingToRestore):
        nucleus.rollback()


def test_rollback_survives_a_restart_of_the_nucleus(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, "1.0.0", lifecycle=FOREVER).add(NAME, "2.0.0", lifecycle=FOREVER)
    first = device()
    first.deploy(build.deployment(NAME))
    first.deploy(build.deployment(NAME, version="2.0.0"))
    first.stop()
    second = device()
    second.rollback()
    assert second.component(NAME).version == "1.0.0"


def test_reset_comes_before_merge_and_lists_are_replaced(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle=FOREVER, defaults={"camera": {"gain": 1, "roi": [0, 0, 8, 8]}, "names": ["a", "b"]})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    nucleus.set_configuration(NAME, merge={"camera": {"gain": 9, "extra": "x"}, "names": ["c"]})
    assert nucleus.configuration.read(NAME) == {
        "camera": {"gain": 9, "extra": "x", "roi": [0, 0, 8, 8]},
        "names": ["c"],
    }
    nucleus.set_configuration(NAME, reset=("/camera", "/nothing"), merge={"camera": {"extra": "y"}})
    assert nucleus.configuration.read(NAME) == {
        "camera": {"gain": 1, "extra": "y", "roi": [0, 0, 8, 8]},
        "names": ["c"],
    }
    nucleus.set_configuration(NAME, reset=("",))
    assert nucleus.configuration.read(NAME, ["names"]) == ["a", "b"]


def test_a_new_version_keeps_set_values_and_brings_new_defaults(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, "1.0.0", lifecycle=FOREVER, defaults={"rate": 1, "old": "x"})
    build.add(NAME, "1.1.0", lifecycle=FOREVER, defaults={"rate": 2, "new": "y"})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    nucleus.deploy(build.deployment(NAME, version="1.1.0"))
    assert nucleus.configuration.read(NAME) == {"rate": 1, "old": "x", "new": "y"}


@pytest.mark.parametrize(("profile", "restarts"), [(CLASSIC, False), (LITE, True)], ids=["classic", "lite"])
def test_configuration_alone_restarts_on_lite_only(device: Callable[..., Nucleus], build, profile, restarts) -> None:
    build.add(NAME, lifecycle=FOREVER, defaults={"rate": 1})
    nucleus = device(profile)
    nucleus.deploy(build.deployment(NAME))
    before = nucleus.component(NAME).pid
    nucleus.set_configuration(NAME, merge={"rate": 2})
    assert (nucleus.component(NAME).pid != before) is restarts


def test_configuration_in_a_script_restarts_on_classic_too(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "echo {configuration:/rate} > rate; exec sleep 600"}, defaults={"rate": 1})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    nucleus.set_configuration(NAME, merge={"rate": 2})
    until_reads(nucleus.root / "work" / NAME / "rate", "2\n")


def test_unchanged_components_are_left_alone(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle=FOREVER).add("com.example.Other", lifecycle=FOREVER)
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    before = nucleus.component(NAME).pid
    nucleus.deploy(build.deployment("com.example.Other"))
    nucleus.deploy(build.deployment(NAME))
    assert nucleus.component(NAME).pid == before
    nucleus.deploy(Deployment(remove=("com.example.Other",), notify_seconds=0))
    assert [status.name for status in nucleus.components] == [NAME]
    assert nucleus.component(NAME).pid == before


def test_a_changed_artifact_is_refused_at_the_next_start(device: Callable[..., Nucleus], build) -> None:
    build.python(NAME, "import time\ntime.sleep(600)\n")
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    unpacked = nucleus.root / "packages" / "artifacts-unarchived" / NAME / "1.0.0" / "code"
    (unpacked / "appeared_later.pyc").write_text("of no concern")
    before = nucleus.component(NAME).pid
    nucleus.restart(NAME)
    until(lambda: nucleus.component(NAME).pid not in (before, None))

    (unpacked / "main.py").write_text("print('evil')\n")
    nucleus.restart(NAME)
    assert nucleus.wait(NAME, State.BROKEN, timeout=30)
    assert "main.py was changed after its deployment" in nucleus.component(NAME).reason
    assert not any("evil" in line for line in nucleus.logs(NAME))


def test_an_artifact_that_does_not_have_the_digest_of_the_recipe_is_refused(
    device: Callable[..., Nucleus], build
) -> None:
    build.python(NAME, "pass")
    path = build.recipes / f"{NAME}-1.0.0.json"
    recipe = json.loads(path.read_text())
    recipe["Manifests"][0]["Artifacts"][0] |= {"Digest": "AAAA", "Algorithm": "SHA-256"}
    path.write_text(json.dumps(recipe))
    with pytest.raises(DeploymentFailed, match=r"code\.zip does not have the digest of the recipe"):
        device().deploy(build.deployment(NAME))


def test_a_missing_artifact_is_named(device: Callable[..., Nucleus], build) -> None:
    build.python(NAME, "pass")
    (build.artifacts / NAME / "1.0.0" / "code.zip").unlink()
    with pytest.raises(DeploymentFailed, match=f"expected {NAME}/1.0.0/code.zip in the artifact folder"):
        device().deploy(build.deployment(NAME))


def test_versions_in_use_do_not_change(device: Callable[..., Nucleus], build) -> None:
    build.python(NAME, "import time\ntime.sleep(600)\n")
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    build.python(NAME, "import time\ntime.sleep(601)\n")
    with pytest.raises(DeploymentFailed, match="versions do not change; raise ComponentVersion") as failure:
        nucleus.deploy(build.deployment(NAME))
    assert failure.value.result.status is DeploymentStatus.FAILED_NO_STATE_CHANGE
    assert nucleus.component(NAME).state is State.RUNNING


def test_a_version_that_failed_may_be_built_again(device: Callable[..., Nucleus], build) -> None:
    nucleus = device(patience=WATCHFUL)
    build.add(NAME, lifecycle={"run": "exit 1"})
    with pytest.raises(DeploymentFailed):
        nucleus.deploy(build.deployment(NAME))
    build.add(NAME, lifecycle=FOREVER)
    assert nucleus.deploy(build.deployment(NAME)).status is DeploymentStatus.SUCCESSFUL


def test_dependencies_come_along_in_the_highest_version_that_fits(device: Callable[..., Nucleus], build) -> None:
    for version in ("1.0.0", "1.4.0", "2.0.0"):
        build.add("base", version, lifecycle=FOREVER)
    build.add(NAME, lifecycle=FOREVER, dependencies={"base": {"VersionRequirement": "^1.0.0"}})
    nucleus = device()
    assert nucleus.deploy(build.deployment(NAME)).components == {"base": "1.4.0", NAME: "1.0.0"}
    assert nucleus.deploy(Deployment(remove=(NAME,), notify_seconds=0)).components == {}


def test_excluding_demands_are_named(device: Callable[..., Nucleus], build) -> None:
    build.add("base", "1.0.0", lifecycle=FOREVER)
    build.add(NAME, lifecycle=FOREVER, dependencies={"base": {"VersionRequirement": "^2.0.0"}})
    nucleus = device()
    with pytest.raises(DeploymentFailed, match=rf"{NAME} 1\.0\.0 asks for \^2\.0\.0; versions at hand: 1\.0\.0"):
        nucleus.deploy(build.deployment(NAME))


def test_lite_never_starts_a_dependent_of_what_only_installs(device: Callable[..., Nucleus], build) -> None:
    build.add("runtime", lifecycle={"install": "touch installed"})
    build.add(NAME, lifecycle=FOREVER, dependencies={"runtime": {"DependencyType": "HARD"}})
    lite = device(LITE, root="lite")
    with pytest.raises(DeploymentFailed, match="never starts: it has a HARD dependency on runtime"):
        lite.deploy(build.deployment(NAME))
    assert lite.component(NAME).state is not State.RUNNING

    classic = device(CLASSIC, root="classic", thing_name="other")
    classic.deploy(build.deployment(NAME))
    assert classic.component(NAME).state is State.RUNNING
    assert classic.component("runtime").state is State.FINISHED


def test_document_of_the_cloud_is_the_whole_truth(device: Callable[..., Nucleus], build, tmp_path) -> None:
    build.add(NAME, lifecycle=FOREVER, defaults={"rate": 1}).add("com.example.Other", lifecycle=FOREVER)
    nucleus = device()
    nucleus.deploy(build.deployment("com.example.Other"))
    path = tmp_path / "deployment.json"
    update = {"merge": json.dumps({"rate": 3}), "reset": ["/rate"]}
    path.write_text(
        json.dumps(
            {
                "targetArn": "arn:aws:iot:us-east-1:123456789012:thinggroup/line",
                "components": {NAME: {"componentVersion": "1.0.0", "configurationUpdate": update}},
                "deploymentPolicies": {"componentUpdatePolicy": {"action": "SKIP_NOTIFY_COMPONENTS"}},
            }
        )
    )
    result = nucleus.deploy(read_document(path, recipes=build.recipes, artifacts=build.artifacts))
    assert result.components == {NAME: "1.0.0"}
    assert nucleus.configuration.read(NAME) == {"rate": 3}


def test_slow_starter_has_its_start_period(device: Callable[..., Nucleus], build) -> None:
    """A component that breaks within the start period fails the deployment, although it was RUNNING in between."""
    build.add(NAME, lifecycle={"run": "sleep 0.2; exit 4"})
    nucleus = device(patience=Patience(start_period=5.0, settle=60.0))
    changes: list[StateChange] = []
    nucleus.listen(changes.append)
    begin = time.monotonic()
    with pytest.raises(DeploymentFailed, match="status 4"):
        nucleus.deploy(build.deployment(NAME))
    assert [change.after for change in changes].count(State.RUNNING) == 3
    assert time.monotonic() - begin >= 0.6


def test_a_device_that_is_stopped_during_a_deployment_runs_what_it_ran_before(
    device: Callable[..., Nucleus], build
) -> None:
    build.add(NAME, "1.0.0", lifecycle=FOREVER).add(NAME, "2.0.0", lifecycle=FOREVER)
    first = device(patience=Patience(start_period=0.05))
    first.deploy(build.deployment(NAME))
    first.stop()

    second = device(patience=Patience(start_period=600.0, settle=600.0))
    failures: list[DeploymentFailed] = []

    def deploy() -> None:
        with pytest.raises(DeploymentFailed, match="the device was stopped") as failure:
            second.deploy(build.deployment(NAME, version="2.0.0"))
        failures.append(failure.value)

    thread = threading.Thread(target=deploy)
    thread.start()
    until(lambda: second.component(NAME).version == "2.0.0" and second.component(NAME).state is State.RUNNING)
    second.stop()
    thread.join()
    assert failures[0].result.status is DeploymentStatus.FAILED_NO_STATE_CHANGE

    third = device()
    assert third.component(NAME).version == "1.0.0"
    assert third.wait(NAME, State.RUNNING, timeout=30)


def test_recipes_for_another_nucleus_are_passed_over_and_named_when_they_are_missed(
    device: Callable[..., Nucleus], build
) -> None:
    build.add(NAME, lifecycle=FOREVER)
    build.add("classic.Only", lifecycle=FOREVER)
    path = build.recipes / "classic.Only-1.0.0.json"
    path.write_text(path.read_text().replace('"runtime": "*"', '"made": "up"'))
    nucleus = device(LITE)
    nucleus.deploy(build.deployment(NAME))
    with pytest.raises(DeploymentFailed, match=r"no version of classic\.Only .*refused: .*No Manifest was found"):
        nucleus.deploy(build.deployment("classic.Only"))


def test_start_that_fails_leaves_nothing_behind(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle=FOREVER)
    first = device()
    first.deploy(build.deployment(NAME))
    first.stop()
    for recipe in (first.root / "packages" / "recipes").iterdir():
        recipe.unlink()
    before = threading.active_count()
    with pytest.raises(DeploymentRefused, match="not in the store any more"):
        device()
    assert threading.active_count() == before
