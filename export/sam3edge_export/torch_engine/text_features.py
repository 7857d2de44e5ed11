"""What phrases mean to the model: text features, encoded once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.sam3.graphs import TextGraph
from sam3edge_export.sam3.tokenizer import token_ids

Encoder = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""Features float32 [P, L, C] and mask bool [P, L] of P phrases."""


class TextEncoder:
    """The model's own text encoder, in single precision.

    Args:
        model: its text encoder is used where it is.
        tokenizer: pads and truncates to the encoder's context length, with zeros.
    """

    def __init__(self, model: Sam3Model, tokenizer: Tokenizer) -> None:
        self._graph = TextGraph(model).eval()
        self._tokenizer = tokenizer

    def __call__(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See ``Encoder``."""
        device = next(self._graph.parameters()).device
        ids = torch.from_numpy(token_ids(self._tokenizer, phrases)).to(device)
        with torch.autocast(device.type, enabled=False):
            features: Tensor = self._graph(ids)
        return features.float(), ids != 0


class PhraseFeatures:
    """Features of the phrases asked last.

    Args:
        encode: called with the phrases that are not known, all at once.
        capacity: phrases kept.
    """

    def __init__(self, encode: Encoder, capacity: int) -> None:
        self._encode = encode
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        self._last: tuple[tuple[str, ...], tuple[Tensor, Tensor]] | None = None

    def look_up(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Features float32 [N, L, C] and mask bool [N, L] of ``phrases``, row by row; a phrase may occur repeatedly."""
        asked = tuple(phrases)
        if self._last is None or self._last[0] != asked:
            self._last = (asked, self._gather(asked))
        return self._last[1]

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._last = None

    def _gather(self, phrases: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        new = [p for p in dict.fromkeys(phrases) if p not in self._known]
        if new:
            features, mask = self._encode(new)
            # copies, or every row would keep the batch alive that it was encoded in
            self._known.update((p, (features[i].clone(), mask[i].clone())) for i, p in enumerate(new))
        for phrase in phrases:
            self._known.move_to_end(phrase)
        rows = [self._known[p] for p in phrases]
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return torch.stack([features for features, _ in rows]), torch.stack([mask for _, mask in rows])
