"""Recipes as each nucleus reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sam3edge_simulator.profiles import CLASSIC, LITE, Profile
from sam3edge_simulator.recipes.platforms import device_attributes, fits
from sam3edge_simulator.recipes.recipe import Recipe, RecipeError, load_recipe

YAML = """
RecipeFormatVersion: 2020-01-25
ComponentName: com.example.Thing
ComponentVersion: 1.2.3
ComponentConfiguration:
  DefaultConfiguration:
    rate: 5
    gain: 1.5
    enabled: true
    day: 2024-01-31
    names: [a, 2]
ComponentDependencies:
  com.example.Base:
    VersionRequirement: ">=1.0.0 <2.0.0"
    DependencyType: SOFT
  com.example.Other: {}
Manifests:
  - Platform: {os: linux, runtime: aws_nucleus_lite}
    Lifecycle: {run: echo lite}
  - Platform: {os: linux}
    Lifecycle: {run: echo classic}
    Artifacts:
      - Uri: s3://bucket/com.example.Thing/1.2.3/code.zip
        Unarchive: ZIP
        Permission: {Read: ALL, Execute: OWNER}
"""


def load(folder: Path, text: str, profile: Profile = CLASSIC, suffix: str = ".yaml") -> Recipe:
    path = folder / f"recipe{suffix}"
    path.write_text(text)
    return load_recipe(path, profile)


def document(**changes: Any) -> dict[str, Any]:
    return {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": "com.example.Thing",
        "ComponentVersion": "1.0.0",
        "Manifests": [{"Platform": {"os": "linux", "runtime": "*"}, "Lifecycle": {"run": "true"}}],
        **changes,
    }


def test_a_recipe_is_reduced_to_what_applies(tmp_path: Path) -> None:
    recipe = load(tmp_path, YAML)
    assert (recipe.name, str(recipe.version)) == ("com.example.Thing", "1.2.3")
    assert recipe.lifecycle == {"run": "echo classic"}
    assert dict(recipe.defaults) == {
        "rate": 5,
        "gain": 1.5,
        "enabled": True,
        "day": "2024-01-31",
        "names": ["a", 2],
    }
    assert [(name, one.requirement.text, one.hard) for name, one in recipe.dependencies.items()] == [
        ("com.example.Base", ">=1.0.0 <2.0.0", False),
        ("com.example.Other", "", True),
    ]
    (artifact,) = recipe.artifacts
    assert (artifact.name, artifact.unzip, artifact.readable, artifact.executable) == ("code.zip", True, "ALL", "OWNER")
    assert not recipe.only_installs


def test_lite_chooses_its_manifest_and_reads_yaml_scalars_as_text(tmp_path: Path) -> None:
    recipe = load(tmp_path, YAML, LITE)
    assert recipe.lifecycle == {"run": "echo lite"}
    assert recipe.artifacts == ()
    assert dict(recipe.defaults) == {
        "rate": "5",
        "gain": "1.5",
        "enabled": "true",
        "day": "2024-01-31",
        "names": ["a", "2"],
    }


def test_numbers_of_json_keep_their_type_on_lite(tmp_path: Path) -> None:
    text = json.dumps(document(ComponentConfiguration={"DefaultConfiguration": {"rate": 5, "on": True}}))
    assert dict(load(tmp_path, text, LITE, ".json").defaults) == {"rate": 5, "on": True}


def test_lite_is_case_sensitive_and_classic_is_not(tmp_path: Path) -> None:
    manifest = {
        "platform": {"os": "linux", "runtime": "*"},
        "lifecycle": {"Run": {"script": "true", "setenv": {"A": "b"}}, "SetEnv": {"C": "d"}},
        "artifacts": [{"uri": "s3://b/code.zip", "unarchive": "ZIP"}],
    }
    text = json.dumps({**document(), "Manifests": [manifest]})
    recipe = load(tmp_path, text, CLASSIC, ".json")
    assert recipe.lifecycle == {"run": {"Script": "true", "Setenv": {"A": "b"}}, "Setenv": {"C": "d"}}
    assert recipe.artifacts[0].unzip
    with pytest.raises(RecipeError, match="No Manifest was found for linux"):
        load(tmp_path, text, LITE, ".json")

    half = {"Platform": {"runtime": "*"}, "Lifecycle": {"run": "true"}, "Artifacts": [{"uri": "s3://b/code.zip"}]}
    with pytest.raises(RecipeError, match=r"Manifests\.0\.Artifacts\.0\.Uri: Field required"):
        load(tmp_path, json.dumps({**document(), "Manifests": [half]}), LITE, ".json")


def test_lite_takes_no_component_without_a_lifecycle(tmp_path: Path) -> None:
    only_artifacts = {"Platform": {"os": "linux", "runtime": "*"}, "Artifacts": [{"Uri": "s3://b/x.bin"}]}
    text = json.dumps(document(Manifests=[only_artifacts]))
    assert load(tmp_path, text, CLASSIC, ".json").only_installs
    with pytest.raises(RecipeError, match="No Manifest was found for linux"):
        load(tmp_path, text, LITE, ".json")


def test_lifecycle_for_all_manifests_and_its_selectors(tmp_path: Path) -> None:
    manifest = {"Platform": {"runtime": "*"}, "Selections": ["pi"]}
    text = json.dumps(document(Manifests=[manifest], Lifecycle={"pi": {"run": "echo pi"}, "all": {"run": "echo all"}}))
    assert load(tmp_path, text, CLASSIC, ".json").lifecycle == {"run": "echo pi"}
    text = json.dumps(document(Manifests=[{"Platform": {"runtime": "*"}}], Lifecycle={"run": "echo plain"}))
    assert load(tmp_path, text, CLASSIC, ".json").lifecycle == {"run": "echo plain"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"RecipeFormatVersion": "2019-01-01"}, "expected RecipeFormatVersion 2020-01-25"),
        ({"ComponentName": "no spaces"}, "expected a ComponentName of letters"),
        ({"ComponentName": "{COMPONENT_NAME}"}, r"build the component first \(gdk component build\)"),
        ({"ComponentVersion": "NEXT_PATCH"}, "expected a semantic version"),
        ({"ComponentDependencies": {"x": {"VersionRequirement": "newest"}}}, "expected a version range"),
        ({"ComponentDependencies": {"x": {"DependencyType": "FIRM"}}}, r"ComponentDependencies\.x\.DependencyType"),
        ({"Manifests": [{"Platform": {"os": "windows"}}]}, "this device is .* the manifests want"),
        ({"Manifests": [{"Lifecycle": {"run": "a", "startup": "b"}}]}, "run or startup in the lifecycle, got both"),
    ],
)
def test_refusals_name_the_place(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason) as refused:
        load(tmp_path, json.dumps(document(**changes)), CLASSIC, ".json")
    assert str(refused.value).startswith(str(tmp_path / "recipe.json"))


def test_a_recipe_may_not_be_too_large_or_unreadable(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="at most 16000 bytes"):
        load(tmp_path, YAML + "#" * 16_000)
    with pytest.raises(RecipeError, match="no readable recipe"):
        load(tmp_path, "a: [1, 2")


@pytest.mark.parametrize(
    ("wanted", "classic", "lite"),
    [
        ({}, True, False),
        ({"os": "linux"}, True, False),
        ({"os": "linux", "runtime": "*"}, True, True),
        ({"os": "*", "runtime": "aws_nucleus_lite"}, False, True),
        ({"os": "all", "architecture": "any", "runtime": "*"}, True, True),
        ({"os": "windows", "runtime": "*"}, False, False),
        ({"os": ["windows", "linux"], "runtime": "*"}, True, True),
        ({"architecture": "/amd64|aarch64|arm/", "runtime": "*"}, True, True),
        ({"architecture": "sparc", "runtime": "*"}, False, False),
        ({"runtime": None}, True, False),
        ({"made.up": "x", "runtime": "*"}, False, False),
    ],
)
def test_platforms(wanted: dict[str, object], classic: bool, lite: bool) -> None:
    assert fits(wanted, device_attributes(CLASSIC), CLASSIC) is classic
    assert fits(wanted, device_attributes(LITE), LITE) is lite
