"""Truth and detections, read once: placed on the raster, given their classes, kept in files with an index."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam3edge.core.errors import VectorFileError
from sam3edge_pipeline.evaluation.vector.areas import AreaFile, Areas
from sam3edge_pipeline.evaluation.vector.classes import Classes
from sam3edge_pipeline.evaluation.vector.dates import Period, period_of
from sam3edge_pipeline.evaluation.vector.grid import Grid
from sam3edge_pipeline.evaluation.vector.placing import Placer, PlacingCounts
from sam3edge_pipeline.evaluation.vector.source import VectorSource, open_vector

MAX_VALUES = 1000
"""Values without a class that are counted each by itself."""

NO_VALUE = "(none)"
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class TruthColumns:
    """Attributes of the truth.

    Attributes:
        value: what an area is; empty where all are one class.
        date: when it was drawn; empty where none says so.
    """

    value: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class DetectionColumns:
    """Attributes of detections.

    Attributes:
        prompt: what they were asked for by.
        threshold: detections with a score greater than this count; those without a score have 1.
    """

    prompt: str = "prompt"
    threshold: float = 0.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """Areas on the raster.

    Attributes:
        name: of the file, with its layer.
        areas: those of a class.
        counts: what became of the geometries.
        without_class: by value, areas on the raster that are of no class.
        below: detections that do not have the score.
        dates: of the areas on the raster; None where none says so.
    """

    name: str
    areas: AreaFile
    counts: PlacingCounts
    without_class: dict[str, int]
    below: int = 0
    dates: Period | None = None


def prepare_truth(source: VectorSource, columns: TruthColumns, classes: Classes, grid: Grid, path: Path) -> Prepared:
    """Read the truth.

    Args:
        classes: gets more of them where its values are the prompts.
        path: of the file of areas.

    Raises:
        VectorFileError: it cannot be read, or nothing of it can be evaluated by.
        SettingsError: there are too many classes.
    """
    file, counts, without = AreaFile(path), PlacingCounts(), _Values()
    dates: Period | None = None
    with open_vector(source, [name for name in (columns.value, columns.date) if name]) as table:
        placer = Placer(grid, table.crs)
        for binary, attributes in table.batches:
            placed, one = placer.place(binary)
            counts += one
            inside = [number for number, area in enumerate(placed) if area is not None]
            numbers = []
            for number in inside:
                value = _text(attributes[columns.value][number]) if columns.value else NO_VALUE
                numbers.append(classes.number_of_value(value))
                if not numbers[-1]:
                    without.add(value)
                elif columns.date and (said := period_of(attributes[columns.date][number])) is not None:
                    dates = said if dates is None else dates | said
            _keep(file, placed, inside, numbers, np.ones(len(inside)))
        name = table.name
    if not file.count:
        raise VectorFileError(
            f"nothing of {name} can be evaluated by: of {counts.read} geometries {counts.outside} are outside of the "
            f"raster, {counts.not_areas} are not areas, {counts.inside} are areas on it, all of other values "
            f"({', '.join(list(without.counts)[:10]) or 'none'}); check its reference system and --class"
        )
    return Prepared(name, file, counts, without.counts, dates=dates)


def prepare_detections(
    source: VectorSource, columns: DetectionColumns, classes: Classes, grid: Grid, path: Path
) -> Prepared:
    """Read detections; there may be none.

    Raises:
        VectorFileError: they cannot be read, or have scores that are no numbers.
    """
    file, counts, without, below = AreaFile(path), PlacingCounts(), _Values(), 0
    with open_vector(source, [columns.prompt], optional=["score"]) as table:
        placer = Placer(grid, table.crs)
        for binary, attributes in table.batches:
            placed, one = placer.place(binary)
            counts += one
            inside = [number for number, area in enumerate(placed) if area is not None]
            said = attributes.get("score", [None] * len(placed))
            scores = np.array([_score(said[number], table.name) for number in inside], np.float64)
            prompts = [_text(attributes[columns.prompt][number]) for number in inside]
            numbers = [classes.number_of_prompt(prompt) for prompt in prompts]
            for prompt, number in zip(prompts, numbers, strict=True):
                if not number:
                    without.add(prompt)
            admitted = scores > columns.threshold
            below += int(np.count_nonzero(~admitted & (np.array(numbers) > 0)))
            _keep(file, placed, inside, [n if a else 0 for n, a in zip(numbers, admitted, strict=True)], scores)
        name = table.name
    return Prepared(name, file, counts, without.counts, below)


def _keep(file: AreaFile, placed: Any, inside: list[int], numbers: list[int], scores: Any) -> None:
    """Those that have a class."""
    chosen = [place for place, number in enumerate(numbers) if number]
    classes = np.array([numbers[place] for place in chosen], np.int64)
    file.add(Areas([placed[inside[place]] for place in chosen], classes, scores[chosen]))


class _Values:
    """Counts values, and of very many the most of them together."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, value: str) -> None:
        self.counts[value if value in self.counts or len(self.counts) < MAX_VALUES else OTHERS] += 1


def _score(value: Any, name: str) -> float:
    """What has none is sure."""
    try:
        return 1.0 if value is None else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise VectorFileError(f"expected numbers as score in {name}, got {value!r:.40}; rename or mend it") from error


def _text(value: Any) -> str:
    """A value as a person writes it: 5 for 5.0."""
    if value is None:
        return NO_VALUE
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
