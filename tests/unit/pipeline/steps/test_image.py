"""What the image runs for a training job."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DOCKER = Path(__file__).parents[4] / "pipeline/sam3edge_pipeline/docker"


def fake(folder: Path, name: str, answer: str) -> None:
    """A program that tells how it was called, and the number of GPUs when it is asked."""
    program = folder / name
    program.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo {answer}; else echo {name} "$@"; fi\n')
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("gpus", "called"),
    [
        ("0", "python -m sam3edge_pipeline.steps.train"),
        ("1", "python -m sam3edge_pipeline.steps.train"),
        ("4", "torchrun --standalone --nproc-per-node 4 -m sam3edge_pipeline.steps.train"),
    ],
)
def test_every_gpu_gets_a_process(gpus: str, called: str, tmp_path: Path) -> None:
    fake(tmp_path, "python", gpus)
    fake(tmp_path, "torchrun", gpus)
    done = subprocess.run(
        [DOCKER / "train"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == called


def test_the_image_copies_only_what_its_context_holds() -> None:
    ignored = (DOCKER.parents[2] / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = [
        line.split()[1:-1] for line in (DOCKER / "Dockerfile").read_text().splitlines() if line.startswith("COPY")
    ]
    assert all(name.partition("/")[0] in kept for names in copied for name in names)
