"""From labelled images to what one step of a fine-tuning learns from.

A step's images and questions are a function of the seed and the step's number alone: a run that was interrupted draws
the same ones when it continues, and every one of several processes knows what the others have.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
import torch
from shapely.geometry import MultiPolygon, Polygon
from torch import Tensor

from sam3edge.core.errors import SettingsError
from sam3edge.core.masks import rasterize
from sam3edge.core.matching import BoolMask
from sam3edge.images.files import read_frame
from sam3edge_pipeline.datasets.examples import Example
from sam3edge_pipeline.training.data import boxes_around, squeeze
from sam3edge_pipeline.training.recipe import Recipe

CACHE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image at the model's size.

    Attributes:
        image: uint8 [S, S, 3], RGB.
        masks: uint8 [K, S, S / 8], the objects, one bit a pixel.
        phrases: K phrases.
    """

    image: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """What one step asks, and what it should be told.

    Attributes:
        images: uint8 [B, S, S, 3].
        positions: B numbers, which of the step's images these are, whoever has the others.
        image_index: int64 [N], of each (image, phrase) pair.
        phrases: N phrases.
        present: float32 [N], 1 where the phrase is in the image.
        pair: int64 [K], the pair of each wanted object.
        boxes: float32 [K, 4], cx, cy, w, h in 0..1, around the object.
        masks: bool [K, S, S].
    """

    images: Tensor
    positions: tuple[int, ...]
    image_index: Tensor
    phrases: tuple[str, ...]
    present: Tensor
    pair: Tensor
    boxes: Tensor
    masks: Tensor


class Samples:
    """The images of some examples, read when they are needed; those used last stay in memory.

    Args:
        side: of the model's input, pixels, a multiple of 8.
    """

    def __init__(self, examples: Sequence[Example], side: int, cache_bytes: int = CACHE_BYTES) -> None:
        self.examples = tuple(examples)
        self._side = side
        self._room = cache_bytes
        self._kept: OrderedDict[int, Sample] = OrderedDict()
        self._used = 0

    def __getitem__(self, i: int) -> Sample:
        if i in self._kept:
            self._kept.move_to_end(i)
            return self._kept[i]
        sample = read_sample(self.examples[i], self._side)
        self._kept[i] = sample
        self._used += sample.image.nbytes + sample.masks.nbytes
        while self._used > self._room and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._used -= old.image.nbytes + old.masks.nbytes
        return sample


def read_sample(example: Example, side: int) -> Sample:
    """Read one example at ``side`` pixels; objects that vanish at this size are left out.

    Raises:
        FrameError: its image cannot be read.
    """
    frame = read_frame(example.image)
    found = [(rasterized(o.outline, example, side), o.phrase) for o in example.objects if not o.ignored]
    seen = [(mask, phrase) for mask, phrase in found if mask.any()]
    masks = [np.packbits(mask, axis=1) for mask, _ in seen]
    packed = np.stack(masks) if masks else np.zeros((0, side, side // 8), np.uint8)
    return Sample(squeeze(frame.image, side), packed, tuple(phrase for _, phrase in seen))


def rasterized(outline: Polygon | MultiPolygon, example: Example, side: int) -> BoolMask:
    """bool [S, S], the pixels of an outline at the model's size; the aspect ratio is not kept there."""
    scale = np.array([side / example.width, side / example.height])
    return rasterize(shapely.transform(outline, lambda at: at * scale), side, side)


class QuestionPlan:
    """Draws every step's questions.

    Half of a step (``Recipe.new_share``) shows a phrase that is to be learned. Half of the rest is known not to show
    it, and is asked for it: most false alarms come of never having been told where a new thing is not. What remains
    shows what is to be retained. Every image is asked for phrases that are there and for at least one that is known to
    be absent. Only phrases of which an example knows everything are asked.

    Args:
        new: phrases that are to be learned; the others of the examples are to be retained.

    Raises:
        SettingsError: no example shows any of ``new``, or none says that a phrase is absent.
    """

    def __init__(self, samples: Samples, new: Sequence[str], recipe: Recipe) -> None:
        self._samples = samples
        self._recipe = recipe
        examples = samples.examples
        wanted = set(new)
        self._new = [i for i, e in enumerate(examples) if wanted.intersection(e.exhaustive) - set(e.absent)]
        others = [i for i, e in enumerate(examples) if i not in set(self._new) and e.exhaustive]
        self._without = [i for i in others if wanted.intersection(examples[i].absent)]
        self._retained = [i for i in others if not wanted.intersection(examples[i].absent)]
        self._wanted = wanted
        if not self._new:
            raise SettingsError(f"no example shows any of {', '.join(sorted(wanted))}: nothing can be learned")
        if not any(e.absent for e in examples):
            raise SettingsError(
                "no example says that a phrase is absent: the model would learn to find everything everywhere"
            )

    def images(self, step: int) -> list[int]:
        """The examples of a step, in the order in which processes share them."""
        rng = np.random.default_rng((self._recipe.seed, step, 0))
        batch = self._recipe.batch
        new = max(1, round(batch * self._recipe.new_share)) if self._without or self._retained else batch
        without = round((batch - new) / 2) if self._retained else batch - new
        without = without if self._without else 0
        shares = ((self._new, new), (self._without, without), (self._retained, batch - new - without))
        chosen = [i for pool, count in shares for i in _draw(rng, pool, count)]
        return [chosen[i] for i in rng.permutation(len(chosen))]

    def questions(self, step: int, rank: int = 0, world: int = 1) -> Questions:
        """What a process asks in a step: every ``world``-th image, beginning with ``rank``."""
        rows = list(enumerate(self.images(step)))[rank::world]
        asked = []
        for position, i in rows:
            # by position, so that an image is asked and mirrored alike whoever has it
            rng = np.random.default_rng((self._recipe.seed, step, 1, position))
            asked.append(self._ask(i, rng))
        return _together(asked, tuple(position for position, _ in rows))

    def _ask(self, i: int, rng: np.random.Generator) -> _Asked:
        example, sample = self._samples.examples[i], self._samples[i]
        there = set(sample.phrases)
        present = [p for p in dict.fromkeys(sample.phrases) if p in example.exhaustive]
        absent = [p for p in example.absent if p not in there]
        first = [p for p in absent if p in self._wanted]
        new = [p for p in present if p in self._wanted]
        rest = [p for p in present if p not in self._wanted]
        most = self._recipe.prompts
        phrases = [*_shuffled(rng, new), *_shuffled(rng, rest)][: most - 1]
        others = [p for p in absent if p not in self._wanted]
        phrases += [*_shuffled(rng, first), *_shuffled(rng, others)][: most - len(phrases)]
        phrases = phrases or present[:1]
        image, masks = sample.image, np.unpackbits(sample.masks, axis=2).astype(bool)
        if self._recipe.flips:
            image, masks = _mirrored(image, masks, rng)
        return _Asked(image, masks, sample.phrases, tuple(phrases))


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    image: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    phrases: tuple[str, ...]
    asked: tuple[str, ...]


def _together(asked: Sequence[_Asked], positions: tuple[int, ...]) -> Questions:
    owner: list[int] = []
    phrases: list[str] = []
    present: list[float] = []
    pairs: list[int] = []
    masks: list[npt.NDArray[np.bool_]] = []
    for image, one in enumerate(asked):
        for phrase in one.asked:
            mine = [k for k, p in enumerate(one.phrases) if p == phrase]
            pairs += [len(phrases)] * len(mine)
            masks += [one.masks[k] for k in mine]
            owner.append(image)
            phrases.append(phrase)
            present.append(float(bool(mine)))
    side = asked[0].image.shape[0]
    stacked = np.stack(masks) if masks else np.zeros((0, side, side), bool)
    return Questions(
        torch.from_numpy(np.stack([one.image for one in asked])),
        positions,
        torch.tensor(owner, dtype=torch.int64),
        tuple(phrases),
        torch.tensor(present),
        torch.tensor(pairs, dtype=torch.int64),
        boxes_around(stacked),
        torch.from_numpy(stacked),
    )


def _mirrored(
    image: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(masks)


def _draw(rng: np.random.Generator, pool: Sequence[int], count: int) -> list[int]:
    """``count`` of the pool, none twice before all have been drawn."""
    drawn: list[int] = []
    while pool and len(drawn) < count:
        drawn += [pool[i] for i in rng.permutation(len(pool))[: count - len(drawn)]]
    return drawn


def _shuffled(rng: np.random.Generator, phrases: Sequence[str]) -> list[str]:
    return [phrases[i] for i in rng.permutation(len(phrases))]
