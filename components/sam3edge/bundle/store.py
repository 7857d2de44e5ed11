"""The bundles of a device, and which of them is current.

store/
  bundles/<name>-<version>-<digest>[-<signer>]/    verified copies
  current -> bundles/...    switched by one rename, so that readers see the old bundle or the new one
  engine-cache/             what TensorRT has built from the bundles' graphs (``engines/cache.py``)
  proofs.json               which provider runs which bundle on this machine (``bundle/proof.py``)
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

from sam3edge.bundle.artifacts import BundleArtifacts
from sam3edge.bundle.manifest import Manifest, read_manifest
from sam3edge.core.errors import BundleError
from sam3edge.durable import make_folder, sync_folder, sync_tree

logger = logging.getLogger(__name__)


class Store:
    """A folder that the model component writes and the segmenter reads.

    Args:
        root: created when it is not there.
        keep: this many bundles before the current one stay, to go back to.
    """

    def __init__(self, root: Path, keep: int = 1) -> None:
        self._root = root
        self._keep = keep

    @property
    def root(self) -> Path:
        """Where the store is."""
        return self._root

    @property
    def engine_cache(self) -> Path:
        """Where engines that are built from the bundles' graphs are kept; it need not exist."""
        return self._root / "engine-cache"

    @property
    def proofs(self) -> Path:
        """The file of what was proven; it need not exist."""
        return self._root / "proofs.json"

    def install(self, artifacts: BundleArtifacts, manifest: Manifest) -> Path:
        """Copy a bundle into the store, next to the others; the current one stays current.

        The caller verifies the copy that is returned, not the original, so that nothing can change in between.

        Raises:
            BundleError: it is not whole, or there is no room for it.
        """
        target = self._place(manifest)
        if not target.exists():
            self._copy(artifacts, manifest, target)
        return target

    def holds(self, manifest: Manifest) -> bool:
        """Whether a copy of this bundle is there, good or not."""
        return self._place(manifest).exists()

    def find(self, digest: str) -> Path | None:
        """The copy of the bundle that has this digest, good or not; None when there is none. The one that was current
        last is taken of several, which other keys have signed."""
        mark = digest.removeprefix("sha256:")[:12]
        found = [path for path in (self._root / "bundles").glob(f"*-{mark}*") if self._is(path, digest)]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    def exchange(self, artifacts: BundleArtifacts, manifest: Manifest) -> Path:
        """As ``install``, in place of a copy that is there and no longer good; the new one is whole before the old one
        goes. A segmenter that has loaded the old one keeps its open files, and loads the new one when it sees it.

        Raises:
            BundleError: see ``install``; the old one stays, for a damaged bundle may be better than none.
        """
        target = self._place(manifest)
        self._copy(artifacts, manifest, target, replaces=True)
        return target

    def activate(self, bundle: Path) -> None:
        """Make a bundle of the store the current one, in one step, and drop old ones and unfinished copies."""
        link = self._root / ".current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(bundle.relative_to(self._root))
        link.replace(self._root / "current")
        sync_folder(self._root)  # before old bundles are removed: no power cut may leave it pointing at one of them
        os.utime(bundle)
        self._prune(self._keep)

    def discard(self, bundle: Path) -> None:
        """Remove a bundle that failed its checks, unless it is the current one."""
        if bundle != self.current():
            shutil.rmtree(bundle, ignore_errors=True)

    def current(self) -> Path | None:
        """The folder of the current bundle, or None before the first activation."""
        try:
            return self._root / (self._root / "current").readlink()
        except OSError:
            return None

    def _is(self, path: Path, digest: str) -> bool:
        try:
            return read_manifest(path).digest() == digest
        except BundleError:
            return False

    def _place(self, manifest: Manifest) -> Path:
        return self._root / "bundles" / _name(manifest)

    def _copy(self, artifacts: BundleArtifacts, manifest: Manifest, target: Path, *, replaces: bool = False) -> None:
        """Make ``target``, whole or not at all."""
        try:
            make_folder(target.parent)
            self._make_room(sum(entry.size for entry in manifest.files.values()))
            staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=target.parent))
            try:
                staging.chmod(0o755)  # the segmenter may run as another user
                artifacts.copy_to(staging, manifest)
                sync_tree(staging)
                if replaces and target.exists():
                    old = Path(tempfile.mkdtemp(prefix=".replaced-", dir=target.parent))
                    target.rename(old / "old")
                staging.rename(target)
                sync_folder(target.parent)
                self._sweep(".replaced-*")
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        except OSError as error:
            raise BundleError(f"the bundle cannot be copied into the store {self._root}: {error}") from error

    def _make_room(self, needed: int) -> None:
        self._sweep(".staging-*")
        if self._free() < needed:
            self._prune(keep=0)  # only what nobody uses: the current bundle stays
        free = self._free()
        if free < needed:
            raise BundleError(
                f"the bundle takes {needed / 1e6:.0f} MB beside the current one, and the store {self._root} has "
                f"{free / 1e6:.0f} MB left; free {(needed - free) / 1e6:.0f} MB and deploy the bundle again"
            )

    def _free(self) -> int:
        return shutil.disk_usage(self._root).free

    def _sweep(self, unfinished: str) -> None:
        """Remove what was cut off; only one process at a time writes the store."""
        for stale in (self._root / "bundles").glob(unfinished):
            shutil.rmtree(stale, ignore_errors=True)

    def _prune(self, keep: int) -> None:
        self._sweep(".*")
        current = self.current()
        old = [p for p in (self._root / "bundles").iterdir() if p.is_dir() and p != current]
        for path in sorted(old, key=lambda p: p.stat().st_mtime, reverse=True)[keep:]:
            logger.info("removing the old bundle %s", path.name)
            shutil.rmtree(path, ignore_errors=True)


def _name(manifest: Manifest) -> str:
    """The signer is part of it: the same bundle signed with another key is another copy to verify."""
    name = f"{manifest.name}-{manifest.version}-{manifest.digest().removeprefix('sha256:')[:12]}"
    return name if manifest.signature is None else f"{name}-{manifest.signature.key_id}"
