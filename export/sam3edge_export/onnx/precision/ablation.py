"""What each rule of ``rules.HALF`` and ``rules.BRAIN`` is worth: the graphs of a bundle are narrowed with and without
it, emulated, and compared with float32.

    python -m sam3edge_export.onnx.precision.ablation assets/demo-bundle assets/scenes
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from sam3edge.core.types import RgbImage
from sam3edge.engines.ort import ort
from sam3edge.images.files import images_in, read_frame
from sam3edge_export.onnx.precision.emulation import emulate
from sam3edge_export.onnx.precision.graph import read_graph, write_graph
from sam3edge_export.onnx.precision.half_precision import narrow_graph
from sam3edge_export.onnx.precision.rules import BRAIN, HALF, Rules
from sam3edge_export.onnx.precision.storage import widen_stored

Tensors = Mapping[str, npt.NDArray[Any]]
COMPARED = ("logits", "presence", "scores", "boxes")


def variants() -> Iterator[tuple[str, Rules]]:
    """Rules by what is changed of them."""
    for rules in (HALF, BRAIN):
        name, none = rules.form.name, frozenset[str]()
        yield name, rules
        yield f"{name} without exact_outputs", replace(rules, exact_outputs=none)
        yield f"{name} without steep", replace(rules, steep=none)
        yield f"{name} without both", replace(rules, exact_outputs=none, steep=none)
        for operator in ("LayerNormalization", "Add"):
            yield f"{name}, {operator} exact", replace(rules, islands=rules.islands | {operator})


def compare(bundle: Path, images: Sequence[RgbImage]) -> Iterator[tuple[str, dict[str, float]]]:
    """For every variant, the largest difference of each of ``COMPARED`` from float32.

    Args:
        bundle: folder with ``vision.onnx``, ``decoder.onnx``, float32 or stored in float16, and ``prompts.npz``.
        images: uint8 [H, W, 3] RGB.
    """
    prompts = np.load(bundle / "prompts.npz")
    text = {"text": prompts["features"].astype(np.float32), "text_mask": prompts["mask"]}
    with tempfile.TemporaryDirectory() as scratch:
        single, narrow = Path(scratch) / "single", Path(scratch) / "narrow"
        single.mkdir()
        narrow.mkdir()
        for name in ("vision.onnx", "decoder.onnx"):
            graph = read_graph(bundle / name)
            widen_stored(graph)
            write_graph(graph, single / name)
        expected = _decode(single, images, text)
        for variant, rules in variants():
            for name in ("vision.onnx", "decoder.onnx"):
                graph = read_graph(single / name)
                narrow_graph(graph, rules)
                write_graph(graph, narrow / name)
                emulate(narrow / name, narrow / name)
            found = _decode(narrow, images, text)
            yield (
                variant,
                {
                    name: max(float(np.abs(e[name] - f[name]).max()) for e, f in zip(expected, found, strict=True))
                    for name in COMPARED
                },
            )


def _decode(folder: Path, images: Sequence[RgbImage], text: Tensors) -> list[Tensors]:
    vision, decoder = _load(folder / "vision.onnx"), _load(folder / "decoder.onnx")
    every = np.zeros(len(text["text"]), np.int64)
    indices = {"image_index": every, "geometry_index": every}
    return [_run(decoder, {**_run(vision, {"image": image[None]}), **text, **indices}) for image in images]


def _load(path: Path) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def _run(session: ort.InferenceSession, values: Tensors) -> Tensors:
    names = [o.name for o in session.get_outputs()]
    given = {i.name: values[i.name] for i in session.get_inputs()}
    return dict(zip(names, session.run(names, given), strict=True))


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, help="folder of JPEG or PNG files")
    arguments = parser.parse_args()
    images = [read_frame(path).image for path in images_in(arguments.images)]
    table = Table("rules", *COMPARED, title=f"largest difference from float32 on {len(images)} images")
    for variant, differences in compare(arguments.bundle, images):
        table.add_row(variant, *(f"{differences[name]:.4f}" for name in COMPARED))
    Console().print(table)


if __name__ == "__main__":
    main()
