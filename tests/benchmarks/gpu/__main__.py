"""The command line of the benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.gpu.report import write
from benchmarks.gpu.subjects import Size
from benchmarks.gpu.suite import Plan, measure
from sam3edge_export.torch_engine import TorchOptions, cloud_options
from sam3edge_export.torch_engine.options import Compilation


def main(
    out: Annotated[Path, typer.Option(help="folder of the results")],
    config: Annotated[Size, typer.Option(help="full size, or small to try the benchmark")] = "full",
    device: Annotated[str, typer.Option(help="cuda, cuda:N or cpu")] = "cuda" if torch.cuda.is_available() else "cpu",
    compilation: Annotated[Compilation, typer.Option(help="mode of torch.compile on a GPU")] = "default",
    instances: Annotated[int, typer.Option(help="found of every prompt that is present")] = 5,
    seconds: Annotated[float, typer.Option(help="that each measurement lasts")] = 3.0,
    largest: Annotated[int, typer.Option(help="batch of images, a power of two")] = 16,
    bundle: Annotated[Path | None, typer.Option(help="to be measured in ONNX Runtime")] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="bpe_simple_vocab_16e6.txt.gz, for Meta's package")] = None,
) -> None:
    """Measure and write a dated page of results."""
    console = Console()
    options = TorchOptions(launching="static")
    if device.startswith("cuda"):
        cloud = cloud_options(device)
        options = TorchOptions(device, cloud.precision, compilation, cloud.launching)
    batches = tuple(2**i for i in range(largest.bit_length()) if 2**i <= largest)
    plan = Plan(config, options, batches, instances=instances, seconds=seconds, bundle=bundle, vocabulary=vocabulary)
    page = write(measure(plan, console.logger), out)
    console.print(page.read_text(encoding="utf-8"))
    console.print(f"written to {page}")


if __name__ == "__main__":
    typer.run(main)
