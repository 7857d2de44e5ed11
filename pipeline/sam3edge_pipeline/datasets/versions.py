"""A dataset and what is new: the next version, with every image's split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sam3edge_pipeline.datasets.labels import ImageRecord, LabelEvent
from sam3edge_pipeline.datasets.splits import SplitPolicy, assign_splits
from sam3edge_pipeline.datasets.store import Dataset, extended


def continued(
    parent: Dataset | None,
    images: Mapping[str, tuple[ImageRecord, Path]],
    events: Iterable[LabelEvent],
    policy: SplitPolicy,
) -> Dataset:
    """The parent's images and labels, and new ones; images that the parent has keep what they are for.

    Raises:
        DatasetError: an event of an image that is not given.
    """
    before = parent.splits if parent is not None else {}
    known = {**images, **(parent.images if parent is not None else {})}
    records = [record for record, _ in known.values()]
    return extended(parent, images, events, assign_splits(records, policy, before))


def split_again(dataset: Dataset, policy: SplitPolicy) -> Dataset:
    """The same images and labels, split as if they were new. A model that has learned from an earlier version may have
    seen what now tests it."""
    splits = assign_splits([record for record, _ in dataset.images.values()], policy)
    return Dataset(dataset.images, dataset.events, splits)
