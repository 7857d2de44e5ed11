"""Which execution providers run, and what is said of a Jetson on which none does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sam3edge.engines import provider_check
from sam3edge.engines.provider_check import GRAPH, INPUT, OUTPUT, Checked, check_providers
from sam3edge.greengrass.jetpack import advice, read_table, this_jetpack
from sam3edge.greengrass.provider_report import report

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
DOCUMENT = Path(__file__).parents[3] / "docs" / "jetson.md"


def jetson(root: Path, release: str, cuda: str) -> Path:
    """A system that looks like a Jetson."""
    major, revision = release.split(".", 1)
    (root / "etc").mkdir(parents=True)
    text = f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, EABI: aarch64"
    (root / "etc" / "nv_tegra_release").write_text(text)
    (root / "usr" / "local" / f"cuda-{cuda}").mkdir(parents=True)
    (root / "usr" / "local" / "cuda-bin").mkdir()
    return root


def test_the_graph_is_what_its_description_says() -> None:
    weights = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2) - 3, "w")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 3, 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 2, 2])]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    graph = helper.make_graph(nodes, "check", inputs, outputs, [weights])
    assert onnx.load_from_string(GRAPH).graph == graph
    patches = np.lib.stride_tricks.sliding_window_view(INPUT[0, 0], (2, 2))
    by_hand = np.einsum("ijkl,okl->oij", patches, (np.arange(8) - 3).reshape(2, 2, 2))
    np.testing.assert_array_equal(OUTPUT[0], np.maximum(by_hand, 0))


def test_the_cpu_runs() -> None:
    assert list(check_providers()) == [Checked(CPU, True)]


def test_a_provider_whose_libraries_are_missing_does_not_run() -> None:
    """ONNX Runtime warns, runs on the CPU, and still says that it has the provider."""
    first, second = check_providers((CPU, CUDA))
    assert (first.provider, first.runs) == (CUDA, False)
    assert first.reason
    assert second == Checked(CPU, True)


def test_a_provider_that_computes_nonsense_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def __init__(self, *_: Any, providers: list[str]) -> None:
            self._providers = providers

        def get_providers(self) -> list[str]:
            return self._providers

        def run(self, *_: Any) -> list[Any]:
            return [OUTPUT * 0.5]

    monkeypatch.setattr(provider_check.ort, "InferenceSession", Session)
    [checked] = check_providers((CPU,))
    assert not checked.runs
    assert "which is wrong" in checked.reason


@pytest.mark.parametrize(
    ("release", "cuda", "jetpack", "can"),
    [
        ("36.3.0", "12.2", "6.0", "Jetson AI Lab"),
        ("36.4.3", "12.6", "6.1, 6.2", "onnxruntime-gpu-extended==1.23.2.12.9"),
        ("36.5.0", "12.6", "6.1, 6.2", "onnxruntime-gpu-extended"),
        ("38.2.1", "13.0", "7.0, 7.1", "own build with sm_110"),
        ("38.4.0", "13.0", "7.0, 7.1", "own build with sm_110"),
        ("39.1.0", "13.2", "7.2", "own build with sm_87 and sm_110"),
    ],
)
def test_a_jetson_is_told_by_its_release_or_its_cuda(
    tmp_path: Path, release: str, cuda: str, jetpack: str, can: str
) -> None:
    system = jetson(tmp_path, release, cuda)
    line = this_jetpack(system)
    assert line is not None
    assert (line.jetpack, line.cuda) == (jetpack, cuda)
    assert "PyPI's onnxruntime-gpu" in advice(system)
    assert can in advice(system)


def test_a_newer_jetson_and_another_computer(tmp_path: Path) -> None:
    assert "is newer than docs/jetson.md knows" in advice(jetson(tmp_path / "new", "41.1.0", "14.0"))
    assert advice(tmp_path / "other") == ""
    assert this_jetpack(tmp_path / "other") is None


def test_what_is_said_of_a_jetson_on_which_no_accelerator_runs(tmp_path: Path) -> None:
    system = jetson(tmp_path, "36.4.3", "12.6")
    failed = [Checked(CUDA, False, "no kernel image is available for execution on the device"), Checked(CPU, True)]
    first, second, third = report("1.31.1", failed, system)
    assert first == f"onnxruntime 1.31.1: {CUDA} does not run: no kernel image is available for execution on the device"
    assert second == f"onnxruntime 1.31.1: {CPU} runs"
    assert third.startswith("the model will run on the CPU: this is JetPack 6.1, 6.2")
    assert len(list(report("1.23.2", [Checked(CUDA, True), Checked(CPU, True)], system))) == 2
    assert list(report("1.31.1", [Checked(CPU, True)], tmp_path / "other")) == [f"onnxruntime 1.31.1: {CPU} runs"]


def test_it_is_a_program() -> None:
    command = [sys.executable, "-m", "sam3edge.greengrass.provider_report"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.endswith(f"{CPU} runs\n")
    command[-1] = "sam3edge.engines.provider_check"
    said = [json.loads(line) for line in subprocess.run(command, capture_output=True, check=True).stdout.splitlines()]
    assert said[1:] == [{"provider": CPU, "runs": True, "reason": ""}]


def test_the_document_has_the_table() -> None:
    text = DOCUMENT.read_text()
    for line in read_table():
        row = f"| {line.jetpack} | {line.jetson_linux or 'by CUDA'} | {line.cuda} | {line.tensorrt} | {line.python} |"
        assert row in text
        assert all(build in text for build in line.can)
