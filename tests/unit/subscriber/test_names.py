"""Names from outside as parts of paths, topics and identifiers."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from sam3edge.subscriber.names import MAX_LENGTH, camera_id, identifier, one_line, readable, topic_level

SAFE = re.compile(r"[A-Za-z0-9_-]{1,40}")
ANY = st.text(max_size=200)
TRICKY = st.text(alphabet="ab_-/+#.$ 0\n", max_size=12)


def test_plain_names_stay_as_they_are() -> None:
    for name in ("line-7", "camera_1", "A"):
        assert identifier(name) == name
    for name in ("metal tag", "Größe", "a.b"):
        assert topic_level(name) == name
    assert readable("sub/img 001.jpg") == "sub_img_001_jpg"
    assert camera_id("line-7", "gate") == "line-7__gate"


@given(ANY | TRICKY)
@example("../../etc/passwd")
@example("")
@example("\ud800")
@example("x" * 10_000)
def test_whatever_a_name_is_its_parts_are_safe(name: str) -> None:
    assert SAFE.fullmatch(identifier(name))
    assert "__" not in identifier(name)
    assert SAFE.fullmatch(readable(name))
    level = topic_level(name)
    assert level
    assert len(level) <= MAX_LENGTH
    assert not re.search(r"[/+#$\x00-\x1f]", level)
    level.encode()


@given(st.lists(TRICKY, min_size=2, max_size=8, unique=True))
@example(["a/b", "a_b"])
@example(["a.b", "a/b"])
@example(["a/b", identifier("a/b")])
@example(["a/b", topic_level("a/b")])
@example(["x" * 100, "x" * 101])
def test_different_names_stay_different(names: list[str]) -> None:
    assert len({identifier(name) for name in names}) == len(names)
    assert len({topic_level(name) for name in names}) == len(names)


@given(TRICKY, TRICKY, TRICKY, TRICKY)
@example("a", "b__c", "a__b", "c")
@example("a_", "b", "a", "_b")
def test_a_camera_has_its_identifier_alone(device: str, source: str, other: str, another: str) -> None:
    same = (device, source) == (other, another)
    assert (camera_id(device, source) == camera_id(other, another)) is same


def test_texts_for_people_are_one_line() -> None:
    assert one_line("a\nb\x00\t c", 100) == "a b c"
    assert len(one_line("x" * 1000, 10)) == 10
