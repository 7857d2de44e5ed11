"""Judge the candidate and the model before by the test split, and say whether the candidate may replace it.

Inputs ``model`` and ``baseline`` (checkpoints, as they are or as ``model.tar.gz``) and ``dataset``; told the margins
and ``new_phrases``; outputs ``report`` (``report.json``, ``index.html``), ``baseline`` (the same of the model before)
and ``decision/decision.json``, which the pipeline's condition reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from sam3edge.core.errors import SettingsError
from sam3edge_export.checkpoint import read_checkpoint
from sam3edge_export.sam3.tokenizer import tokenizer_of
from sam3edge_export.torch_engine import Identity, TorchEngine, TorchOptions
from sam3edge_pipeline.datasets.store import Dataset, open_dataset
from sam3edge_pipeline.evaluation.decision import decide
from sam3edge_pipeline.evaluation.document import DatasetIdentity
from sam3edge_pipeline.evaluation.evaluation import evaluate
from sam3edge_pipeline.evaluation.report import write_report
from sam3edge_pipeline.steps.parameters import margins_of, phrases_of
from sam3edge_pipeline.steps.places import Places, checkpoint_in, run_step, unpacked


def judge(places: Places) -> None:
    """Run the step."""
    new, margins = phrases_of(places.told), margins_of(places.told)
    dataset = open_dataset(places.given("dataset"))
    reports = {}
    for name, output in (("model", "report"), ("baseline", "baseline")):
        with unpacked(places.given(name)) as folder:
            reports[name] = report_checkpoint(checkpoint_in(folder), dataset, places.made(output))
    decision = decide(reports["model"], reports["baseline"], new, margins)
    place = places.made("decision") / "decision.json"
    place.write_text(json.dumps(decision.as_json(), indent=1) + "\n", encoding="utf-8")


def report_checkpoint(path: Path, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Judge one checkpoint by the test split, thresholds chosen on the validation split; ``report.json``'s content.

    Raises:
        SettingsError: the dataset was not stored.
    """
    if dataset.manifest is None:
        raise SettingsError("expected a stored dataset version, which has a digest; write it first")
    checkpoint = read_checkpoint(path)
    length = int(checkpoint.model.config.text_config.max_position_embeddings)
    tokenizer = tokenizer_of(path, length)
    identity = Identity(checkpoint.family, checkpoint.kind, "sha256:" + checkpoint.sha256)
    options = TorchOptions("cuda", precision="bf16") if torch.cuda.is_available() else TorchOptions()
    engine = TorchEngine(checkpoint.model, tokenizer, identity, options)
    examples = dataset.examples
    test, validation = ([one for one in examples if one.split == split] for split in ("test", "validation"))
    try:
        found = evaluate(engine, test, validation)
    finally:
        engine.close()
    return write_report(found, DatasetIdentity(dataset.manifest.name, dataset.manifest.digest, "test"), folder)


if __name__ == "__main__":
    run_step(judge, __doc__)
