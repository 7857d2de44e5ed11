"""Dependency resolution, artifacts, logs, documents and the device's memory."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import pytest

from sam3edge_simulator.artifacts import ArtifactError, Packages
from sam3edge_simulator.component_log import KEPT_LOGS, ComponentLog, read_log
from sam3edge_simulator.deployment_document import DocumentError, FailurePolicy, read_document, read_updates
from sam3edge_simulator.history import History, NothingToRestore, Snapshot
from sam3edge_simulator.profiles import CLASSIC
from sam3edge_simulator.recipes.recipe import Artifact, Dependency, Recipe
from sam3edge_simulator.recipes.resolution import ResolutionError, resolve
from sam3edge_simulator.recipes.semver import Requirement, Version


def recipe(name: str, version: str, artifacts: tuple[Artifact, ...] = (), **needs: str) -> Recipe:
    dependencies = {other: Dependency(Requirement.parse(text), hard=True) for other, text in needs.items()}
    lifecycle = {"run": "true"}
    source = f"{name} {version}".encode()
    return Recipe(name, Version.parse(version), {}, dependencies, lifecycle, artifacts, source, ".json")


def chosen(roots: dict[str, str], *recipes: Recipe, **builtin: str) -> list[str]:
    wanted = {name: Requirement.parse(text) for name, text in roots.items()}
    return [f"{one.name} {one.version}" for one in resolve(wanted, recipes, builtin)]


def test_highest_versions_that_satisfy_everyone_dependencies_first() -> None:
    recipes = [
        recipe("top", "1.0.0", left="*", right="*"),
        recipe("left", "1.0.0", base="^1.0.0"),
        recipe("right", "1.0.0", base=">=1.1.0"),
        *(recipe("base", version) for version in ("1.0.0", "1.1.0", "1.2.0", "2.0.0")),
    ]
    assert chosen({"top": "1.0.0"}, *recipes) == ["base 1.2.0", "left 1.0.0", "right 1.0.0", "top 1.0.0"]


def test_a_choice_is_taken_back_when_a_later_demand_excludes_it() -> None:
    recipes = [
        recipe("a", "2.0.0", c="*"),
        recipe("c", "1.0.0", b="1.0.0"),
        recipe("b", "1.0.0"),
        recipe("b", "2.0.0", d="*"),
        recipe("d", "1.0.0"),
    ]
    assert chosen({"b": "*", "a": "*"}, *recipes) == ["b 1.0.0", "c 1.0.0", "a 2.0.0"]


def test_what_cannot_be_resolved_is_explained() -> None:
    with pytest.raises(ResolutionError, match=r"top 1\.0\.0 asks for any version; versions at hand: none"):
        chosen({"top": "*"}, recipe("top", "1.0.0", base=""))
    with pytest.raises(ResolutionError, match=r"dependencies form a circle: a -> b -> a"):
        chosen({"a": "*"}, recipe("a", "1.0.0", b="*"), recipe("b", "1.0.0", a="*"))
    with pytest.raises(ResolutionError, match=r"nucleus is 2\.18\.0 on this nucleus, but top 1\.0\.0 asks for \^3"):
        chosen({"top": "*"}, recipe("top", "1.0.0", nucleus="^3.0.0"), nucleus="2.18.0")
    assert chosen({"top": "*"}, recipe("top", "1.0.0", nucleus="^2.0.0"), nucleus="2.18.0") == ["top 1.0.0"]


CODE = Artifact("code.zip", unzip=True, readable="ALL", executable="OWNER", digest="")
MODEL = Artifact("model.bin", unzip=False, readable="OWNER", executable="NONE", digest="")


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    return Packages(tmp_path / "device", CLASSIC)


def build(folder: Path, **members: str) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    (folder / "model.bin").write_bytes(b"weights")
    return folder


def test_artifacts_are_copied_unpacked_and_permitted(packages: Packages, tmp_path: Path) -> None:
    component = recipe("thing", "1.0.0", (CODE, MODEL))
    packages.add(component, build(tmp_path / "build", pkg__main="print()"))
    places = packages.places("thing", "1.0.0")
    assert (places.artifacts / "model.bin").read_bytes() == b"weights"
    unpacked = places.decompressed / "code" / "pkg" / "main"
    assert unpacked.read_text() == "print()"
    assert stat.S_IMODE(unpacked.stat().st_mode) == 0o744
    assert stat.S_IMODE((places.artifacts / "model.bin").stat().st_mode) == 0o600
    packages.verify(component)
    assert packages.holds(component, tmp_path / "build")


@pytest.mark.parametrize("where", ["artifacts/thing/1.0.0/model.bin", "artifacts-unarchived/thing/1.0.0/code/a"])
def test_every_changed_or_missing_file_is_noticed(packages: Packages, tmp_path: Path, where: str) -> None:
    component = recipe("thing", "1.0.0", (CODE, MODEL))
    packages.add(component, build(tmp_path / "build", a="1"))
    path = tmp_path / "device" / "packages" / where
    path.write_bytes(b"else")
    with pytest.raises(ArtifactError, match="was changed after its deployment"):
        packages.verify(component)
    path.unlink()
    with pytest.raises(ArtifactError, match="is missing; deploy it again"):
        packages.verify(component)


def test_an_archive_cannot_write_outside_its_folder(packages: Packages, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="would lie outside its folder"):
        packages.add(recipe("thing", "1.0.0", (CODE,)), build(tmp_path / "build", **{"..____..__evil": "x"}))
    (tmp_path / "build" / "code.zip").write_bytes(b"no archive")
    with pytest.raises(ArtifactError, match="expected a zip archive"):
        packages.add(recipe("thing", "1.0.0", (CODE,)), tmp_path / "build")


def test_logs_rotate_and_are_read_across_files(tmp_path: Path) -> None:
    logger = ComponentLog(tmp_path, "thing", largest=400)
    for number in range(60):
        logger.write("INFO", f"line {number}", origin="stdout")
    logger.close()
    logger.write("INFO", "after the end", origin="stdout")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["thing.log"] + [f"thing.log.{number}" for number in range(1, KEPT_LOGS + 1)]
    assert all(path.stat().st_size <= 400 for path in tmp_path.iterdir())
    assert [line.rsplit(" ", 1)[1] for line in read_log(tmp_path, "thing", 12)] == [str(n) for n in range(48, 60)]
    with pytest.raises(FileNotFoundError, match=r"there are logs of \['thing'\]"):
        list(read_log(tmp_path, "other", 1))


def test_the_device_remembers_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "config" / "state.json"
    first = Snapshot({"a": "^1.0.0"}, {"a": "1.2.0"}, {"a": {"rate": [1, 1000]}})
    second = Snapshot({"a": "^1.0.0"}, {"a": "1.3.0"}, {"a": {"rate": [2, 2000]}})
    history = History(path)
    with pytest.raises(NothingToRestore):
        history.last()
    history.remember(first, deployment="one", status="SUCCESSFUL")
    history.remember(second, deployment="two", status="SUCCESSFUL")

    again = History(path)
    assert again.present == second
    assert [record.id for record in again.records] == ["one", "two"]
    assert again.last().before == first
    assert again.uses("a", "1.2.0")
    assert not again.uses("a", "1.1.0")
    again.undo(first)
    assert History(path).present == first


def test_deployment_document(tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text(
        """
        components:
          com.example.Thing:
            componentVersion: 1.0.0
            configurationUpdate:
              merge: '{"rate": 2}'
              reset: [/rate]
        deploymentPolicies:
          failureHandlingPolicy: DO_NOTHING
          componentUpdatePolicy: {action: NOTIFY_COMPONENTS, timeoutInSeconds: 5}
        """
    )
    deployment = read_document(path)
    assert (deployment.add, deployment.exclusive) == ({"com.example.Thing": "1.0.0"}, True)
    update = deployment.configuration["com.example.Thing"]
    assert (update.merge, update.reset) == ({"rate": 2}, ("/rate",))
    assert (deployment.on_failure, deployment.notify_seconds) == (FailurePolicy.DO_NOTHING, 5.0)

    path.write_text("components: {com.example.Thing: {configurationUpdate: {merge: 'no json'}}}")
    with pytest.raises(DocumentError, match=r"components\.com\.example\.Thing\.componentVersion: Field required"):
        read_document(path)
    path.write_text("[")
    with pytest.raises(DocumentError, match="expected JSON or YAML"):
        read_document(path)


def test_configuration_updates_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "updates.json"
    path.write_text(json.dumps({"thing": {"merge": {"rate": 2}}}))
    assert read_updates(path)["thing"].merge == {"rate": 2}
    path.write_text(json.dumps({"thing": {"reset": "/rate"}}))
    with pytest.raises(DocumentError, match=r"thing\.reset"):
        read_updates(path)
