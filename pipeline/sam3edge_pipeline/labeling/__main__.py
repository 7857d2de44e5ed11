"""The command line: ``python -m sam3edge_pipeline.labeling``.

    propose UPLOADS --queue FOLDER --job NAME      uploaded examples, to be reviewed
    review FOLDER --reviewer NAME --bundle BUNDLE  a local page; its address is printed
    store FOLDER --out PLACE --name line-7 --version 1

Exit status: 0 done; 2 something given is wrong, which the last line of the output names.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sam3edge.core.ports import InteractiveSegmenter
from sam3edge.core.types import ModelFiles
from sam3edge.engines.text_normalization import normalize_text
from sam3edge.terminal import errors_in_words, say
from sam3edge_pipeline.datasets.formats.annotations import FormatError
from sam3edge_pipeline.datasets.splits import SplitPolicy
from sam3edge_pipeline.datasets.storage import storage_at
from sam3edge_pipeline.datasets.store import Source, open_dataset, write_dataset
from sam3edge_pipeline.datasets.versions import continued
from sam3edge_pipeline.labeling.backends import LabelingRequest, ReviewBackend, from_uploads
from sam3edge_pipeline.labeling.review.desk import ReviewDesk
from sam3edge_pipeline.labeling.review.queue import ReviewQueue
from sam3edge_pipeline.labeling.review.server import ReviewServer
from sam3edge_pipeline.labeling.uploads import uploads_in

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def propose(
    uploads: Annotated[Path, typer.Argument(help="Copy of the bucket's hard-examples.")],
    queue: Annotated[Path, typer.Option(help="Folder of queues; each job has one in it.")],
    job: Annotated[str, typer.Option(help="Name of the labeling job.")],
    phrase: Annotated[
        list[str] | None, typer.Option(help="To be decided in every image; may be repeated.", show_default=False)
    ] = None,
) -> None:
    """Put uploaded examples into a review queue, with what device or cloud has found."""
    with errors_in_words():
        found = {one.image.record.id: one for one in uploads_in(uploads, _passed_over)}
        examples = {image: one.example for image, one in found.items()}
        phrases = tuple(dict.fromkeys(map(normalize_text, phrase or ())))
        request = LabelingRequest(job, tuple(one.image for one in found.values()), phrases)
        backend = ReviewBackend(queue, from_uploads(examples))
        backend.start(request)
        status = backend.status(request)
        say(f"{escape(str(queue / job))}: {status.total} images, {status.labeled} of them are reviewed")


@app.command()
def review(
    queue: Annotated[Path, typer.Argument(help="Folder of one queue.")],
    reviewer: Annotated[str, typer.Option(help="Name that the labels carry.")],
    bundle: Annotated[
        Path | None, typer.Option(help="Model that outlines what is clicked.", show_default="no clicks")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 for any that is free.")] = 0,
) -> None:
    """Review on a local page, until Ctrl+C."""
    ends = {signal.SIGINT, signal.SIGTERM}
    # blocked in all threads, those of the model included, so that it is this one that waits for them
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with errors_in_words(), _segmenter(bundle) as segmenter:
        desk = ReviewDesk(ReviewQueue(queue), reviewer, segmenter, lambda: datetime.now(timezone.utc))
        server = ReviewServer(desk, port)
        server.start()
        try:
            say(f"open {server.address} on this computer; Ctrl+C ends the review, nothing is lost")
            signal.sigwait(ends)
        finally:
            server.close()


@app.command()
def store(
    queue: Annotated[Path, typer.Argument(help="Folder of one queue.")],
    out: Annotated[str, typer.Option(help="Place of the new dataset version: a folder or s3://bucket/prefix.")],
    name: Annotated[str, typer.Option(help="Of the dataset.")],
    version: Annotated[str, typer.Option(help="Of the dataset, such as 1 or 1.2.0.")],
    parent: Annotated[str, typer.Option(help="Place of the version that is continued.", show_default=False)] = "",
    cache: Annotated[Path, typer.Option(help="Folder of files that are fetched from S3.")] = Path(".datasets"),
) -> None:
    """What was reviewed so far, as a dataset version."""
    with errors_in_words():
        reviewed = list(ReviewQueue(queue).events())
        images = {record.id: (record, file) for record, file, _ in reviewed}
        events = [event for _, _, said in reviewed for event in said]
        sources = [Source(kind="review", name=event.reviewer, sha256=event.source) for event in events]
        before = open_dataset(parent, cache) if parent else None
        made = continued(before, images, events, SplitPolicy())
        manifest = write_dataset(
            made, storage_at(out, cache), name, version, before.manifest if before else None, sources
        )
        counts = ", ".join(f"{count} {split}" for split, count in manifest.examples.items())
        say(f"{escape(manifest.name)} {manifest.version}: {counts}; {manifest.digest}")


def _passed_over(error: FormatError) -> None:
    say(f"passed over: {escape(str(error))}")


@contextmanager
def _segmenter(bundle: Path | None) -> Iterator[InteractiveSegmenter | None]:
    """What answers clicks, as long as the review lasts."""
    if bundle is None:
        yield None
        return
    from sam3edge.bundle.verify import model_files, verify
    from sam3edge.engines.open_engine import open_engine

    files: ModelFiles = model_files(bundle, verify(bundle, None))
    engine = open_engine(files)
    try:
        yield engine.interactive_segmenter()
    finally:
        engine.close()


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
