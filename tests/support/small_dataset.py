"""A dataset version of a few synthetic scenes, for tests of what is done with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from sam3edge_pipeline.datasets.examples import Split
from sam3edge_pipeline.datasets.labels import events_of, record_of
from sam3edge_pipeline.datasets.storage import FolderStorage
from sam3edge_pipeline.datasets.store import DatasetManifest, extended, write_dataset
from sam3edge_pipeline.synthetic import PHRASES
from sam3edge_pipeline.synthetic.examples import write_examples
from sam3edge_pipeline.synthetic.overhead import TANK

KNOWN = (*PHRASES, TANK)
LABELED_AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
SEEDS: Mapping[Split, Sequence[int]] = {
    "train": range(2_000_000, 2_000_008),
    "validation": range(2_000_020, 2_000_024),
    "test": range(2_000_042, 2_000_048),
}
"""Scenes of each split; some show a tank, some do not."""


def write_small_dataset(folder: Path, scratch: Path, phrases: Sequence[str] = KNOWN) -> DatasetManifest:
    """Store it in ``folder``; ``scratch`` gets the images first."""
    examples = [one for split, seeds in SEEDS.items() for one in write_examples(seeds, scratch, split, phrases)]
    images = {one.id: (record_of(one), one.image) for one in examples}
    events = [event for one in examples for event in events_of(one, LABELED_AT)]
    dataset = extended(None, images, events, {one.id: one.split for one in examples})
    return write_dataset(dataset, FolderStorage(folder), "scenes", "1")
