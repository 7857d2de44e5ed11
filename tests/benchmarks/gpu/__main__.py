"""The command line of the benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import torch
import typer
from rich.console import Console

from benchmarks.gpu.report import line, write
from benchmarks.gpu.subjects import Size
from benchmarks.gpu.suite import PARTS, Part, Plan, measure
from sam3edge_export.torch_engine import TorchOptions, cloud_options
from sam3edge_export.torch_engine.options import Compilation


def main(
    out: Annotated[Path, typer.Option(help="folder of the results")],
    config: Annotated[Size, typer.Option(help="full size, or small to try the benchmark")] = "full",
    device: Annotated[str, typer.Option(help="cuda, cuda:N or cpu")] = "cuda" if torch.cuda.is_available() else "cpu",
    compilation: Annotated[Compilation, typer.Option(help="mode of torch.compile on a GPU")] = "default",
    only: Annotated[list[str] | None, typer.Option(help=f"of {', '.join(PARTS)}; several, in order of need")] = None,
    instances: Annotated[int, typer.Option(help="found of every prompt that is present")] = 5,
    seconds: Annotated[float, typer.Option(help="that each measurement lasts")] = 3.0,
    largest: Annotated[int, typer.Option(help="batch of images, a power of two")] = 16,
    bundle: Annotated[Path | None, typer.Option(help="to be measured in ONNX Runtime")] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="bpe_simple_vocab_16e6.txt.gz, for Meta's package")] = None,
) -> None:
    """Measure, say each row as soon as it is there, and write a dated page of results."""
    console = Console()
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"expected some of {', '.join(PARTS)}; got {', '.join(sorted(unknown))}")
    parts = tuple(cast("list[Part]", only)) if only else PARTS
    options = TorchOptions(launching="static")
    if device.startswith("cuda"):
        cloud = cloud_options(device)
        options = TorchOptions(device, cloud.precision, compilation, cloud.launching)
    batches = tuple(2**i for i in reversed(range(largest.bit_length())) if 2**i <= largest)
    plan = Plan(
        config, options, parts, batches, instances=instances, seconds=seconds, bundle=bundle, vocabulary=vocabulary
    )
    results = measure(plan, lambda row: typer.echo(line(row)))
    page = write(results, out)
    console.print(page.read_text(encoding="utf-8"))
    console.print(f"written to {page}")


if __name__ == "__main__":
    typer.run(main)
