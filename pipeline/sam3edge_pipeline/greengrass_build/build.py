"""Components as Greengrass takes them: recipes with their placeholders filled in, artifacts as zip files.

    python -m sam3edge_pipeline.greengrass_build.build segmenter model --bundle assets/demo-bundle --out build

Writes the layout of ``gdk component build``: ``<out>/recipes/<name>-<version>.yaml`` and
``<out>/artifacts/<name>/<version>/*.zip``. The same inputs give the same bytes, so that a version whose content did not
change keeps its digests.

With ``--gdk``, as the ``custom_build_command`` of ``gdk-config.json``, names are those that ``gdk component publish``
looks for: ``recipes/recipe.yaml``, and ``NEXT_PATCH`` where it puts the version that it works out itself.

A bundle that is larger than Greengrass takes as one artifact is spread over ``bundle-0.zip``, ``bundle-1.zip``, ...,
and every one of them is in the recipe; the model component puts it together again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import sam3edge
from sam3edge.bundle.manifest import Manifest, read_manifest, sha256_of
from sam3edge_pipeline.greengrass_build.archives import Member, spread, whole_file, write_zip

logger = logging.getLogger(__name__)

PACKAGE = Path(sam3edge.__file__).parent
NAMES = {"segmenter": "com.sam3edge.Segmenter", "model": "com.sam3edge.Model", "uploader": "com.sam3edge.Uploader"}
AUTHOR = "sam3edge"
REQUIREMENTS = PACKAGE / "requirements.txt"

ARTIFACT_LIMIT = 1_900_000_000
"""Bytes of one artifact. Greengrass takes 2 GB; the rest is for whoever reads that as less."""

COMPONENT_LIMIT = 2_000_000_000
"""Some accounts count the artifacts of a component version together."""

RECIPE_LIMIT = 16_000
"""Bytes of a recipe, by the Greengrass Development Kit's own check."""

_BUNDLE = "bundle.zip"

GDK_VERSION = "NEXT_PATCH"
"""The version in ``gdk-config.json``."""


@dataclass(frozen=True, slots=True)
class Built:
    """A built component: its name, version and recipe."""

    name: str
    version: str
    recipe: Path


def build_component(
    component: str,
    out: Path,
    version: str,
    bucket: str,
    bundle: Path | None = None,
    artifact_limit: int = ARTIFACT_LIMIT,
    recipe_name: str = "",
) -> Built:
    """Build one component.

    Args:
        component: ``segmenter``, ``model`` or ``uploader``.
        out: the build folder.
        version: of the component.
        bucket: S3 bucket of the artifacts; ``BUCKET_NAME`` stays for ``gdk component publish``.
        bundle: of the model component.
        artifact_limit: bytes of one artifact at most.
        recipe_name: of the recipe's file; by default ``<name>-<version>.yaml``.

    Raises:
        ValueError: the limit is so small that the recipe could not name all artifacts.
    """
    name = NAMES[component]
    artifacts = out / "artifacts" / name / version
    artifacts.mkdir(parents=True, exist_ok=True)
    for old in artifacts.glob("*.zip"):  # an earlier build may have had more of them
        old.unlink()
    code = [whole_file(f"sam3edge/{p.relative_to(PACKAGE).as_posix()}", p) for p in _sources()]
    write_zip(artifacts / f"sam3edge-{component}.zip", [*code, whole_file("requirements.txt", REQUIREMENTS)])
    archives = {} if bundle is None else bundle_archives(bundle, artifact_limit)
    _write_bundle(archives, artifacts)
    recipe = out / "recipes" / (recipe_name or f"{name}-{version}.yaml")
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(recipe_text(component, version, bucket, tuple(archives)), encoding="utf-8")
    logger.info("built %s %s", name, version)
    return Built(name, version, recipe)


def recipe_text(component: str, version: str, bucket: str, archives: Sequence[str] = ()) -> str:
    """The recipe of a component with its placeholders filled in, as YAML.

    Args:
        bucket: S3 bucket of the artifacts.
        archives: names of the artifacts of the model component's bundle, see ``bundle_archives``.

    Raises:
        ValueError: there are so many archives that the recipe could not name them.
    """
    name = NAMES[component]
    template = yaml.safe_load((PACKAGE / component / "recipe.yaml").read_text(encoding="utf-8"))
    values = {"{COMPONENT_NAME}": name, "{COMPONENT_VERSION}": version, "{COMPONENT_AUTHOR}": AUTHOR}
    values["BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION"] = f"{bucket}/{name}/{version}"
    filled = _fill(template, values)
    for manifest in filled["Manifests"] if archives else ():
        manifest["Artifacts"] = _name_bundle(manifest["Artifacts"], archives)
    text: str = yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, width=RECIPE_LIMIT)
    if len(text.encode()) > RECIPE_LIMIT:
        raise ValueError(
            f"the recipe of {name} has {len(text.encode())} bytes with {len(archives)} artifacts of the bundle, and "
            f"Greengrass takes {RECIPE_LIMIT}; raise the artifact limit"
        )
    return text


def bundle_archives(bundle: Path, artifact_limit: int = ARTIFACT_LIMIT) -> dict[str, tuple[Member, ...]]:
    """The artifacts of a bundle: by name what is in each. It depends on the sizes of its files alone.

    Raises:
        ValueError: the limit is too small for any content.
    """
    files = sorted(p for p in bundle.rglob("*") if p.is_file())
    archives = spread((whole_file(p.relative_to(bundle).as_posix(), p) for p in files), artifact_limit)
    names = [_BUNDLE] if len(archives) == 1 else [f"bundle-{i}.zip" for i in range(len(archives))]
    return dict(zip(names, archives, strict=True))


def content_digest(component: str, bundle: Manifest | None = None, artifact_limit: int = ARTIFACT_LIMIT) -> str:
    """Identity of what ``build_component`` would build, ``sha256:<hex>``, whatever version it gets.

    Args:
        bundle: manifest of the model component's bundle, which names its files by their digests.
    """
    signature = None if bundle is None or bundle.signature is None else bundle.signature.model_dump(mode="json")
    content = {
        "code": {p.relative_to(PACKAGE).as_posix(): sha256_of(p) for p in _sources()},
        "requirements": sha256_of(REQUIREMENTS),
        "recipe": sha256_of(PACKAGE / component / "recipe.yaml"),
        "bundle": None if bundle is None else bundle.digest(),
        "signature": signature,
        "artifact_limit": None if bundle is None else artifact_limit,
    }
    return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write_bundle(archives: Mapping[str, Sequence[Member]], artifacts: Path) -> None:
    for name, members in archives.items():
        write_zip(artifacts / name, members)
    total = sum((artifacts / name).stat().st_size for name in archives)
    if total > COMPONENT_LIMIT:
        logger.warning(
            "the bundle's %d artifacts have %.1f GB together; if your account's quota counts the artifacts of a "
            "component version together, ask for a higher one or export in half precision or without text encoder",
            len(archives),
            total / 1e9,
        )


def _fill(node: Any, values: Mapping[str, str]) -> Any:
    """A recipe with GDK's placeholders replaced, as GDK does it."""
    if isinstance(node, dict):
        return {_fill(key, values): _fill(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(item, values) for item in node]
    if isinstance(node, str):
        for placeholder, value in values.items():
            node = node.replace(placeholder, value)
    return node


def _name_bundle(artifacts: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The artifacts of a manifest, with every archive of the bundle in place of ``bundle.zip``."""
    named = []
    for artifact in artifacts:
        folder, _, file = artifact["Uri"].rpartition("/")
        named += [{**artifact, "Uri": f"{folder}/{name}"} for name in (names if file == _BUNDLE else [file])]
    return named


def _sources() -> list[Path]:
    """What a device needs of our package: code, not recipes or byte code."""
    return sorted(p for p in PACKAGE.rglob("*") if p.suffix in {".py", ".json"} and p.name != "gdk-config.json")


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("components", nargs="+", choices=sorted(NAMES))
    parser.add_argument("--out", type=Path, default=Path("greengrass-build"))
    parser.add_argument("--version", default="", help="of the components; the model's is its bundle's when left out")
    parser.add_argument("--bucket", default="BUCKET_NAME")
    parser.add_argument("--bundle", type=Path, help="of the model component")
    parser.add_argument(
        "--artifact-limit", type=int, default=ARTIFACT_LIMIT, metavar="BYTES", help="a larger bundle is split"
    )
    parser.add_argument("--gdk", action="store_true", help="for gdk component publish, one component at a time")
    arguments = parser.parse_args()
    if arguments.gdk and (arguments.version or len(arguments.components) > 1):
        parser.error("--gdk builds one component, whose version is in gdk-config.json")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for component in arguments.components:
        bundle = arguments.bundle if component == "model" else None
        if component == "model" and bundle is None:
            parser.error("the model component needs --bundle")
        version = arguments.version or (read_manifest(bundle).version if bundle else sam3edge.__version__)
        version, recipe_name = (GDK_VERSION, "recipe.yaml") if arguments.gdk else (version, "")
        build_component(
            component, arguments.out, version, arguments.bucket, bundle, arguments.artifact_limit, recipe_name
        )


if __name__ == "__main__":
    main()
