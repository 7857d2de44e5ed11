"""What people write, and what is looked for then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge_serving.sentences import MAX_SENTENCES, phrases_in, singular


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("find all scratches and dents", ("scratch", "dent")),
        ("Find all scratches and dents in the image, please.", ("scratch", "dent")),
        ("Please segment every person in this picture.", ("person",)),
        ("Can you find the red cars, buildings and trees for me?", ("red car", "building", "tree")),
        ("I want you to find a car and a bus", ("car", "bus")),
        ("Are there any ships?", ("ship",)),
        ("How many cars are there in the photo?", ("car",)),
        ("where is the metal tag?", ("metal tag",)),
        ("Draw bounding boxes around the trees in this image", ("tree",)),
        ("Detect and segment all ships", ("ship",)),
        ("Find: scratch, dent", ("scratch", "dent")),
        ("find the black and white cow", ("black and white cow",)),
        ("Detect scratches on the metal tag", ("scratch on the metal tag",)),
        ("Show me people wearing glasses", ("people wearing glasses",)),
        ("You are a vision model. Find all ships. Answer in JSON.", ("ship",)),
        ("Find dents.\nReturn JSON with boxes.", ("dent",)),
        ("Find ships. Then find cars.", ("ship", "car")),
        ("Detect the following objects: car, tree", ("car", "tree")),
        ("Find cars, but not trees", ("car",)),
        ("How many cars and how many trees are there?", ("car", "tree")),
        ("Return the bounding boxes of all cars", ("car",)),
        ("Give me all cars", ("car",)),
        ("What cars are there?", ("car",)),
        ("Tell me how many cars there are", ("car",)),
        ("Find cars and return only JSON", ("car",)),
        ("Find:\n- cars\n- trees", ("car", "tree")),
        ("Find the following:\n1. car\n2. tree", ("car", "tree")),
        ("find cars in the aerial image below.", ("car",)),
        ("Where are cars and trees located?", ("car", "tree")),
        ("draw a box around each car", ("car",)),
        ("find cats and dogs as well as birds", ("cat", "dog", "bird")),
        ("Find “3 cars”", ("car",)),
        ("find Mercedes", ("Mercedes",)),
        ("Identify defects such as scratches, dents or holes", ("defect", "scratch", "dent", "hole")),
    ],
)
def test_sentences(text: str, phrases: tuple[str, ...]) -> None:
    assert phrases_in(text) == phrases


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("red car, dent\nscratch", ("red car", "dent", "scratch")),
        ("scratches", ("scratches",)),
        ("black and white cow", ("black and white cow",)),
        ("label printer", ("label printer",)),
        ("mark", ("mark",)),
        ("count", ("count",)),
        ("find", ("find",)),
        ("detector", ("detector",)),
        ("and now hole", ("and now hole",)),
        ("finding nemo, spotlights", ("finding nemo", "spotlights")),
        (" ,\n, ", ()),
        ("", ()),
    ],
)
def test_lists_stay_as_they_are(text: str, phrases: tuple[str, ...]) -> None:
    assert phrases_in(text) == phrases


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("ships", "ship"),
        ("boxes", "box"),
        ("bushes", "bush"),
        ("benches", "bench"),
        ("glasses", "glasses"),
        ("dresses", "dress"),
        ("cities", "city"),
        ("potatoes", "potato"),
        ("shoes", "shoe"),
        ("houses", "house"),
        ("buses", "bus"),
        ("children", "child"),
        ("leaves", "leaf"),
        ("grass", "grass"),
        ("cactus", "cactus"),
        ("gas", "gas"),
        ("ATMs", "ATM"),
        ("cracks in the wall", "crack in the wall"),
        ("red cars", "red car"),
        ("", ""),
    ],
)
def test_the_plural_becomes_the_singular(plural: str, one: str) -> None:
    assert singular(plural) == one


WORDS = st.sampled_from(("find", "please", "all", ",", ".", "and", "in", "the", "image", "cars", "you"))


@given(st.text(max_size=200) | st.lists(WORDS).map(" ".join))
def test_no_text_is_a_fault_of_ours(text: str) -> None:
    assert all(phrase == " ".join(phrase.split()) and phrase for phrase in phrases_in(text))


PARTS = (
    "please ", "can you please ", "find all ", "in the image ", "a, ", " ", "find.\n", "x and ", " " * 300 + "here",
    "that is ", "for me ", "but not ", "x: ", "the ", "how many ", "- ", "\n- ",
)  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("start", ["", "find ", "find all cars "])
@pytest.mark.timeout(10)  # minutes, where a pattern tries the same words in several ways
def test_a_text_as_long_as_a_sentence_may_be_is_read_at_once(start: str, part: str) -> None:
    phrases_in((start + part * MAX_SENTENCES)[: MAX_SENTENCES - 1] + "x")


def test_a_long_text_is_a_list() -> None:
    assert phrases_in("find cars " + "x" * MAX_SENTENCES) == ("find cars " + "x" * MAX_SENTENCES,)
