"""Recipes and packages: what Greengrass, GDK and a security review look at."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import sam3edge
from sam3edge.bundle.artifacts import find_artifacts
from sam3edge.bundle.manifest import Manifest, read_manifest
from sam3edge.bundle.verify import verify
from sam3edge.core.messages import topics
from sam3edge.core.messages.schemas import schema_file
from sam3edge.segmenter.feedback import EXAMPLES
from sam3edge_pipeline.greengrass_build.archives import Member, spread, whole_file
from sam3edge_pipeline.greengrass_build.build import NAMES, Built, build_component
from sam3edge_simulator.artifacts import Packages
from sam3edge_simulator.profiles import CLASSIC, LITE
from sam3edge_simulator.recipes.recipe import load_recipe

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


PUBLISHED = {
    "segmenter": {
        topics.DETECTIONS,
        topics.EVENTS,
        topics.ERRORS,
        topics.STATUS,
        topics.COMMAND_RESPONSES,
        topics.SNAPSHOTS,
        topics.PING,
    },
    "model": {topics.MODEL_STATUS, topics.ERRORS},
    "uploader": {topics.UPLOADER_STATUS, topics.ERRORS},
}
RECEIVED = {"segmenter": {topics.COMMANDS, topics.PING}, "model": set[str](), "uploader": set[str]()}


def test_every_topic_is_some_components() -> None:
    assert set(topics.NAMES) == set().union(*PUBLISHED.values(), *RECEIVED.values())


@pytest.mark.parametrize("component", COMPONENTS)
def test_access_is_to_the_topics_that_the_component_uses(component: str) -> None:
    policies = source(component)["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"]
    allowed: dict[str, set[str]] = {
        "aws.greengrass#PublishToIoTCore": set(),
        "aws.greengrass#SubscribeToIoTCore": set(),
    }
    for policy in policies["aws.greengrass.ipc.mqttproxy"].values():
        for operation in policy["operations"]:
            allowed[operation] |= set(policy["resources"])
    any_thing = topics.DEFAULT_PREFIX.format(thing="+")
    assert allowed["aws.greengrass#PublishToIoTCore"] == {f"{any_thing}/{name}" for name in PUBLISHED[component]}
    assert allowed["aws.greengrass#SubscribeToIoTCore"] == {f"{any_thing}/{name}" for name in RECEIVED[component]}


@pytest.mark.parametrize("component", COMPONENTS)
def test_nothing_runs_as_root_and_nothing_waits_for_another_component(component: str) -> None:
    """Of the nucleus's own services, only the one that gives credentials is named, and it is not waited for."""
    dependencies = source(component).get("ComponentDependencies", {})
    assert set(dependencies) <= {"aws.greengrass.TokenExchangeService"}
    assert all(dependency["DependencyType"] == "SOFT" for dependency in dependencies.values())
    assert "RequiresPrivilege" not in (PACKAGE / component / "recipe.yaml").read_text()


def test_the_uploader_looks_where_the_segmenter_keeps_examples_and_is_given_credentials() -> None:
    recipe = source("uploader")
    assert "aws.greengrass.TokenExchangeService" in recipe["ComponentDependencies"]
    for manifest in recipe["Manifests"]:
        script = manifest["Lifecycle"]["run"]["Script"]
        assert f"--examples {{kernel:rootPath}}/work/{NAMES['segmenter']}/{EXAMPLES}" in script


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


@pytest.mark.parametrize("component", COMPONENTS)
def test_gdk_publishes_what_its_build_command_builds(component: str, tmp_path: Path) -> None:
    """What ``gdk component publish`` (1.6) does: it reads recipes/recipe.yaml, compares the name, sets the
    version, and changes the address of every artifact that lies in artifacts/<name>/<version of gdk-config.json>."""
    repository = PACKAGE.parents[1]
    folder = tmp_path / "components" / "sam3edge" / component
    shutil.copytree(PACKAGE / component, folder)
    (tmp_path / "assets").symlink_to(repository / "assets")
    [(name, project)] = json.loads((folder / "gdk-config.json").read_text())["component"].items()
    (folder / "greengrass-build" / "recipes").mkdir(parents=True)
    artifacts = folder / "greengrass-build" / "artifacts" / name / project["version"]
    artifacts.mkdir(parents=True)
    subprocess.run([sys.executable, *project["build"]["custom_build_command"][1:]], cwd=folder, check=True)
    recipe = yaml.safe_load((folder / "greengrass-build" / "recipes" / "recipe.yaml").read_text())
    assert recipe["ComponentName"] == name
    for manifest in recipe["Manifests"]:
        assert manifest["Artifacts"]
        for artifact in manifest["Artifacts"]:
            assert (artifacts / artifact["Uri"].rpartition("/")[2]).is_file()


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
    assert {"sam3edge/greengrass/install.py", "sam3edge/greengrass/jetpack.json"} <= set(names)
    assert "requirements.txt" in names
    assert {f"sam3edge/core/messages/schemas/{schema_file(topic)}" for topic in topics.NAMES} <= set(names)
    assert not [n for n in names if "__pycache__" in n or n.endswith((".pyc", ".yaml")) or n.startswith("/")]


def put_together(built: Built, out: Path, tmp_path: Path, profile: Any) -> Manifest:
    """As the nucleus unpacks it and the model component joins it."""
    recipe = load_recipe(built.recipe, profile)
    packages = Packages(tmp_path / "device", profile)
    packages.add(recipe, out / "artifacts")
    shipment = find_artifacts(packages.places(recipe.name, recipe.version).decompressed)
    whole = tmp_path / "whole"
    whole.mkdir()
    shipment.copy_to(whole, shipment.manifest())
    return verify(whole, None)


@pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=["classic", "lite"])
@pytest.mark.parametrize("limit", [700_000, 2_000_000, 4_000_000])
def test_a_bundle_above_the_limit_is_split_and_put_together_again(
    limit: int, profile: Any, tmp_path: Path, demo_bundle: Path
) -> None:
    built = build_component("model", tmp_path / "build", "1.0.0", "my-bucket", demo_bundle, limit)
    archives = sorted((tmp_path / "build").rglob("bundle*.zip"))
    assert len(archives) > 1
    assert all(path.stat().st_size <= limit for path in archives)
    named = re.findall(r"bundle\S*\.zip", built.recipe.read_text())
    assert sorted(named) == sorted(2 * [path.name for path in archives])  # in both manifests
    assert put_together(built, tmp_path / "build", tmp_path, profile) == read_manifest(demo_bundle)


def test_an_archive_is_within_the_limit_also_when_nothing_compresses(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "noise").write_bytes(random.Random(0).randbytes(400_000))
    for i in range(300):
        (bundle / f"{i:03d}-{'long-' * 20}").write_bytes(b"")
    build_component("model", tmp_path / "build", "1.0.0", "b", bundle, 60_000)
    sizes = [path.stat().st_size for path in (tmp_path / "build").rglob("bundle*.zip")]
    assert len(sizes) > 7
    assert max(sizes) <= 60_000


def test_a_build_that_needs_fewer_artifacts_leaves_no_old_ones(tmp_path: Path, demo_bundle: Path) -> None:
    build_component("model", tmp_path, "1.0.0", "b", demo_bundle, 1_000_000)
    build_component("model", tmp_path, "1.0.0", "b", demo_bundle)
    assert {path.name for path in tmp_path.rglob("*.zip")} == {"sam3edge-model.zip", "bundle.zip"}


def test_splitting_gives_the_same_bytes_again(tmp_path: Path, demo_bundle: Path) -> None:
    for name in ("a", "b"):
        build_component("model", tmp_path / name, "1.0.0", "b", demo_bundle, 1_000_000)
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) > 4
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_a_limit_that_no_recipe_could_name_is_refused(tmp_path: Path, demo_bundle: Path) -> None:
    with pytest.raises(ValueError, match="raise the artifact limit"):
        build_component("model", tmp_path, "1.0.0", "b", demo_bundle, 60_000)
    with pytest.raises(ValueError, match="raise the limit"):
        spread([whole_file("vision.onnx", demo_bundle / "vision.onnx")], 500)


def test_only_a_file_that_fits_nowhere_is_cut() -> None:
    sizes = {"a": 2500, "b": 900, "c": 500, "d": 400}
    archives = spread([Member(name, Path(name), 0, size) for name, size in sizes.items()], 1500)
    names = [member.name for archive in archives for member in archive]
    assert sorted(names) == ["a.part-000", "a.part-001", "a.part-002", "b", "c", "d"]
    pieces = sorted((m for archive in archives for m in archive if m.name.startswith("a.")), key=lambda m: m.start)
    assert [m.start for m in pieces] == [0, pieces[0].length, pieces[0].length + pieces[1].length]
    assert sum(m.length for m in pieces) == 2500
