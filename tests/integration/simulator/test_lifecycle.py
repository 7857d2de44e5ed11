"""Components as subprocesses: states, restarts, BROKEN, and how they are ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sam3edge_simulator.deployment_document import DeploymentFailed, DeploymentStatus
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import CLASSIC, LITE
from sam3edge_simulator.states import State, StateChange
from support.waiting import WATCHFUL, lines_of, until, until_reads

NAME = "com.example.Thing"


def test_install_then_run(device: Callable[..., Nucleus], build, tmp_path: Path) -> None:
    build.add(
        NAME,
        lifecycle={
            "install": "echo installed > {work:path}/steps",
            "run": "echo ran >> {work:path}/steps; sleep 600",
        },
    )
    nucleus = device()
    changes: list[StateChange] = []
    nucleus.listen(changes.append)

    result = nucleus.deploy(build.deployment(NAME))

    assert result.status is DeploymentStatus.SUCCESSFUL
    assert result.components == {NAME: "1.0.0"}
    assert [change.after for change in changes] == [State.INSTALLED, State.STARTING, State.RUNNING]
    work = nucleus.root / "work" / NAME
    until_reads(work / "steps", "installed\nran\n")
    status = nucleus.component(NAME)
    assert (status.state, status.errors) == (State.RUNNING, 0)
    assert status.pid is not None
    os.kill(status.pid, 0)


@pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=lambda profile: profile.name)
def test_environment_is_the_documented_one(device: Callable[..., Nucleus], build, profile) -> None:
    build.add(
        NAME,
        lifecycle={
            "Setenv": {"MODE": "edge", "RATE": "{configuration:/rate}"},
            "run": {"Script": "env > draft; mv draft environment; sleep 600", "Setenv": {"MODE": "lab"}},
        },
        defaults={"rate": "5"},
    )
    nucleus = device(profile, thing_name="station-7", region="eu-west-1", environment={"PYTHONPATH": "/nowhere"})
    nucleus.deploy(build.deployment(NAME))

    work = nucleus.root / "work" / NAME
    environment = dict(line.split("=", 1) for line in lines_of(work / "environment") if "=" in line)
    assert environment["AWS_IOT_THING_NAME"] == "station-7"
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert environment["GGC_VERSION"] == profile.version
    assert environment["SVCUID"] == environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] != ""
    assert Path(environment["AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"]).is_socket()
    assert "GG_ROOT_CA_PATH" in environment
    assert environment["PYTHONPATH"] == "/nowhere"
    assert environment["MODE"] == "lab"
    assert environment["RATE"] == "5"
    assert environment["PWD"] == str(work)
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in environment


def test_credentials_only_with_the_token_exchange_service_on_lite(device: Callable[..., Nucleus], build) -> None:
    exchange = {"aws.greengrass.TokenExchangeService": {"VersionRequirement": "^2.0.0", "DependencyType": "HARD"}}
    run = {"run": 'echo "${AWS_CONTAINER_CREDENTIALS_FULL_URI:-none}" > {work:path}/credentials; sleep 600'}
    lite_run = {
        "run": "printenv AWS_CONTAINER_CREDENTIALS_FULL_URI > credentials || echo none > credentials; sleep 600"
    }
    build.add("with.Exchange", lifecycle=lite_run, dependencies=exchange).add("without.Exchange", lifecycle=lite_run)
    build.add("on.Classic", lifecycle=run)
    url = "http://localhost:8080/2016-11-01/credentialprovider/"
    lite = device(LITE, root="lite", credentials_url=url)
    lite.deploy(build.deployment("with.Exchange", "without.Exchange"))
    classic = device(CLASSIC, root="classic", credentials_url=url, thing_name="other")
    classic.deploy(build.deployment("on.Classic"))

    until_reads(lite.root / "work" / "with.Exchange" / "credentials", f"{url}\n")
    until_reads(lite.root / "work" / "without.Exchange" / "credentials", "none\n")
    until_reads(classic.root / "work" / "on.Classic" / "credentials", f"{url}\n")


def test_exit_zero_is_finished(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "echo done"})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    assert nucleus.wait(NAME, State.FINISHED, timeout=30)
    assert nucleus.component(NAME).pid is None


def test_one_failure_restarts_and_is_counted(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "[ -e once ] || { touch once; exit 7; }; sleep 600"})
    nucleus = device(patience=WATCHFUL)
    changes: list[StateChange] = []
    nucleus.listen(changes.append)
    nucleus.deploy(build.deployment(NAME))

    assert nucleus.component(NAME).state is State.RUNNING
    assert nucleus.component(NAME).errors == 1
    errored = [change for change in changes if change.after is State.ERRORED]
    assert [change.reason for change in errored] == ["run exited with status 7"]


def test_three_failures_are_broken(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "echo x >> runs; exit 3"})
    nucleus = device(patience=WATCHFUL)
    with pytest.raises(DeploymentFailed, match="BROKEN: run exited with status 3"):
        nucleus.deploy(build.deployment(NAME))
    until_reads(nucleus.root / "work" / NAME / "runs", "x\n" * 3)


def test_failing_install_is_tried_three_times(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"install": "echo x >> installs; exit 1", "run": "sleep 600"})
    nucleus = device(LITE)
    with pytest.raises(DeploymentFailed, match="BROKEN: install exited with status 1"):
        nucleus.deploy(build.deployment(NAME))
    until_reads(nucleus.root / "work" / NAME / "installs", "x\n" * 3)
    assert nucleus.component(NAME).state is State.BROKEN


def test_install_that_takes_too_long_fails(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"install": {"Script": "sleep 600", "Timeout": "0.3"}, "run": "sleep 600"})
    nucleus = device(LITE)
    with pytest.raises(DeploymentFailed, match=r"install took longer than 0\.3 s"):
        nucleus.deploy(build.deployment(NAME))


def test_killed_process_is_started_again(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "exec sleep 600"})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    first = nucleus.component(NAME).pid
    assert first is not None
    os.kill(first, 9)
    until(lambda: nucleus.component(NAME).pid not in (first, None))
    assert nucleus.wait(NAME, State.RUNNING, timeout=30)
    assert nucleus.component(NAME).reason == "run exited with status -9"


def test_stopping_ends_the_whole_process_group_and_lets_it_tidy_up(device: Callable[..., Nucleus], build) -> None:
    # The shell dies of SIGTERM at once; its child takes a moment for its last words.
    child = "trap 'sleep 0.3; echo tidy > tidied; exit 0' TERM; echo $$ > child; while true; do sleep 0.05; done"
    build.add(NAME, lifecycle={"run": f'sh -c "{child.replace("$", chr(92) + "$")}"\nwait'})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    work = nucleus.root / "work" / NAME
    pid = int(lines_of(work / "child")[0])
    nucleus.stop()
    until_reads(work / "tidied", "tidy\n")
    assert not _alive(pid)


def test_stubborn_process_is_killed(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "trap '' TERM; touch ready; while true; do sleep 0.05; done"})
    nucleus = device(replace(CLASSIC, stop_grace=0.3))
    nucleus.deploy(build.deployment(NAME))
    pid = nucleus.component(NAME).pid
    assert pid is not None
    until((nucleus.root / "work" / NAME / "ready").exists)
    nucleus.stop()
    assert not _alive(pid)


@pytest.mark.parametrize(("profile", "ran"), [(CLASSIC, True), (LITE, False)], ids=["classic", "lite"])
def test_shutdown_and_recover_run_on_classic_only(device: Callable[..., Nucleus], build, profile, ran) -> None:
    build.add(
        NAME,
        lifecycle={
            "run": "if [ ! -e once ]; then touch once; exit 1; fi; sleep 600",
            "shutdown": "touch shut",
            "recover": "touch recovered",
        },
    )
    nucleus = device(profile, patience=WATCHFUL)
    nucleus.deploy(build.deployment(NAME))
    work = nucleus.root / "work" / NAME
    assert (work / "recovered").exists() is ran
    (work / "shut").unlink(missing_ok=True)
    nucleus.stop()
    assert (work / "shut").exists() is ran


@pytest.mark.parametrize(("profile", "installed"), [(CLASSIC, False), (LITE, True)], ids=["classic", "lite"])
def test_skipif_is_heeded_on_classic_only(device: Callable[..., Nucleus], build, profile, installed) -> None:
    build.add(
        NAME,
        lifecycle={"install": {"Script": "touch installed", "Skipif": "onpath sh"}, "run": "sleep 600"},
    )
    nucleus = device(profile)
    nucleus.deploy(build.deployment(NAME))
    assert (nucleus.root / "work" / NAME / "installed").exists() is installed


def test_startup_is_running_when_it_has_ended_and_its_children_go_with_it(
    device: Callable[..., Nucleus], build
) -> None:
    build.add(NAME, lifecycle={"startup": "sleep 600 & echo $! > daemon"})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    assert nucleus.component(NAME).state is State.RUNNING
    pid = int(lines_of(nucleus.root / "work" / NAME / "daemon")[0])
    assert _alive(pid)
    nucleus.stop()
    assert not _alive(pid)


def test_lite_cuts_a_script_at_an_unknown_brace(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "touch before\necho ${HOME} > after\nsleep 600"})
    lite = device(LITE, root="lite")
    lite.deploy(build.deployment(NAME))
    assert lite.wait(NAME, State.FINISHED, timeout=30)
    assert (lite.root / "work" / NAME / "before").exists()
    assert not (lite.root / "work" / NAME / "after").exists()
    assert any("cut short" in line for line in lite.logs(NAME))

    classic = device(CLASSIC, root="classic", thing_name="other")
    classic.deploy(build.deployment(NAME))
    assert lines_of(classic.root / "work" / NAME / "after") == [os.environ["HOME"]]


def test_hard_dependency_starts_first_and_takes_its_dependent_along(device: Callable[..., Nucleus], build) -> None:
    build.add("base", lifecycle={"run": "exec sleep 600"})
    build.add("top", lifecycle={"run": "exec sleep 600"}, dependencies={"base": {"VersionRequirement": ">=1.0.0"}})
    build.add(
        "aside",
        lifecycle={"run": "exec sleep 600"},
        dependencies={"base": {"VersionRequirement": ">=1.0.0", "DependencyType": "SOFT"}},
    )
    nucleus = device()
    changes: list[StateChange] = []
    nucleus.listen(changes.append)
    nucleus.deploy(build.deployment("top", "aside"))
    running = [change.component for change in changes if change.after is State.RUNNING]
    assert running.index("base") < running.index("top")

    pids = {status.name: status.pid for status in nucleus.components}
    changes.clear()
    nucleus.restart("base")
    until(lambda: len([c for c in changes if c.component == "top" and c.after is State.RUNNING]) == 1)
    assert nucleus.component("base").pid != pids["base"]
    assert nucleus.component("top").pid != pids["top"]
    assert nucleus.component("aside").pid == pids["aside"]


def test_output_goes_to_the_log_and_not_to_the_terminal(device: Callable[..., Nucleus], build, capfd) -> None:
    build.add(NAME, lifecycle={"run": "echo to the log; echo a warning >&2; sleep 600"})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    until(lambda: any("a warning" in line for line in nucleus.logs(NAME)))
    lines = nucleus.logs(NAME)
    assert any(line.endswith(f"[INFO] {NAME}: stdout. to the log") for line in lines)
    assert any(line.endswith(f"[WARN] {NAME}: stderr. a warning") for line in lines)
    assert "to the log" not in "".join(capfd.readouterr())


def test_log_of_an_unknown_component_names_the_known_ones(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"run": "sleep 600"})
    nucleus = device()
    nucleus.deploy(build.deployment(NAME))
    with pytest.raises(FileNotFoundError, match=NAME):
        nucleus.logs("com.example.Other")


def test_device_runs_what_it_ran_before_it_was_switched_off(device: Callable[..., Nucleus], build) -> None:
    build.add(NAME, lifecycle={"install": "echo x >> installs", "run": "sleep 600"}, defaults={"rate": 1})
    first = device()
    first.deploy(build.deployment(NAME))
    first.set_configuration(NAME, merge={"rate": 2})
    first.stop()

    second = device()
    assert second.wait(NAME, State.RUNNING, timeout=30)
    assert second.configuration.read(NAME) == {"rate": 2}
    assert second.component(NAME).version == "1.0.0"


def _alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has reaped does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
