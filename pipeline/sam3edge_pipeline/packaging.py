"""Components as Greengrass takes them: recipes with their placeholders filled in, artifacts as zip files.

    python -m sam3edge_pipeline.packaging segmenter model --bundle assets/demo-bundle --out greengrass-build

Writes the layout of ``gdk component build``: ``<out>/recipes/<name>-<version>.yaml`` and
``<out>/artifacts/<name>/<version>/*.zip``. The same inputs give the same bytes, so that a version whose content did not
change keeps its digests.
"""

from __future__ import annotations

import argparse
import logging
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import sam3edge
from sam3edge.bundle.manifest import read_manifest

log = logging.getLogger(__name__)

PACKAGE = Path(sam3edge.__file__).parent
NAMES = {"segmenter": "com.sam3edge.Segmenter", "model": "com.sam3edge.Model"}
AUTHOR = "sam3edge"
REQUIREMENTS = PACKAGE / "requirements.txt"

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member: zip files that differ in nothing else must not differ in this."""


@dataclass(frozen=True, slots=True)
class Built:
    """A built component: its name, version and recipe."""

    name: str
    version: str
    recipe: Path


def build_component(component: str, out: Path, version: str, bucket: str, bundle: Path | None = None) -> Built:
    """Build one component.

    Args:
        component: ``segmenter`` or ``model``.
        out: the build folder.
        version: of the component.
        bucket: S3 bucket of the artifacts; ``BUCKET_NAME`` stays for ``gdk component publish``.
        bundle: of the model component.
    """
    name = NAMES[component]
    artifacts = out / "artifacts" / name / version
    artifacts.mkdir(parents=True, exist_ok=True)
    code = ((f"sam3edge/{p.relative_to(PACKAGE).as_posix()}", p) for p in _sources())
    _zip(artifacts / f"sam3edge-{component}.zip", [*code, ("requirements.txt", REQUIREMENTS)])
    if bundle is not None:
        files = sorted(p for p in bundle.rglob("*") if p.is_file())
        _zip(artifacts / "bundle.zip", [(p.relative_to(bundle).as_posix(), p) for p in files])
    text = (PACKAGE / component / "recipe.yaml").read_text(encoding="utf-8")
    values = {"{COMPONENT_NAME}": name, "{COMPONENT_VERSION}": version, "{COMPONENT_AUTHOR}": AUTHOR}
    values["BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION"] = f"{bucket}/{name}/{version}"
    for placeholder, value in values.items():  # GDK's own placeholders, replaced as GDK does
        text = text.replace(placeholder, value)
    recipe = out / "recipes" / f"{name}-{version}.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(text, encoding="utf-8")
    log.info("built %s %s", name, version)
    return Built(name, version, recipe)


def _sources() -> list[Path]:
    """What a device needs of our package: code, not recipes or byte code."""
    return sorted(p for p in PACKAGE.rglob("*") if p.suffix in {".py", ".json"} and p.name != "gdk-config.json")


def _zip(path: Path, members: Iterable[tuple[str, Path]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, source in members:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with source.open("rb") as content, archive.open(entry, "w", force_zip64=True) as member:
                while piece := content.read(1 << 20):
                    member.write(piece)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("components", nargs="+", choices=sorted(NAMES))
    parser.add_argument("--out", type=Path, default=Path("greengrass-build"))
    parser.add_argument("--version", default="", help="of the components; the model's is its bundle's when left out")
    parser.add_argument("--bucket", default="BUCKET_NAME")
    parser.add_argument("--bundle", type=Path, help="of the model component")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for component in arguments.components:
        bundle = arguments.bundle if component == "model" else None
        if component == "model" and bundle is None:
            parser.error("the model component needs --bundle")
        version = arguments.version or (read_manifest(bundle).version if bundle else sam3edge.__version__)
        build_component(component, arguments.out, version, arguments.bucket, bundle)


if __name__ == "__main__":
    main()
