"""What phrases mean to the model, and how much of that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from sam3edge.engines import text_features
from sam3edge.engines.text_features import TextFeatureCache, nearest

KNOWN = ("deep scratch", "metal tag", "red car", "scratch", "tree")


class Encoder:
    """Stands for the session of ``text.onnx``; counts what it is asked."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, _: list[str], inputs: dict[str, npt.NDArray[np.int64]]) -> list[npt.NDArray[np.float32]]:
        self.runs += 1
        return [np.full((1, 4, 2), self.runs, np.float32)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bundle's phrases, without text encoder."""
    features = np.arange(len(KNOWN) * 8, dtype=np.float32).reshape(len(KNOWN), 4, 2)
    np.savez(tmp_path / "prompts.npz", phrases=np.array(KNOWN), features=features, mask=np.ones((len(KNOWN), 4), bool))
    return tmp_path


def with_encoder(root: Path) -> tuple[TextFeatureCache, Encoder]:
    (root / "text.onnx").touch()
    Tokenizer(WordLevel({"?": 1}, unk_token="?")).save(str(root / "tokenizer.json"))
    encoder = Encoder()
    load: Any = lambda _: encoder  # noqa: E731
    return TextFeatureCache(root, load), encoder


def never(_: Path) -> Any:
    raise AssertionError("there is nothing to load")


def test_an_unknown_phrase_is_refused_with_the_nearest_first(root: Path) -> None:
    text, refused = TextFeatureCache(root, never).look_up(("a scratch", "TREE"))
    assert list(text.row) == ["TREE"]
    assert refused["a scratch"].endswith("only: scratch, deep scratch, metal tag, red car, tree")


def test_whether_other_phrases_can_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = TextFeatureCache(root, never)
    assert (closed.vocabulary, closed.reads_any) == (KNOWN, False)
    cache = with_encoder(root)[0]
    assert (cache.vocabulary, cache.reads_any) == (KNOWN, True)
    monkeypatch.setattr(text_features, "find_spec", lambda _: None)  # a device, which has no package tokenizers
    cache = TextFeatureCache(root, never)
    assert not cache.reads_any
    _, refused = cache.look_up(("tree", "a scratch"))
    assert "needs the package tokenizers" in refused["a scratch"]
    assert refused["a scratch"].endswith("only: scratch, deep scratch, metal tag, red car, tree")


def test_no_more_phrases_are_named_than_can_be_read() -> None:
    many = [f"phrase {number}" for number in range(1000)]
    assert nearest("phrase 77", many)[0] == "phrase 77"
    assert sorted(nearest("x", many)) == sorted(many)
    assert nearest("x", []) == []


def test_encoded_phrases_are_kept_up_to_a_bound(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_features, "ENCODED_PHRASES", 3)
    cache, encoder = with_encoder(root)
    for phrase in ("a", "b", "c", "a", "d"):  # d takes the place of b, which was asked for longest ago
        cache.look_up((phrase,))
    assert encoder.runs == 4
    cache.look_up(("c",))
    cache.look_up(("a",))
    assert encoder.runs == 4
    cache.look_up(("b",))
    assert encoder.runs == 5
    for number in range(20):
        cache.look_up((f"phrase {number}",))
    runs = encoder.runs
    text, refused = cache.look_up(KNOWN)  # those of the bundle always stay
    assert (len(text.row), refused, encoder.runs) == (len(KNOWN), {}, runs)


def test_more_phrases_at_once_than_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_features, "ENCODED_PHRASES", 1)
    cache, _ = with_encoder(root)
    text, refused = cache.look_up(("a", "b", "c"))
    assert not refused
    assert [int(text.features[text.row[p], 0, 0]) for p in ("a", "b", "c")] == [1, 2, 3]
