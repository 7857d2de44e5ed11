"""New words for a tokenizer that knows whole words only, as the demo model's does.

SAM 3's own tokenizer spells out what it does not know, so there is nothing to add to it. A model whose words are rows
of a table reads every other word as ``<unknown>``, and would learn all new concepts as one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers.models.sam3.modeling_sam3 import Sam3Model

UNKNOWN = "<unknown>"


def add_words(model: Sam3Model, tokenizer: Tokenizer, phrases: Sequence[str]) -> tuple[Tokenizer, tuple[str, ...]]:
    """Give words of ``phrases`` that the tokenizer lacks a row of their own, beginning as the unknown word.

    Args:
        model: its text embedding grows in place.
        tokenizer: is not changed.

    Returns:
        The tokenizer to use from now on, and the words that were added; of a tokenizer that spells words out, itself
        and none.
    """
    content = json.loads(tokenizer.to_str())
    if content["model"]["type"] != "WordLevel":
        return tokenizer, ()
    known = content["model"]["vocab"]
    new = tuple(sorted({word for phrase in phrases for word in phrase.split()} - known.keys()))
    if not new:
        return tokenizer, ()
    known |= {word: len(known) + i for i, word in enumerate(new)}
    _grow(model, len(known), known[UNKNOWN])
    return Tokenizer.from_str(json.dumps(content)), new


def _grow(model: Sam3Model, words: int, like: int) -> None:
    before = model.text_encoder.get_input_embeddings()
    rows = torch.cat([before.weight.data, before.weight.data[like].expand(words - len(before.weight), -1)])
    after = nn.Embedding(words, before.embedding_dim, padding_idx=before.padding_idx, dtype=before.weight.dtype)
    after.weight.data.copy_(rows)
    model.text_encoder.set_input_embeddings(after)
    model.config.text_config.vocab_size = words
    model.text_encoder.config.vocab_size = words
