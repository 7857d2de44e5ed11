"""Phrases become the ids that the reference's tokenizer gives them."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from tokenizers import Tokenizer

from sam3edge.core.errors import PromptError
from sam3edge.engines.text_normalization import clean_text
from sam3edge_export.sam3.tokenizer import TokenizerError, build_tokenizer, read_tokenizer, token_ids, vocabulary_path
from support.odd_phrases import odd_phrases

pytestmark = pytest.mark.xdist_group("tokenizer")

DATA = Path(__file__).parent / "data" / "meta_tokens.npz"
START, END = 49406, 49407


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """As a device reads it: from a file."""
    path = tmp_path_factory.mktemp("bundle") / "tokenizer.json"
    build_tokenizer().save(str(path))
    return Tokenizer.from_file(str(path))


def test_ten_thousand_odd_phrases_become_the_references_ids(tokenizer: Tokenizer) -> None:
    with np.load(DATA) as stored:
        asked, expected, lengths = stored["phrases"], stored["ids"], stored["lengths"]
    phrases = odd_phrases(len(asked))
    assert len(phrases) == 10_000
    assert [crc32(p.encode()) for p in phrases] == asked.tolist(), "other phrases than the reference was asked"
    ids = token_ids(tokenizer, phrases)
    assert ids.shape == (10_000, 32)
    given = np.array([crc32(row.astype("<u2").tobytes()) for row in ids])
    differing = [phrases[i] for i in np.flatnonzero(given != expected)]
    assert not differing, f"{len(differing)} phrases differ, such as {differing[:3]}"
    assert (lengths == 32).sum() > 500  # enough that are cut
    assert (lengths < 12).sum() > 500  # enough that are padded


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("red car", [736, 1615]),
        ("  RED \n car\t", [736, 1615]),
        ("don’t", [847, 713]),  # a curly apostrophe
        ("", []),
    ],
)
def test_a_phrase_is_framed_and_padded(tokenizer: Tokenizer, phrase: str, expected: list[int]) -> None:
    ids = token_ids(tokenizer, [phrase])[0].tolist()
    assert ids == [START, *expected, END] + [0] * (30 - len(expected))


def test_a_long_phrase_loses_its_last_words_and_not_the_end(tokenizer: Tokenizer) -> None:
    ids = token_ids(tokenizer, ["red " * 50])[0].tolist()
    assert ids == [START, *[736] * 30, END]


def test_cleaning_is_the_references() -> None:
    assert clean_text("  Tom &amp;amp; Jerry\n") == "tom & jerry"
    assert clean_text("“ﬁsh”") == '"fish"'
    assert clean_text("schÃ¶n") == "schön"
    assert clean_text("ΣΑΣ") == "σας"


def test_a_plain_phrase_needs_no_ftfy_and_another_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)
    assert clean_text("A  Red\tCar's <door>") == "a red car's <door>"
    with pytest.raises(PromptError, match=r"'Straße' is not plain ASCII.*package ftfy; install it"):
        clean_text("Straße")


@pytest.mark.skipif(importlib.util.find_spec("ftfy") is None, reason="compares with ftfy")
def test_plain_phrases_are_those_that_ftfy_leaves_alone() -> None:
    import ftfy

    for phrase in odd_phrases(2000, seed=1):
        plain = "".join(c for c in phrase if c in "\t " or (c.isascii() and c.isprintable() and c != "&"))
        assert ftfy.fix_text(plain) == plain


def test_the_tokenizer_of_a_transformers_folder_is_padded_with_zeros(tmp_path: Path, tokenizer: Tokenizer) -> None:
    theirs = build_tokenizer()
    theirs.enable_truncation(77)
    theirs.enable_padding(length=77, pad_id=END, pad_token="<end_of_text>")
    theirs.save(str(tmp_path / "tokenizer.json"))
    read = read_tokenizer(tmp_path)
    assert token_ids(read, ["red car"]).tolist() == token_ids(tokenizer, ["red car"]).tolist()
    assert token_ids(read_tokenizer(tmp_path, length=6), ["red " * 9]).tolist() == [[START, *[736] * 4, END]]


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"has no tokenizer\.json"):
        read_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="is not a tokenizer"):
        read_tokenizer(tmp_path)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="cannot be read"):
        build_tokenizer(tmp_path / "vocabulary.gz")
    changed = tmp_path / "vocabulary.gz"
    changed.write_bytes(gzip.compress(gzip.decompress(vocabulary_path().read_bytes())[:-9]))
    with pytest.raises(TokenizerError, match=r"its SHA-256 is .*, expected 9246"):
        build_tokenizer(changed)
