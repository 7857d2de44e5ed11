"""Libraries of the page, as their authors have published them: ``python -m sam3edge_serving.live_map.vendoring``.

``static/vendor/manifest.json`` names them with version, licence, npm's digest of the package, and the files that are
taken from it. This program fetches them anew and writes the digests down; to take another version, change it there and
run this. Needs npm, and the network.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parent / "static" / "vendor"


def read_manifest(folder: Path = VENDOR) -> dict[str, Any]:
    """By package: ``version``, ``licence``, ``integrity`` as npm writes it, and ``files``: by name, where in the
    package it is (``from``; null for one that the package lacks) and its ``sha256``."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def sha256_of(path: Path) -> str:
    """Hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(folder: Path = VENDOR) -> None:
    """Fetch every package that the manifest names, and write its files and their digests."""
    manifest = read_manifest(folder)
    for name, package in manifest.items():
        with tempfile.TemporaryDirectory() as scratch:
            archive = _download(f"{name}@{package['version']}", Path(scratch))
            digest = hashlib.sha512(archive.read_bytes()).digest()
            package["integrity"] = f"sha512-{base64.b64encode(digest).decode()}"
            with tarfile.open(archive) as members:
                for file, entry in package["files"].items():
                    target = folder / name / file
                    if entry["from"] is not None:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        content = members.extractfile(f"package/{entry['from']}")
                        assert content is not None, entry["from"]
                        target.write_bytes(content.read())
                    entry["sha256"] = sha256_of(target)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _download(package: str, folder: Path) -> Path:
    """npm checks the archive against the registry's digest."""
    command = ["npm", "pack", package, "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / done.stdout.split()[-1]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    fetch()
