"""What a model is judged by: a dataset's examples, apart by split, and what identifies them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely

from sam3edge_pipeline.datasets.examples import Example, Split
from sam3edge_pipeline.datasets.store import Dataset, open_dataset
from sam3edge_pipeline.evaluation.document import DatasetIdentity
from sam3edge_pipeline.synthetic.examples import TEST_SEEDS, VALIDATION_SEEDS, write_examples

SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class Judging:
    """What a model is judged by.

    Attributes:
        identity: which images.
        examples: of one split.
        validation: the validation split; empty when that is the one judged by, for thresholds that were chosen on the
            very images that they are tried on say nothing.
    """

    identity: DatasetIdentity
    examples: tuple[Example, ...]
    validation: tuple[Example, ...]


def read_dataset(name: str, split: Split, images: int | None, scratch: Path) -> Judging:
    """The one place where the command gets its examples.

    Args:
        name: ``synthetic``, the held-out scenes; else a dataset version, its folder or ``s3://bucket/prefix``.
        split: that the figures are of.
        images: of each split at most, the first ones; all when None.
        scratch: where images that are not files yet are written; needed for as long as the examples are.

    Raises:
        ValueError: it has no such split.
        DatasetError: there is no such dataset, or it is not what was stored.
    """
    if name != SYNTHETIC:
        return _stored(open_dataset(name, scratch), split, images)
    if split == "train":
        raise ValueError("expected the split test or validation of the held-out scenes, got train")
    validation = write_examples(VALIDATION_SEEDS[:images], scratch, "validation")
    test = write_examples(TEST_SEEDS[:images], scratch, "test") if split == "test" else ()
    examples, others = (test, validation) if split == "test" else (validation, ())
    return Judging(DatasetIdentity(SYNTHETIC, digest_of(examples), split), examples, others)


def _stored(dataset: Dataset, split: Split, images: int | None) -> Judging:
    def some(wanted: Split) -> tuple[Example, ...]:
        return tuple(one for one in dataset.examples if one.split == wanted)[:images]

    examples = some(split)
    if not examples:
        raise ValueError(f"expected a dataset with examples of the split {split}, got none; choose another split")
    others = some("validation") if split != "validation" else ()
    assert dataset.manifest is not None  # it was opened
    name = f"{dataset.manifest.name} {dataset.manifest.version}"
    return Judging(DatasetIdentity(name, digest_of(examples), split), examples, others)


def digest_of(examples: Sequence[Example]) -> str:
    """``sha256:<hex>`` of all that figures depend on: images, labels and splits, in whatever order they are."""
    described = sorted(_describe(one) for one in examples)
    return "sha256:" + hashlib.sha256("\n".join(described).encode()).hexdigest()


def _describe(example: Example) -> str:
    objects = sorted([one.phrase, one.ignored, shapely.to_wkb(one.outline, hex=True)] for one in example.objects)
    return json.dumps([example.id, example.split, sorted(example.exhaustive), objects])
