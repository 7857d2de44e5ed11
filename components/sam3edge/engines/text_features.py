"""What a phrase means to the model: text features from the bundle, or from its text encoder."""

from __future__ import annotations

import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3edge.core.errors import EngineError, PromptError
from sam3edge.engines.ort import ort
from sam3edge.engines.text_normalization import clean_text, normalize_text

ENCODED_PHRASES = 1024
"""Kept beside those of the bundle, about 32 KiB each: whoever may ask for any phrase must not fill the memory."""

NAMED_PHRASES = 40
"""At most, where a phrase is refused."""

Features = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]
"""float32 [L, C] and bool [L] of one phrase."""


@dataclass(frozen=True, slots=True, eq=False)
class TextFeatures:
    """Features of several phrases.

    Attributes:
        row: the row of each phrase.
        features: float32 [V, L, C].
        mask: bool [V, L], true for tokens.
    """

    row: dict[str, int]
    features: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


class TextFeatureCache:
    """Known phrases from ``prompts.npz``; others from ``text.onnx`` and ``tokenizer.json`` where the bundle has them.

    A phrase is encoded once and kept until ``ENCODED_PHRASES`` others were asked for.

    Args:
        root: folder of the bundle.
        load: loads a graph; called only when a phrase has to be encoded.
    """

    def __init__(self, root: Path, load: Callable[[Path], ort.InferenceSession]) -> None:
        self._root = root
        self._load = load
        self._encoder: tuple[ort.InferenceSession, Any] | None = None
        try:
            # opened here, for numpy leaves a file that is not an archive open
            with (root / "prompts.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
                phrases = [str(p) for p in stored["phrases"]]
                features = stored["features"].astype(np.float32)
                mask = stored["mask"].astype(bool)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
            raise EngineError(f"prompts.npz does not load: {error}") from error
        self._exported: dict[str, Features] = {p: (features[i], mask[i]) for i, p in enumerate(phrases)}
        self._encoded: OrderedDict[str, Features] = OrderedDict()
        self._last: tuple[tuple[str, ...], TextFeatures, dict[str, str]] | None = None

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The phrases that the bundle was exported for, in their order."""
        return tuple(self._exported)

    @property
    def reads_any(self) -> bool:
        """Whether other phrases can be encoded, too."""
        return not self._why_no_other()

    def look_up(self, phrases: tuple[str, ...]) -> tuple[TextFeatures, dict[str, str]]:
        """Features of the phrases that the model can answer, and why it cannot answer the others."""
        if self._last is None or self._last[0] != phrases:
            known: dict[str, Features] = {}
            refused: dict[str, str] = {}
            for phrase in phrases:
                try:
                    known[phrase] = self._features(normalize_text(phrase))
                except PromptError as error:
                    refused[phrase] = str(error)
            shape = next(iter(self._exported.values()))[0].shape if self._exported else (0, 0)
            text = TextFeatures(
                {phrase: i for i, phrase in enumerate(known)},
                np.stack([features for features, _ in known.values()]) if known else np.zeros((0, *shape), np.float32),
                np.stack([mask for _, mask in known.values()]) if known else np.zeros((0, shape[0]), bool),
            )
            self._last = (phrases, text, refused)
        return self._last[1], self._last[2]

    def _why_no_other(self) -> str:
        """Why phrases that the bundle was not exported for cannot be encoded; empty where they can."""
        if not (self._root / "text.onnx").exists():
            return "this bundle has no text encoder"
        if find_spec("tokenizers") is None:
            return "this bundle's text encoder needs the package tokenizers, which is not installed here"
        return ""

    def _features(self, phrase: str) -> Features:
        """Of a normalized phrase; raises PromptError where there can be none."""
        if (features := self._exported.get(phrase)) is not None:
            return features
        if phrase not in self._encoded:
            if reason := self._why_no_other():
                named = ", ".join(nearest(phrase, self._exported)[:NAMED_PHRASES])
                raise PromptError(f"{reason}, and it was exported for these phrases only: {named}")
            self._encoded[phrase] = self._encode(phrase)
            if len(self._encoded) > ENCODED_PHRASES:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(phrase)
        return self._encoded[phrase]

    def _encode(self, phrase: str) -> Features:
        if self._encoder is None:
            from tokenizers import Tokenizer  # devices do without it

            path = self._root / "tokenizer.json"
            try:
                tokenizer = Tokenizer.from_file(str(path))
            except Exception as error:  # the library raises nothing more specific
                raise EngineError(f"{path.name} of the bundle does not load: {error}") from error
            self._encoder = (self._load(self._root / "text.onnx"), tokenizer)
        session, tokenizer = self._encoder
        ids = np.array([tokenizer.encode(clean_text(phrase)).ids], np.int64)
        features = session.run(["text"], {"input_ids": ids})[0]
        return np.asarray(features[0], np.float32), np.asarray(ids[0] != 0)


def nearest(phrase: str, known: Iterable[str]) -> list[str]:
    """The known phrases, those first that share most of their groups of three letters with ``phrase``."""
    wanted = _trigrams(phrase)

    def distance(other: str) -> tuple[float, str]:
        groups = _trigrams(other)
        return -len(wanted & groups) / len(wanted | groups), other

    return sorted(known, key=distance)


def _trigrams(phrase: str) -> set[str]:
    padded = f"  {phrase} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}
