"""A bundle as Greengrass delivers it: in one archive or, when it is too large for one artifact, in several.

unpacked/
  bundle/                     everything, or
  bundle-0/  bundle-1/  ...   each some of the files; one that is too large even alone is split into chunks that follow
                              each other in different folders: vision.onnx.part-000, vision.onnx.part-001, ...
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam3edge.bundle.manifest import MANIFEST, Manifest, read_manifest
from sam3edge.core.errors import BundleError

_FOLDER = re.compile(r"bundle(-\d+)?")
_CHUNK = re.compile(r"(?P<name>.+)\.part-(?P<number>\d{3})")

_BLOCK = 1 << 20


def chunk_name(name: str, number: int) -> str:
    """Name of the chunk ``number`` (0..999) of the file ``name``."""
    return f"{name}.part-{number:03d}"


def find_artifacts(unpacked: Path) -> BundleArtifacts:
    """The bundle's artifacts among a component's unpacked ones.

    Raises:
        BundleError: there is none.
    """
    folders = sorted(p for p in unpacked.glob("bundle*") if p.is_dir() and _FOLDER.fullmatch(p.name))
    if not folders:
        raise BundleError(
            f"expected a folder 'bundle', or 'bundle-0' and others, in {unpacked}; deploy the bundle again"
        )
    return BundleArtifacts(tuple(folders))


@dataclass(frozen=True, slots=True)
class BundleArtifacts:
    """The folders that one bundle is spread over. They are only read."""

    folders: tuple[Path, ...]

    def manifest(self) -> Manifest:
        """The manifest, which is in one of the folders.

        Raises:
            BundleError: there is none, or it is not a manifest.
        """
        holders = [folder for folder in self.folders if (folder / MANIFEST).exists()]
        return read_manifest(holders[0] if holders else self.folders[0])

    def copy_to(self, target: Path, manifest: Manifest) -> None:
        """Put the bundle together in the empty folder ``target``, joining what is in chunks.

        Never writes more than the manifest's sizes add up to. Digests are not looked at: ``verify`` checks the copy.

        Raises:
            BundleError: a file is missing, has the wrong size, is there twice, or is not in the manifest.
            OSError: it cannot be read or written.
        """
        found = self._sort(manifest)
        for name, entry in manifest.files.items():
            chunks = found.get(name, {})
            if not chunks or sorted(chunks) != list(range(len(chunks))):
                what = f"a chunk of {name}" if chunks else name
                raise BundleError(f"{what} is missing from {self._names()}; deploy the bundle again")
            size = sum(chunk.stat().st_size for chunk in chunks.values())
            if size != entry.size:
                raise BundleError(
                    f"{name} has {size} bytes where the manifest says {entry.size}; deploy the bundle again"
                )
        for name, chunks in found.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _join([chunks[number] for number in sorted(chunks)], path)

    def _sort(self, manifest: Manifest) -> dict[str, dict[int, Path]]:
        """Every file of the bundle by its name: its chunks by number, one numbered 0 when it is whole."""
        found: dict[str, dict[int, Path]] = {}
        for folder in self.folders:
            for path in (p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()):
                inside = path.relative_to(folder).as_posix()
                name, number = _which(inside, manifest)
                if path.is_symlink() or not path.is_file() or name not in {*manifest.files, MANIFEST}:
                    raise BundleError(f"{folder.name} holds {inside!r}, which its manifest does not name")
                if number in found.setdefault(name, {}):
                    raise BundleError(f"{name} is in {self._names()} more than once; deploy the bundle again")
                found[name][number] = path
        return found

    def _names(self) -> str:
        return ", ".join(folder.name for folder in self.folders)


def _which(inside: str, manifest: Manifest) -> tuple[str, int]:
    chunk = _CHUNK.fullmatch(inside)
    if chunk is not None and inside not in manifest.files:
        return chunk["name"], int(chunk["number"])
    return inside, 0


def _join(chunks: Sequence[Path], path: Path) -> None:
    with path.open("wb") as whole:
        for chunk in chunks:
            with chunk.open("rb") as content:
                shutil.copyfileobj(content, whole, _BLOCK)
