"""What is in a bundle, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sam3edge.bundle.golden import EXPECTED, Golden
from sam3edge.bundle.manifest import FAMILIES, Manifest
from sam3edge.bundle.verify import verify

OPTIONAL = {
    "text.onnx": "reads any phrase",
    "exemplars.onnx": "prompts may show boxes",
    "interactive.onnx": "answers clicks",
}


def describe(bundle: Path) -> Group:
    """A verified bundle's identity, capabilities, proofs, files and graphs.

    Raises:
        BundleError: it is damaged.
    """
    manifest = verify(bundle, None)
    return Group(_identity(bundle, manifest), Text(), _files(manifest), Text(), _graphs(bundle, manifest))


def _identity(bundle: Path, manifest: Manifest) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    expected = Golden.model_validate_json((bundle / EXPECTED).read_bytes())
    capabilities = [what for name, what in OPTIONAL.items() if name in manifest.files]
    rows: list[tuple[str, str]] = [
        ("bundle", f"{manifest.name} {manifest.version}"),
        ("digest", manifest.digest()),
        ("model", f"{FAMILIES[manifest.family]}, scores {manifest.score_rule}"),
        ("checkpoint", f"sha256:{manifest.source_sha256}"),
        ("input", f"{manifest.input_size} x {manifest.input_size} pixels"),
        ("precision", f"{manifest.precision}, weights in {manifest.weights}"),
        ("capabilities", "; ".join(["finds what a phrase names", *capabilities])),
        ("vocabulary", _listed(manifest.vocabulary)),
        ("golden run", f"{len(expected.instances)} instances of {_listed(expected.prompts)}"),
        ("parity", _parity(manifest.parity)),
        ("signature", f"by the key {manifest.signature.key_id}" if manifest.signature else "none"),
    ]
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _files(manifest: Manifest) -> Table:
    table = Table("file", "MB", "SHA-256", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, entry in manifest.files.items():
        table.add_row(name, f"{entry.size / 1e6:,.1f}", entry.sha256[:16])
    table.add_row("all", f"{sum(e.size for e in manifest.files.values()) / 1e6:,.1f}", "", style="bold")
    return table


def _graphs(bundle: Path, manifest: Manifest) -> Table:
    table = Table("graph", "inputs", "outputs", box=None, pad_edge=False)
    for name in (n for n in manifest.files if n.endswith(".onnx")):
        graph = onnx.load(bundle / name, load_external_data=False).graph
        constants = {weight.name for weight in graph.initializer}
        inputs = (value for value in graph.input if value.name not in constants)
        table.add_row(name, _values(inputs), _values(graph.output))
    return table


def _values(values: Any) -> Text:
    shown = []
    for value in values:
        kind = value.type.tensor_type
        shape = ", ".join(d.dim_param or str(d.dim_value) for d in kind.shape.dim)
        shown.append(f"{value.name} {onnx.TensorProto.DataType.Name(kind.elem_type).lower()} [{shape}]")
    return Text("\n".join(shown))


def _parity(parity: dict[str, Any] | None) -> str:
    if parity is None:
        return "not compared with its checkpoint"
    waiver = f"; waiver: {parity['tolerance']['waived']}" if parity["tolerance"]["waived"] else ""
    return (
        f"{'passed' if parity['passed'] else 'FAILED'}, judged by {parity['judged_by']}: {parity['objects']} objects "
        f"in {parity['images']} images, worst mask IoU {parity['worst_iou']:.4f}{waiver}"
    )


def _listed(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
