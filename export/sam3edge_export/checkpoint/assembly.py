"""From the entries of a checkpoint to a model: every parameter is found, has its shape, and is held once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, Sam3Config, Sam3TrackerConfig
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel
from transformers.utils import logging as transformers_logging

from sam3edge.bundle.manifest import FAMILIES, Family
from sam3edge_export.checkpoint.errors import CheckpointError, some_of
from sam3edge_export.checkpoint.names import Origin

TRUNK = "vision_encoder.backbone."
"""Parameters of the vision trunk, which detector and tracker share."""

Model = TypeVar("Model", bound=PreTrainedModel)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Entries of a checkpoint, and how to find parameters in them.

    Attributes:
        path: where they come from, for messages.
        entries: by their names in the file; mapped from the file, so that reading them costs no memory of its own.
        detector: origin of a parameter of ``Sam3Model``.
        tracker: origin of a parameter of ``Sam3TrackerModel`` outside of the trunk; None when the checkpoint has none.
        family: what it is a checkpoint of.
        dropped: beginnings of parameters whose values nothing reads; zeros where the checkpoint lacks them.
        needless: whether an entry that goes into neither model may be left out. Others change what the model answers.
    """

    path: Path
    entries: Mapping[str, Tensor]
    detector: Callable[[str], Origin | None]
    tracker: Callable[[str], Origin | None] | None
    family: Family = "sam3"
    dropped: tuple[str, ...] = ()
    needless: Callable[[str], bool] = lambda key: True


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """The models of one checkpoint, and the entries that went into neither."""

    model: Sam3Model
    tracker: Sam3TrackerModel | None
    unexpected_keys: tuple[str, ...]


def assemble(source: Source, config: Sam3Config, tracker_config: Sam3TrackerConfig) -> Assembled:
    """Build the detector and, where there is one, the tracker on the same vision trunk.

    Raises:
        CheckpointError: entries are missing, have the wrong shape or type, or belong to a model that is unknown here.
    """
    found = _collect(source, _shapes(Sam3Model, config), source.detector)
    used = found.used
    model = _load(Sam3Model, config, found.tensors)
    tracker = None
    if source.tracker is not None:
        trunk = {name: value for name, value in found.tensors.items() if name.startswith(TRUNK)}
        shapes = _shapes(Sam3TrackerModel, tracker_config)
        outside = {name: shape for name, shape in shapes.items() if not name.startswith(TRUNK)}
        own = _collect(source, outside, source.tracker)
        used |= own.used
        tracker = _load(Sam3TrackerModel, tracker_config, {**trunk, **own.tensors})
        tracker.vision_encoder.backbone = model.vision_encoder.backbone
    unused = tuple(key for key in source.entries if key not in used)
    unknown = [key for key in unused if not source.needless(key)]
    if unknown:
        raise CheckpointError(
            f"{source.path} is not a {FAMILIES[source.family]} as it is known here: {len(unknown)} of its entries have "
            f"no place in the model, such as {some_of(unknown)}; without them it would answer something else"
        )
    return Assembled(model, tracker, unused)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    tensors: dict[str, Tensor]
    used: frozenset[str]


def _shapes(kind: type[PreTrainedModel], config: Sam3Config | Sam3TrackerConfig) -> dict[str, torch.Size]:
    """Shapes of all parameters, without any memory for them."""
    with torch.device("meta"):
        skeleton = kind(config)
    return {name: value.shape for name, value in skeleton.state_dict().items()}


def _collect(source: Source, shapes: Mapping[str, torch.Size], origin: Callable[[str], Origin | None]) -> _Found:
    tensors: dict[str, Tensor] = {}
    used: set[str] = set()
    missing: list[str] = []
    wrong: list[str] = []
    for name, shape in shapes.items():
        place = origin(name)
        if place is None:
            raise CheckpointError(
                f"the installed transformers has a parameter {name} that this reader does not know; install the "
                "version of transformers that constraints.txt names"
            )
        absent = [key for key in place.keys if key not in source.entries]
        if absent and name.startswith(source.dropped):
            tensors[name] = torch.zeros(shape)
            continue
        if absent:
            missing += [key for key in absent if key not in missing]
            continue
        entries = [source.entries[key] for key in place.keys]
        if not all(entry.is_floating_point() for entry in entries):
            wrong.append(f"{place.keys[0]} is {entries[0].dtype}, expected floating point")
            continue
        tensor = place.take(entries) if all(entry.dim() for entry in entries) else entries[0]
        if tensor.shape != shape:
            came = " + ".join(str(list(entry.shape)) for entry in entries)
            wrong.append(f"{place.keys[0]} is {came}, which makes {list(tensor.shape)}; expected {list(shape)}")
            continue
        tensors[name] = tensor.to(torch.float32)
        used.update(place.keys)
    _complain(source, missing, wrong)
    return _Found(tensors, frozenset(used))


def _complain(source: Source, missing: Sequence[str], wrong: Sequence[str]) -> None:
    model = FAMILIES[source.family]
    if missing:
        raise CheckpointError(
            f"{source.path} is not a whole {model} checkpoint: {len(missing)} entries are missing, such as "
            f"{some_of(missing)}; it has {len(source.entries)} entries, such as {some_of(list(source.entries), 3)}"
        )
    if wrong:
        raise CheckpointError(
            f"{source.path} is of a {model} with other sizes: {some_of(wrong, 3)}; pass the configuration that it was "
            "trained with"
        )


def _load(kind: type[Model], config: Sam3Config | Sam3TrackerConfig, tensors: dict[str, Tensor]) -> Model:
    """A model that holds these very tensors.

    transformers builds it without memory for parameters, puts the given tensors in, and computes what no checkpoint
    carries (rotary frequencies, positions in a window).
    """
    with _no_progress_bar():
        model: Model = kind.from_pretrained(None, config=config, state_dict=tensors, dtype=torch.float32)
    return model.eval()


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
