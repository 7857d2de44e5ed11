"""From a training run to a checkpoint that ``sam3edge-export`` reads: a transformers folder of the averaged weights.

python -m sam3edge_pipeline.training.release --run runs/demo/last.pt --out assets/demo-checkpoint
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from sam3edge_pipeline.training.model import word_tokenizer
from sam3edge_pipeline.training.train import Learner

LICENSE = """The weights in this bundle were trained from scratch on synthetic scenes that the seeded scripts of this
repository draw. No weights of Meta's SAM 3 are in it. They are licensed as the repository is: Apache License 2.0.
"""


def release(run: Path, out: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` (float16), ``tokenizer.json`` and ``LICENSE`` into ``out``."""
    learner = Learner()
    learner.load_state_dict(torch.load(run, weights_only=True)["average"])
    learner.model.half().save_pretrained(out)
    word_tokenizer().save(str(out / "tokenizer.json"))
    (out / "LICENSE").write_text(LICENSE, encoding="utf-8")


def main() -> None:
    """Read the command line and release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="what the training wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    arguments = parser.parse_args()
    release(arguments.run, arguments.out)


if __name__ == "__main__":
    main()
