"""Which images are for training, validation and test, so that near-duplicates never straddle.

Images of one group belong together, and so do images whose perceptual hashes are close, and whatever these join: such
clusters are assigned as a whole.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sam3edge.core.errors import Sam3EdgeError
from sam3edge_pipeline.datasets.examples import SPLITS, Split
from sam3edge_pipeline.datasets.labels import ImageRecord

HASH_BITS = 64
MAX_DISTANCE = 16
"""Bits; beyond a quarter of the hash, unrelated images are neighbors, too."""

_ROWS = 512
"""Hashes that are compared with all others of their bucket at once."""


class SplitError(Sam3EdgeError):
    """Images cannot be split as was asked."""


@dataclass(frozen=True, slots=True)
class SplitPolicy:
    """How images are split.

    Attributes:
        shares: of the images, by split; 1 in sum.
        distance: images whose hashes differ in at most this many of 64 bits are near-duplicates.
        latest_to_test: the clusters with the latest images are for testing, as a model will meet what comes later;
            otherwise chance decides, by hash.
        seed: another seed gives another split.
    """

    shares: Mapping[Split, float] = field(default_factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1})
    distance: int = 4
    latest_to_test: bool = False
    seed: str = ""

    def __post_init__(self) -> None:
        values = [self.shares.get(split, 0.0) for split in SPLITS]
        if set(self.shares) - set(SPLITS) or min(values) < 0 or not math.isclose(sum(values), 1, abs_tol=1e-6):
            raise SplitError(f"expected shares of {', '.join(SPLITS)} that add up to 1, got {dict(self.shares)}")
        if not 0 <= self.distance <= MAX_DISTANCE:
            raise SplitError(f"expected a distance of 0 to {MAX_DISTANCE} bits, got {self.distance}")


def assign_splits(
    images: Sequence[ImageRecord], policy: SplitPolicy, assigned: Mapping[str, Split] | None = None
) -> dict[str, Split]:
    """What each image is for, by id; the same for any order of ``images``.

    Clusters are taken by their hash (the latest first where these are for testing), each for the split that lacks most
    of its share, so no split misses its share by more than the largest clusters.

    Args:
        assigned: what images of an earlier version are for. They keep it, and what joins their cluster gets it. Where a
            new image joins clusters of several splits, all are for training if one was, then for validation: what a
            model has learned from must not test it.
    """
    before = assigned or {}
    clusters = sorted(clusters_of(images, policy.distance), key=lambda cluster: _order(cluster, policy.seed))
    total = len(images)
    result: dict[str, Split] = {}
    counts: Counter[Split] = Counter()

    def assign(cluster: Sequence[ImageRecord], split: Split) -> None:
        result.update(dict.fromkeys((image.id for image in cluster), split))
        counts[split] += len(cluster)

    open_clusters = []
    for cluster in clusters:
        known = {before[image.id] for image in cluster if image.id in before}
        if known:
            assign(cluster, min(known, key=SPLITS.index))
        else:
            open_clusters.append(cluster)
    choices: tuple[Split, ...] = SPLITS
    if policy.latest_to_test:
        choices = ("train", "validation")
        open_clusters.sort(key=lambda cluster: max(image.captured_at for image in cluster))
        wanted = policy.shares.get("test", 0.0) * total
        while open_clusters and counts["test"] + len(open_clusters[-1]) / 2 <= wanted:
            assign(open_clusters.pop(), "test")
        open_clusters.sort(key=lambda cluster: _order(cluster, policy.seed))
    for cluster in open_clusters:
        assign(cluster, max(choices, key=lambda split: policy.shares.get(split, 0.0) * total - counts[split]))
    return result


def clusters_of(images: Sequence[ImageRecord], distance: int) -> list[list[ImageRecord]]:
    """Images that must stay together, each cluster by id: of one group, or near-duplicates, or joined by such."""
    parents = list(range(len(images)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first_of: dict[object, int] = {}
    hashes: dict[int, int] = {}
    for index, image in enumerate(images):
        parents[root(index)] = root(first_of.setdefault(("group", image.group), index))
        if image.perceptual_hash is not None:
            parents[root(index)] = root(hashes.setdefault(image.perceptual_hash, index))
    for one, other in neighbors(list(hashes), distance):
        parents[root(hashes[one])] = root(hashes[other])
    found: defaultdict[int, list[ImageRecord]] = defaultdict(list)
    for index, image in enumerate(images):
        found[root(index)].append(image)
    return [sorted(cluster, key=lambda image: image.id) for cluster in found.values()]


def neighbors(hashes: Sequence[int], distance: int) -> Iterator[tuple[int, int]]:
    """Pairs of different hashes that differ in at most ``distance`` bits; a pair may occur twice.

    Two such hashes agree in at least one of ``distance + 1`` bands of bits (the pigeonhole principle), so only hashes
    that share a band are compared.
    """
    values = np.array(hashes, np.uint64)
    bounds = np.linspace(0, HASH_BITS, distance + 2).astype(int)
    for low, high in itertools.pairwise(bounds):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(values[order], starts):
            yield from _close(bucket, distance)


def _close(bucket: npt.NDArray[np.uint64], distance: int) -> Iterator[tuple[int, int]]:
    for start in range(0, len(bucket), _ROWS) if len(bucket) > 1 else ():
        rows = bucket[start : start + _ROWS]
        different = _ones(rows[:, None] ^ bucket[None, start:])
        for i, j in zip(*np.nonzero(different <= distance), strict=True):
            if i < j:
                yield int(rows[i]), int(bucket[start + j])


def _ones(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Bits that are set (Warren, Hacker's Delight, figure 5-2); NumPy 1 has no ``bitwise_count``."""
    c = np.uint64
    x = x - ((x >> c(1)) & c(0x5555555555555555))
    x = (x & c(0x3333333333333333)) + ((x >> c(2)) & c(0x3333333333333333))
    x = (x + (x >> c(4))) & c(0x0F0F0F0F0F0F0F0F)
    return np.asarray((x * c(0x0101010101010101)) >> c(56))


def _order(cluster: Sequence[ImageRecord], seed: str) -> bytes:
    """By chance, and the same every time: the cluster's first image says where it comes."""
    return hashlib.sha256(f"{seed}\0{cluster[0].id}".encode()).digest()
