"""The benchmark of SAM 3: small on any machine, to see that it measures what it says; whole on a GPU.

pytest tests/benchmarks/test_gpu_benchmark.py -m gpu
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.fidelity import Truth
from benchmarks.gpu.measure import Load, NotForced, Row, force, measure_batch
from benchmarks.gpu.peers import between
from benchmarks.gpu.report import line, ratios, write
from benchmarks.gpu.subjects import WORDS, build, decode, ellipse, photographs
from benchmarks.gpu.suite import Plan, measure
from sam3edge.core.types import EngineOutput, Frame, Instance, Prompt
from sam3edge_export.torch_engine import Identity, TorchEngine, TorchOptions, cloud_options

RESULTS = Path(__file__).parent / "results"


@pytest.mark.slow
def test_the_whole_benchmark_on_a_small_model(tmp_path: Path, demo_bundle: Path) -> None:
    plan = Plan(
        "small",
        TorchOptions(launching="static"),
        batches=(2, 1),
        prompts=((1, 1), (3, 1)),
        instances=2,
        seconds=0.0,
        bundle=demo_bundle,
    )
    told: list[Row | Truth] = []
    results = measure(plan, told.append)
    assert [row for row in told if isinstance(row, Row)] == results.rows
    assert all(row.who in line(row) for row in results.rows)
    assert [truth.way for truth in results.truths] == ["served", "autocast"]
    assert all(0 < truth.distance.mean_iou < 1 for truth in results.truths)
    ours = [row for row in results.rows if row.who.startswith("sam3edge")]
    assert [(r.load.images, r.load.prompts, r.load.present) for r in ours] == [
        (1, 1, 1), (1, 3, 1), (2, 1, 1), (1, 1, 1)
    ]  # fmt: skip
    assert {"JPEG", "vision", "decoder", "masks", "polygons"} <= set(ours[0].stages)
    assert {row.who for row in results.rows if row not in ours} == {
        "transformers, one pass a prompt",
        "transformers, image encoded once",
        "bundle fp32 in CPUExecutionProvider",
    }
    assert all(row.milliseconds > 0 and row.runs >= 5 for row in results.rows)
    assert "Meta's package" in results.left_out
    page = write(results, tmp_path)
    table = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(results.rows)
    stored = json.loads(page.with_suffix(".json").read_text())
    assert [row["milliseconds"] for row in stored["rows"]] == [row.milliseconds for row in results.rows]
    assert [truth["way"] for truth in stored["fidelity"]] == ["served", "autocast"]
    assert "bf16 served: logits" in page.read_text()


def test_a_part_that_fails_takes_no_other_with_it_and_the_order_is_the_given_one() -> None:
    """More instances are wanted than there are queries."""
    plan = Plan(
        "small", TorchOptions(launching="static"), ("bundle", "ours", "transformers"), prompts=((1, 1),), seconds=0.0,
        instances=9999,
    )  # fmt: skip
    results = measure(plan, lambda row: None)
    assert results.rows == []
    assert list(results.left_out) == ["ONNX Runtime", "the rest of ours", "the rest of transformers"]
    assert "expected more than 9999 scores" in results.left_out["the rest of ours"]


def test_fewer_scores_than_are_wanted_are_an_error() -> None:
    assert 0.2 < between(torch.tensor([0.1, 0.3, 0.2]), 1) < 0.3
    with pytest.raises(NotForced, match="expected more than 3 scores, got 3"):
        between(torch.tensor([0.1, 0.3, 0.2]), 3)


def test_exactly_the_wanted_queries_are_admitted() -> None:
    subject = build("small", "cpu")
    engine = TorchEngine(subject.model, subject.tokenizer, Identity("random", "0", "sha256:0"))
    frames = [decode(content) for content in photographs(subject.side, 2)]
    load = Load(2, 4, 3, 7)
    found = engine.segment_many(frames, force(engine, frames, load))
    for output in found:
        admitted = [sum(i.prompt.text == word for i in output.instances) for word in WORDS[:4]]
        assert admitted == [7, 7, 7, 0]


class Stubborn:
    """Gives every query the same score."""

    def segment_many(self, frames: list[Frame], prompts_of_each: list[list[Prompt]]) -> list[EngineOutput]:
        each = [Instance(p, 0.5, (0, 0, 1, 1), ellipse(8, 0)) for p in prompts_of_each[0] for _ in range(9)]
        return [EngineOutput(tuple(each), {}) for _ in frames]


def test_scores_that_cannot_be_told_apart_are_an_error() -> None:
    (content,) = photographs(64, 1)
    with pytest.raises(NotForced, match="scores 2 and 3"):
        measure_batch("stubborn", Stubborn(), [decode(content)], Load(1, 1, 1, 2), 0)  # type: ignore[arg-type]


def test_ratios_say_what_more_prompts_cost_and_what_others_take() -> None:
    rows = [
        Row("ours", Load(1, 1, 1, 5), 10, 11, 9),
        Row("ours", Load(1, 16, 2, 5), 15, 16, 9),
        Row("theirs", Load(1, 1, 1, 5), 30, 31, 9),
    ]
    assert ratios(rows) == [
        "ours: 16 prompts (2 present) cost 1.50 times 1",
        "theirs: 1 image and 1 prompt take 3.00 times ours",
    ]


@pytest.mark.gpu
@pytest.mark.timeout(1800)
def test_full_size(figure: Callable[[str], None]) -> None:
    """Writes the dated page. The targets are those of an H200; elsewhere the figures are for reading."""
    results = measure(Plan("full", cloud_options()), lambda _: None)
    write(results, RESULTS)
    ours = [row for row in results.rows if row.who.startswith("sam3edge")]
    single = {(r.load.prompts, r.load.present): r.milliseconds for r in ours if "frames" not in r.who}
    fastest = max(r.images_per_second for r in ours if "frames" in r.who)
    figure(f"one image and prompt {single[1, 1]:.1f} ms, {fastest:.0f} images/s, {single}")
    assert single[16, 2] < single[16, 16]
    if "H200" in torch.cuda.get_device_name():
        assert single[1, 1] <= 15
        assert fastest >= 90
        assert single[4, 4] <= 1.35 * single[1, 1]
        assert single[16, 16] <= 2.4 * single[1, 1]
