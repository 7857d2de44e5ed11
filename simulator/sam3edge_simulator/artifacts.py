"""Recipes and artifacts on the device: taken over from a build, unpacked, and checked again before they are used.

Folders as on a device: ``packages/recipes``, ``packages/artifacts/<component>/<version>`` and
``packages/artifacts-unarchived/<component>/<version>/<archive>``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.recipes.interpolation import Places
from sam3edge_simulator.recipes.recipe import SUFFIXES, Artifact, Recipe, RecipeError, load_recipe
from sam3edge_simulator.recipes.semver import Version

_BLOCK = 1024 * 1024


class ArtifactError(Exception):
    """An artifact is missing, or is not what it should be; trying again cannot help."""


class Packages:
    """The component store of one device.

    Args:
        root: the nucleus's root folder.
        profile: how recipes are read.
    """

    def __init__(self, root: Path, profile: Profile) -> None:
        self._root = root
        self._profile = profile
        self._recipes = root / "packages" / "recipes"
        self._digests = root / "packages" / "digests"

    def places(self, name: str, version: Version | str) -> Places:
        """Folders of one component version."""
        packages = self._root / "packages"
        return Places(
            artifacts=packages / "artifacts" / name / str(version),
            decompressed=packages / "artifacts-unarchived" / name / str(version),
            work=self._root / "work" / name,
        )

    def recipes(self) -> tuple[Recipe, ...]:
        """Every recipe in the store that this nucleus takes."""
        return read_recipes(self._recipes, self._profile)[0]

    def holds(self, recipe: Recipe, artifacts: Path | None) -> bool:
        """Whether exactly this recipe, with these artifacts, is in the store already."""
        stored = self._recipes / f"{recipe.name}-{recipe.version}{recipe.suffix}"
        if not stored.exists() or stored.read_bytes() != recipe.source or not self._digest_file(recipe).exists():
            return False
        if artifacts is None or not recipe.artifacts:
            return True
        recorded = self._recorded(recipe)
        return all(recorded.get(one.name) == _sha256(_find(artifacts, recipe, one)) for one in recipe.artifacts)

    def knows(self, name: str, version: Version) -> bool:
        """Whether any content is stored under this name and version."""
        return any((self._recipes / f"{name}-{version}{suffix}").exists() for suffix in SUFFIXES)

    def add(self, recipe: Recipe, artifacts: Path | None) -> None:
        """Take a component version over, in place of what was stored under its name and version.

        Args:
            recipe: the component.
            artifacts: folder with the files, either ``<name>/<version>/`` below it or the files themselves.

        Raises:
            ArtifactError: a file is missing, is not a zip archive, or does not have the recipe's digest.
        """
        places = self.places(recipe.name, recipe.version)
        for folder in (places.artifacts, places.decompressed):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        digests: dict[str, str] = {}
        for artifact in recipe.artifacts:
            copy = places.artifacts / artifact.name
            shutil.copyfile(_find(artifacts, recipe, artifact), copy)
            digests[artifact.name] = _sha256(copy)
            _check_recipe_digest(recipe, artifact, digests[artifact.name])
            _permit(copy, artifact)
            if artifact.unzip:
                digests |= _unzip(copy, places.decompressed, artifact)
        self._digests.mkdir(parents=True, exist_ok=True)
        self._digest_file(recipe).write_text(json.dumps(digests, indent=1, sort_keys=True))
        self._recipes.mkdir(parents=True, exist_ok=True)
        for suffix in SUFFIXES:
            (self._recipes / f"{recipe.name}-{recipe.version}{suffix}").unlink(missing_ok=True)
        (self._recipes / f"{recipe.name}-{recipe.version}{recipe.suffix}").write_bytes(recipe.source)

    def verify(self, recipe: Recipe) -> None:
        """Check every file of a component version, unpacked ones too, against the digests taken at its deployment.

        Files that appeared beside them since (byte code, a virtual environment) are no concern.

        Raises:
            ArtifactError: one is missing or has changed.
        """
        places = self.places(recipe.name, recipe.version)
        for name, expected in self._recorded(recipe).items():
            path = places.artifacts / name if "/" not in name else places.decompressed / name
            if not path.is_file():
                raise ArtifactError(f"{recipe.name} {recipe.version}: artifact {path} is missing; deploy it again")
            actual = _sha256(path)
            if actual != expected:
                raise ArtifactError(
                    f"{recipe.name} {recipe.version}: artifact {path} was changed after its deployment "
                    f"(expected SHA-256 {expected}, got {actual}); it is not started, deploy it again"
                )

    def _digest_file(self, recipe: Recipe) -> Path:
        return self._digests / f"{recipe.name}-{recipe.version}.json"

    def _recorded(self, recipe: Recipe) -> Mapping[str, str]:
        try:
            recorded: dict[str, str] = json.loads(self._digest_file(recipe).read_text())
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{recipe.name} {recipe.version}: no digests recorded ({error}); deploy it") from error
        return recorded


def read_recipes(folder: Path, profile: Profile) -> tuple[tuple[Recipe, ...], tuple[str, ...]]:
    """Every recipe in a folder, such as ``greengrass-build/recipes``; none when the folder is missing.

    Returns:
        The recipes that the nucleus takes, and why it does not take the others: a folder may well hold components that
        are for another nucleus.
    """
    recipes: list[Recipe] = []
    refused: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in SUFFIXES:
            try:
                recipes.append(load_recipe(path, profile))
            except RecipeError as error:
                refused.append(str(error))
    return tuple(recipes), tuple(refused)


def _find(folder: Path | None, recipe: Recipe, artifact: Artifact) -> Path:
    if folder is not None:
        for candidate in (folder / recipe.name / str(recipe.version) / artifact.name, folder / artifact.name):
            if candidate.is_file():
                return candidate
    raise ArtifactError(
        f"{recipe.name} {recipe.version}: artifact {artifact.name} not found; expected "
        f"{recipe.name}/{recipe.version}/{artifact.name} in the artifact folder {folder}"
    )


def _check_recipe_digest(recipe: Recipe, artifact: Artifact, actual: str) -> None:
    if artifact.digest and base64.b64encode(bytes.fromhex(actual)).decode() != artifact.digest:
        raise ArtifactError(
            f"{recipe.name} {recipe.version}: artifact {artifact.name} does not have the digest of the recipe "
            f"(expected {artifact.digest}); build or publish it again"
        )


def _unzip(archive: Path, folder: Path, artifact: Artifact) -> Mapping[str, str]:
    """Unpack into ``<folder>/<stem of the archive>``.

    Returns:
        SHA-256 by path relative to ``folder``.
    """
    target = folder / archive.stem
    digests: dict[str, str] = {}
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if member.is_dir():
                    continue
                path = target / member.filename
                if not path.resolve().is_relative_to(target.resolve()):
                    raise ArtifactError(f"{archive.name}: member {member.filename!r} would lie outside its folder")
                opened.extract(member, target)
                _permit(path, artifact)
                digests[path.relative_to(folder).as_posix()] = _sha256(path)
    except zipfile.BadZipFile as error:
        raise ArtifactError(f"{archive.name}: expected a zip archive (Unarchive: ZIP): {error}") from error
    return digests


def _permit(path: Path, artifact: Artifact) -> None:
    mode = 0o600
    if artifact.readable == "ALL":
        mode |= 0o044
    if artifact.executable != "NONE":
        mode |= 0o500 if artifact.executable == "OWNER" else 0o555
    path.chmod(mode)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
