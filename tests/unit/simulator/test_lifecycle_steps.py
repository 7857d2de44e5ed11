"""Scripts with their variables replaced, as each nucleus does it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from sam3edge_simulator.lifecycle import Step, prepare_steps
from sam3edge_simulator.profiles import CLASSIC, LITE, Profile
from sam3edge_simulator.recipes.interpolation import Places, Variables
from sam3edge_simulator.recipes.recipe import Recipe, RecipeError
from sam3edge_simulator.recipes.semver import Version

CONFIGURATION = {
    "rate": 5,
    "on": True,
    "name": "it's $HOME",
    "camera": {"b": 1, "a": [1, "x"]},
    "key/with~signs": "found",
    "limit": "7.5",
}


def steps(lifecycle: dict[str, Any], profile: Profile) -> dict[str, Step]:
    recipe = Recipe("com.example.Thing", Version(1, 0, 0), {}, {}, lifecycle, (), b"", ".json")
    own = Places(Path("/gg/artifacts"), Path("/gg/unarchived"), Path("/gg/work"))
    other = Places(Path("/gg/other"), Path("/gg/other-unarchived"), Path("/gg/other-work"))
    dependency = Variables("station-7", Path("/gg"), other, {"port": 80})
    variables = Variables(
        "station-7",
        Path("/gg"),
        own,
        CONFIGURATION,
        profile.path_suffix,
        {"com.example.Base": dependency} if profile.cross_component_variables else {},
    )
    return dict(prepare_steps(recipe, variables, profile))


@pytest.mark.parametrize(
    ("written", "classic", "lite"),
    [
        ("{artifacts:path}", "/gg/artifacts", "/gg/artifacts/"),
        ("{artifacts:decompressedPath}/x", "/gg/unarchived/x", "/gg/unarchived//x"),
        ("{work:path}", "/gg/work", "/gg/work/"),
        ("{kernel:rootPath}", "/gg", "/gg"),
        ("{iot:thingName}", "station-7", "station-7"),
        ("{configuration:/rate}", "5", "5"),
        ("{configuration:/on}", "true", "true"),
        ("{configuration:/camera/a}", '[1,"x"]', r"[1,\"x\"]"),
        ("{configuration:/camera}", '{"a":[1,"x"],"b":1}', r"{\"a\":[1,\"x\"],\"b\":1}"),
        ("{configuration:/key~1with~0signs}", "found", "found"),
        ("{configuration:/name}", "it's $HOME", r"it's \$HOME"),
        ("a {configuration:/nothing} b", "a {configuration:/nothing} b", "a "),
        ("a ${HOME} b", "a ${HOME} b", "a $"),
        ("a {unknown:thing} b", "a {unknown:thing} b", "a "),
        ("awk '{print $1}'", "awk '{print $1}'", "awk '"),
        ("open { only", "open { only", "open "),
        ("{com.example.Base:artifacts:path}", "/gg/other", ""),
        ("{com.example.Base:configuration:/port}", "80", ""),
        ("{com.example.Else:artifacts:path}", "{com.example.Else:artifacts:path}", ""),
    ],
)
def test_variables(written: str, classic: str, lite: str) -> None:
    assert steps({"run": written}, CLASSIC)["run"].script == classic
    step = steps({"run": written}, LITE)["run"]
    assert step.script == lite
    whole = {"a {configuration:/nothing} b", "a ${HOME} b", "a {unknown:thing} b", "awk '{print $1}'", "open { only"}
    assert step.cut is (written in whole or "com.example" in written)


def test_setenv_of_the_step_wins_over_the_common_one() -> None:
    lifecycle = {
        "Setenv": {"A": "common", "B": "{configuration:/rate}"},
        "run": {"Script": "x", "Setenv": {"A": "own"}},
    }
    step = steps(lifecycle, CLASSIC)["run"]
    assert step.environment == {"A": "own", "B": "5"}
    assert step.script == "x"


def test_setenv_on_lite_reaches_the_script_unchanged() -> None:
    lifecycle = {
        "Setenv": {"A": "common", "NAME": "{configuration:/name}", "QUOTED": "it's"},
        "run": {"Script": 'printf "%s|" "$A" "$NAME" "$QUOTED"', "Setenv": {"A": "own"}},
    }
    step = steps(lifecycle, LITE)["run"]
    assert not step.cut
    done = subprocess.run(["/bin/sh", "-c", step.script], capture_output=True, text=True, check=True)
    assert done.stdout == "own|it's $HOME|it's|"


def test_lite_ends_a_script_at_a_setenv_that_is_no_text_or_has_an_unknown_brace() -> None:
    assert steps({"Setenv": {"A": 1}, "run": "echo never"}, LITE)["run"] == Step("", {}, None, skip=False, cut=True)
    assert steps({"Setenv": {"A": "${X}"}, "run": "echo never"}, LITE)["run"].script == "export A='$"


def test_time_limits() -> None:
    default = steps({"install": "x", "run": "x", "shutdown": "x", "recover": "x"}, CLASSIC)
    assert {name: step.timeout for name, step in default.items()} == {
        "install": 120.0,
        "run": None,
        "shutdown": 15.0,
        "recover": 60.0,
    }
    own = {"Script": "x", "Timeout": "{configuration:/limit}"}
    assert steps({"install": own}, CLASSIC)["install"].timeout == 7.5
    assert steps({"install": own}, LITE)["install"].timeout == 7.5
    with pytest.raises(RecipeError, match="expected seconds as Timeout of install, got 'soon'"):
        steps({"install": {"Script": "x", "Timeout": "soon"}}, CLASSIC)


def test_lite_ignores_shutdown_recover_and_skipif() -> None:
    lifecycle = {"install": {"Script": "x", "Skipif": "onpath sh"}, "run": "x", "shutdown": "x", "recover": "x"}
    lite = steps(lifecycle, LITE)
    assert list(lite) == ["install", "run"]
    assert not lite["install"].skip


@pytest.mark.parametrize(
    ("condition", "skips"),
    [
        ("onpath sh", True),
        ("!onpath sh", False),
        ("onpath no-such-program", False),
        ("exists /", True),
        ("! exists /", False),
    ],
)
def test_skipif_on_classic(condition: str, skips: bool) -> None:
    assert steps({"install": {"Script": "x", "Skipif": condition}}, CLASSIC)["install"].skip is skips


def test_steps_that_are_none() -> None:
    with pytest.raises(RecipeError, match="expected a text as Script of run"):
        steps({"run": {"RequiresPrivilege": True}}, CLASSIC)
    with pytest.raises(RecipeError, match="expected Skipif"):
        steps({"run": {"Script": "x", "Skipif": "perhaps"}}, CLASSIC)
    with pytest.raises(RecipeError, match="expected a mapping as Setenv"):
        steps({"run": {"Script": "x", "Setenv": "A=b"}}, CLASSIC)
