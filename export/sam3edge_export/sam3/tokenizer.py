"""SAM 3's tokenizer: CLIP's byte-pair encoding, as a ``tokenizer.json`` that the tokenizers library reads.

Together with ``clean_text`` it gives the ids of Meta's ``sam3/model/tokenizer_ve.py``. One corner differs: where a
phrase spells ``<start_of_text>`` or ``<end_of_text>`` right behind punctuation, Meta's takes it as letters and signs.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.engines.text_normalization import clean_text

START, END = "<start_of_text>", "<end_of_text>"
CONTEXT_LENGTH = 32

PADDING_ID = 0
"""Also the id of an exclamation mark inside of a run of signs: the reference masks both, and so do the graphs."""

MERGES = 49152 - 256 - 2
"""Merges of the vocabulary that CLIP uses; the file holds more."""

VOCABULARY_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}\x{0345}]+"
"""What a text is cut into before bytes are merged. The reference's pattern ignores case throughout, which changes
nothing but contractions and U+0345: it is not a letter, its capital is one, and so no alternative takes it."""


class TokenizerError(Sam3EdgeError):
    """A vocabulary or a tokenizer cannot be read."""


def vocabulary_path() -> Path:
    """CLIP's vocabulary, which this package carries."""
    return Path(str(resources.files("sam3edge_export"))) / "clip" / "bpe_simple_vocab_16e6.txt.gz"


def build_tokenizer(bpe_vocabulary: Path | None = None, length: int = CONTEXT_LENGTH) -> Tokenizer:
    """The tokenizer of CLIP's vocabulary: start 49406, end 49407, ``length`` ids, padded with zeros; a phrase that is
    too long loses its last tokens, not the end.

    Args:
        bpe_vocabulary: ``bpe_simple_vocab_16e6.txt.gz``; the one of this package when None.

    Raises:
        TokenizerError: it is not there, or is another file.
    """
    merges = _read_merges(bpe_vocabulary or vocabulary_path())
    alphabet = _byte_characters()
    vocabulary = [*alphabet, *(c + "</w>" for c in alphabet), *("".join(merge) for merge in merges), START, END]
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (START, END)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])]
    )
    return _of_length(tokenizer, length)


def tokenizer_of(checkpoint: Path, length: int) -> Tokenizer:
    """The tokenizer of a checkpoint: a transformers folder's own, and CLIP's for a file of Meta's.

    Args:
        length: context length of the model, ``text_config.max_position_embeddings``.

    Raises:
        TokenizerError: it is not there, or is damaged.
    """
    return read_tokenizer(checkpoint, length) if checkpoint.is_dir() else build_tokenizer(length=length)


def read_tokenizer(folder: Path, length: int = CONTEXT_LENGTH) -> Tokenizer:
    """The ``tokenizer.json`` of a transformers folder, cut and padded as the model takes it.

    Padding is zero whatever the folder says: the graphs, like the reference, mask ids that are zero.

    Args:
        length: context length of the model, ``text_config.max_position_embeddings``.

    Raises:
        TokenizerError: it is not there, or is damaged.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TokenizerError(f"{folder} has no tokenizer.json; expected one, as `sam3edge-export fetch` brings it")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise TokenizerError(f"{path} is not a tokenizer of the tokenizers library: {error}") from error
    return _of_length(tokenizer, length)


def token_ids(tokenizer: Tokenizer, phrases: Sequence[str]) -> npt.NDArray[np.int64]:
    """Ids of phrases as the reference gives them, int64 [V, L].

    Raises:
        PromptError: a phrase is not plain ASCII, and the package ftfy is not installed.
    """
    encoded = tokenizer.encode_batch([clean_text(phrase) for phrase in phrases])
    return np.array([encoding.ids for encoding in encoded], np.int64)


def _of_length(tokenizer: Tokenizer, length: int) -> Tokenizer:
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=PADDING_ID, pad_token=tokenizer.id_to_token(PADDING_ID) or "")
    return tokenizer


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read; expected CLIP's bpe_simple_vocab_16e6.txt.gz: {error}") from error
    digest = hashlib.sha256(packed).hexdigest()
    if digest != VOCABULARY_SHA256:
        raise TokenizerError(
            f"{path} is not CLIP's bpe_simple_vocab_16e6.txt.gz: its SHA-256 is {digest}, expected {VOCABULARY_SHA256}"
        )
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1 : MERGES + 1]
    return [(first, second) for first, second in (line.split() for line in lines)]


def _byte_characters() -> list[str]:
    """One visible character for each of the 256 bytes, in the order of CLIP's vocabulary: bytes that are visible in
    Latin-1 represent themselves and come first, the others are moved to U+0100 and up."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) for byte in visible] + [chr(0x100 + n) for n in range(len(hidden))]
