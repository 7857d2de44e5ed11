"""Write ``meta_keys.txt``: names, types and shapes of the entries of Meta's ``sam3.pt``.

    python tests/unit/export/data/meta_keys.py

The published file is the state dict of Meta's video model, so this asks Meta's constructors for it; it runs where
Meta's package ``sam3`` 0.1.4 is importable (a machine with CUDA). Entries that are alike but for the first number in
their name share a line: ``blocks.{0-31}.norm1.weight``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from sam3edge_export.sam3.tokenizer import vocabulary_path

TARGET = Path(__file__).with_suffix(".txt")


def entries() -> dict[str, str]:
    """Entry -> type and shape."""
    from sam3.model_builder import build_sam3_video_model

    model = build_sam3_video_model(load_from_HF=False, bpe_path=str(vocabulary_path()), device="cpu")
    described = {name: f"{value.dtype} {list(value.shape)}" for name, value in model.state_dict().items()}
    return {name: what.removeprefix("torch.") for name, what in described.items()}


def lines(entries: Mapping[str, str]) -> Iterator[str]:
    """Lines of the file."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for name, what in entries.items():
        found = re.fullmatch(r"(.*?\.)(\d+)(\..*)", name)
        if found is None:
            yield f"{name} {what}"
        else:
            alike.setdefault((found[1], found[3], what), []).append(int(found[2]))
    for (before, after, what), numbers in alike.items():
        for _, run in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
            stretch = [number for _, number in run]
            yield f"{before}{{{stretch[0]}-{stretch[-1]}}}{after} {what}"


if __name__ == "__main__":
    TARGET.write_text("\n".join(sorted(lines(entries()))) + "\n", encoding="utf-8")
