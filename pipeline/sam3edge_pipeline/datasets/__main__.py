"""The command line: ``python -m sam3edge_pipeline.datasets``.

    import LABELS --format coco --images FOLDER --out PLACE --name line-7 --version 1
    show PLACE
    split PLACE --out PLACE --version 2

A PLACE is a folder or ``s3://bucket/prefix``. Exit status: 0 done; 2 something given is wrong, which the last line of
the output names.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sam3edge.hard_examples.perceptual_hash import dhash
from sam3edge.terminal import errors_in_words, say
from sam3edge_pipeline.datasets.examples import SPLITS
from sam3edge_pipeline.datasets.formats import FORMATS, read_annotations
from sam3edge_pipeline.datasets.importing import import_labels
from sam3edge_pipeline.datasets.splits import SplitPolicy
from sam3edge_pipeline.datasets.storage import storage_at
from sam3edge_pipeline.datasets.store import Dataset, DatasetManifest, open_dataset, write_dataset
from sam3edge_pipeline.datasets.versions import continued, split_again

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

CacheOption = Annotated[Path, typer.Option(help="Folder of files that are fetched from S3.")]
SharesOption = Annotated[
    tuple[float, float, float], typer.Option(help="Shares of the images for training, validation and testing.")
]
DistanceOption = Annotated[
    int, typer.Option(min=0, max=16, help="Images whose 64-bit hashes differ in at most this many bits stay together.")
]
LatestOption = Annotated[bool, typer.Option(help="The latest images are for testing; by default chance decides.")]
SeedOption = Annotated[str, typer.Option(help="Another seed gives another split.")]

CACHE = Path(".datasets")
SHARES = (0.8, 0.1, 0.1)


@app.command("import")
def import_(
    labels: Annotated[Path, typer.Argument(help="Label file.")],
    written_as: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")],
    images: Annotated[Path, typer.Option(help="Folder of the images, which may have folders.")],
    out: Annotated[str, typer.Option(help="Place of the new version.")],
    name: Annotated[str, typer.Option(help="Of the dataset.")],
    version: Annotated[str, typer.Option(help="Of the dataset, such as 1 or 1.2.0.")],
    parent: Annotated[str, typer.Option(help="Place of the version that is continued.", show_default=False)] = "",
    exhaustive: Annotated[
        list[str] | None,
        typer.Option(
            help="Phrase of which every object is outlined in every image; may be repeated.",
            show_default="every category of the file that has an object",
        ),
    ] = None,
    pre_labels: Annotated[
        bool, typer.Option("--pre-labels", help="A model has proposed them: no phrase is exhaustive, none approved.")
    ] = False,
    reviewer: Annotated[str, typer.Option(help="Who vouches for them, where the file does not say.")] = "",
    shares: SharesOption = SHARES,
    distance: DistanceOption = 4,
    latest_to_test: LatestOption = False,
    seed: SeedOption = "",
    cache: CacheOption = CACHE,
) -> None:
    """Labels of any tool and their images as a dataset version."""
    if written_as not in FORMATS:
        raise typer.BadParameter(f"expected one of {', '.join(FORMATS)}", param_hint="--format")
    if pre_labels and exhaustive:
        raise typer.BadParameter("only one of them", param_hint="--exhaustive and --pre-labels")
    with errors_in_words():
        annotations = read_annotations(labels, written_as)
        complete = () if pre_labels else exhaustive
        read = import_labels(
            annotations,
            labels,
            images,
            exhaustive=complete,
            approved=not pre_labels,
            reviewer=reviewer,
            image_hash=dhash,
        )
        before = open_dataset(parent, cache) if parent else None
        made = continued(before, read.images, read.events, _policy(shares, distance, latest_to_test, seed))
        manifest = write_dataset(
            made, storage_at(out, cache), name, version, before.manifest if before else None, [read.source]
        )
        _say_manifest(manifest)


@app.command()
def show(
    place: Annotated[str, typer.Argument(help="Place of a version.")],
    as_of: Annotated[
        datetime | None, typer.Option(help="Labels as they were at this time, UTC.", show_default="now")
    ] = None,
    cache: CacheOption = CACHE,
) -> None:
    """Check a version, and say what is in it."""
    with errors_in_words():
        opened = open_dataset(place, cache)
        assert opened.manifest is not None
        _say_manifest(opened.manifest)
        _say_phrases(opened, as_of.replace(tzinfo=timezone.utc) if as_of is not None else None)


@app.command()
def split(
    place: Annotated[str, typer.Argument(help="Place of a version.")],
    out: Annotated[str, typer.Option(help="Place of the new version.")],
    version: Annotated[str, typer.Option(help="Of the new version.")],
    shares: SharesOption = SHARES,
    distance: DistanceOption = 4,
    latest_to_test: LatestOption = False,
    seed: SeedOption = "",
    cache: CacheOption = CACHE,
) -> None:
    """Split all images as if they were new. What a model has learned from may then test it: train it from its start."""
    with errors_in_words():
        before = open_dataset(place, cache)
        assert before.manifest is not None
        made = split_again(before, _policy(shares, distance, latest_to_test, seed))
        _say_manifest(write_dataset(made, storage_at(out, cache), before.manifest.name, version, before.manifest))


def _policy(shares: tuple[float, float, float], distance: int, latest_to_test: bool, seed: str) -> SplitPolicy:
    return SplitPolicy(dict(zip(SPLITS, shares, strict=True)), distance, latest_to_test, seed)


def _say_manifest(manifest: DatasetManifest) -> None:
    counts = ", ".join(f"{count} {split}" for split, count in manifest.examples.items())
    say(f"{escape(manifest.name)} {manifest.version}: {counts}; {manifest.digest}")
    if manifest.parent is not None:
        say(f"continues {escape(manifest.parent.name)} {manifest.parent.version}")
    for source in manifest.sources:
        say(f"from the {source.kind} {escape(source.name)}, sha256:{source.sha256}")


def _say_phrases(opened: Dataset, as_of: datetime | None) -> None:
    examples = opened.as_of(as_of)
    objects = Counter(one.phrase for example in examples for one in example.objects)
    absent = Counter(phrase for example in examples for phrase in example.absent)
    for phrase in sorted(objects | absent):
        say(f"  {escape(phrase)}: {objects[phrase]} objects, absent from {absent[phrase]} images")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
