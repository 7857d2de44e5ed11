"""Recipes and packages: what Greengrass, GDK and a security review look at."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import sam3edge
from sam3edge_pipeline.packaging import NAMES, build_component
from sam3edge_simulator.profiles import CLASSIC, LITE
from sam3edge_simulator.recipes import load_recipe

PACKAGE = Path(sam3edge.__file__).parent
COMPONENTS = sorted(NAMES)
VARIABLE = re.compile(
    r"\{(artifacts:path|artifacts:decompressedPath|work:path|kernel:rootPath|iot:thingName|configuration:/[\w/]+)\}"
)


def source(component: str) -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load((PACKAGE / component / "recipe.yaml").read_text())
    return recipe


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=["classic", "lite"])
def test_a_built_recipe_is_taken_by_both_nuclei(
    component: str, profile: Any, tmp_path: Path, demo_bundle: Path
) -> None:
    bundle = demo_bundle if component == "model" else None
    built = build_component(component, tmp_path, "1.2.3", "my-bucket", bundle)
    recipe = load_recipe(built.recipe, profile)
    assert (recipe.name, str(recipe.version)) == (NAMES[component], "1.2.3")
    for artifact in recipe.artifacts:
        assert (tmp_path / "artifacts" / recipe.name / "1.2.3" / artifact.name).is_file()
    text = built.recipe.read_text()
    assert "{COMPONENT" not in text
    assert f"s3://my-bucket/{recipe.name}/1.2.3/" in text


@pytest.mark.parametrize("component", COMPONENTS)
def test_scripts_hold_no_brace_that_lite_would_cut_at(component: str) -> None:
    for manifest in source(component)["Manifests"]:
        for step in manifest["Lifecycle"].values():
            for text in [step["Script"]] if "Script" in step else step.values():
                assert "{" not in VARIABLE.sub("", str(text))


@pytest.mark.parametrize("component", COMPONENTS)
def test_access_is_no_wider_than_our_topics(component: str) -> None:
    configuration = source(component)["ComponentConfiguration"]["DefaultConfiguration"]
    for service, policies in configuration["accessControl"].items():
        assert service == "aws.greengrass.ipc.mqttproxy"
        for name, policy in policies.items():
            assert name.startswith(NAMES[component])
            assert all("*" not in operation for operation in policy["operations"])
            assert all(re.fullmatch(r"sam3edge/\+/[a-z]+(/[a-z]+)?", topic) for topic in policy["resources"])


@pytest.mark.parametrize("component", COMPONENTS)
def test_nothing_runs_as_root_and_nothing_depends_on_another_component(component: str) -> None:
    recipe = source(component)
    assert "ComponentDependencies" not in recipe
    assert "RequiresPrivilege" not in (PACKAGE / component / "recipe.yaml").read_text()


@pytest.mark.parametrize("component", COMPONENTS)
def test_it_is_a_gdk_project(component: str) -> None:
    config = json.loads((PACKAGE / component / "gdk-config.json").read_text())
    [(name, project)] = config["component"].items()
    assert name == NAMES[component]
    assert {"author", "version", "build", "publish"} <= set(project)
    assert project["build"]["build_system"] == "custom"
    text = (PACKAGE / component / "recipe.yaml").read_text()
    for placeholder in ("{COMPONENT_NAME}", "{COMPONENT_VERSION}", "{COMPONENT_AUTHOR}"):
        assert placeholder in text
    assert "s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/" in text


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    first, again = (
        build_component("segmenter", tmp_path / name, "1.0.0", "b") and (tmp_path / name) for name in ("a", "b")
    )
    archive = f"artifacts/{NAMES['segmenter']}/1.0.0/sam3edge-segmenter.zip"
    assert (first / archive).read_bytes() == (again / archive).read_bytes()


def test_the_artifact_holds_the_code_and_nothing_that_is_not_needed(tmp_path: Path) -> None:
    build_component("segmenter", tmp_path, "1.0.0", "b")
    with zipfile.ZipFile(tmp_path / f"artifacts/{NAMES['segmenter']}/1.0.0/sam3edge-segmenter.zip") as archive:
        names = archive.namelist()
    assert "sam3edge/segmenter/__main__.py" in names
    assert "sam3edge/install.py" in names
    assert "requirements.txt" in names
    assert not [n for n in names if "__pycache__" in n or n.endswith((".pyc", ".yaml")) or n.startswith("/")]
