"""Splits: nothing that is alike straddles, shares hold, and what was trained on never tests."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge_pipeline.datasets.examples import SPLITS
from sam3edge_pipeline.datasets.labels import ImageRecord
from sam3edge_pipeline.datasets.splits import SplitError, SplitPolicy, assign_splits, clusters_of, neighbors
from support.labeled_images import at, record


def image(number: int, group: str = "", perceptual_hash: int | None = None) -> ImageRecord:
    one = record(Path("a.png"), f"{number:064x}", group or f"group {number}", perceptual_hash=perceptual_hash)
    return replace(one, captured_at=at(0) + timedelta(minutes=number))


IMAGES = st.lists(
    st.tuples(st.integers(0, 8), st.none() | st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 3, 7, 15, 2**64 - 1])),
    min_size=1,
    max_size=40,
).map(lambda rows: [image(i, f"group {g}", h) for i, (g, h) in enumerate(rows)])


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=30), st.integers(0, 16), st.integers(0, 2**64 - 1))
def test_neighbors_are_those_that_comparing_all_finds(hashes: list[int], distance: int, near: int) -> None:
    rng = random.Random(near)
    hashes = list(
        dict.fromkeys([*hashes, near, *(near ^ sum({1 << rng.randrange(64) for _ in range(n)}) for n in range(20))])
    )
    expected = {frozenset((a, b)) for a in hashes for b in hashes if a != b and (a ^ b).bit_count() <= distance}
    assert {frozenset(pair) for pair in neighbors(hashes, distance)} == expected


@given(IMAGES, st.integers(0, 6), st.booleans(), st.randoms(use_true_random=False))
def test_what_is_alike_does_not_straddle(
    images: list[ImageRecord], distance: int, latest: bool, rng: random.Random
) -> None:
    policy = SplitPolicy({"train": 0.6, "validation": 0.2, "test": 0.2}, distance, latest)
    splits = assign_splits(images, policy)
    for one in images:
        for other in images:
            near = (
                None not in (one.perceptual_hash, other.perceptual_hash)
                and ((one.perceptual_hash or 0) ^ (other.perceptual_hash or 0)).bit_count() <= distance
            )
            if one.group == other.group or near:
                assert splits[one.id] == splits[other.id]
    shuffled = list(images)
    rng.shuffle(shuffled)
    assert assign_splits(shuffled, policy) == splits


@given(IMAGES)
def test_shares_hold_up_to_the_largest_clusters(images: list[ImageRecord]) -> None:
    shares = {"train": 0.6, "validation": 0.3, "test": 0.1}
    splits = assign_splits(images, SplitPolicy(shares))  # type: ignore[arg-type]
    largest = max(len(cluster) for cluster in clusters_of(images, 4))
    for split in SPLITS:
        count = sum(1 for chosen in splits.values() if chosen == split)
        assert abs(count - shares[split] * len(images)) <= 2 * largest


def test_the_latest_are_for_testing_when_asked() -> None:
    images = [image(n) for n in range(20)]
    splits = assign_splits(images, SplitPolicy(latest_to_test=True))
    assert [one.id for one in images if splits[one.id] == "test"] == [images[18].id, images[19].id]
    assert set(splits.values()) == set(SPLITS)


def test_the_seed_makes_another_split() -> None:
    images = [image(n) for n in range(50)]
    assert assign_splits(images, SplitPolicy()) != assign_splits(images, SplitPolicy(seed="other"))


class TestGrowing:
    def test_images_keep_what_they_are_for(self) -> None:
        images = [image(n) for n in range(40)]
        before = assign_splits(images, SplitPolicy())
        after = assign_splits([*images, *(image(n) for n in range(40, 90))], SplitPolicy(), before)
        assert {one.id: after[one.id] for one in images} == before

    def test_near_duplicates_of_test_images_are_for_testing(self) -> None:
        old, new = image(1, perceptual_hash=0b1111), image(2, perceptual_hash=0b0111)
        assert assign_splits([old, new], SplitPolicy(), {old.id: "test"})[new.id] == "test"

    def test_what_was_trained_on_never_tests(self) -> None:
        trained, tested = image(1, perceptual_hash=0b11110000), image(2, perceptual_hash=0b00001111)
        between = image(3, perceptual_hash=0b11111111)
        before = {trained.id: "train", tested.id: "test"}
        splits = assign_splits([trained, tested, between], SplitPolicy(), before)  # type: ignore[arg-type]
        assert set(splits.values()) == {"train"}


@pytest.mark.parametrize(
    "shares", [{"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": 0.5, "other": 0.5}, {"train": float("nan")}]
)
def test_shares_must_add_up(shares: dict[str, float]) -> None:
    with pytest.raises(SplitError, match="add up to 1"):
        SplitPolicy(shares)  # type: ignore[arg-type]


def test_distances_are_bounded() -> None:
    with pytest.raises(SplitError, match="distance"):
        SplitPolicy(distance=17)
