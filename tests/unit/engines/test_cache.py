"""TensorRT engines are kept for one bundle on one GPU, driver and runtime, and old ones go."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.types import ModelFiles
from sam3edge.engines import runtime
from sam3edge.engines.cache import Accelerator, engine_cache, this_accelerator
from sam3edge.engines.ort import ort
from sam3edge.engines.runtime import Graphs, OnnxOptions

ORIN = Accelerator("Orin AGX", "8.7", "540.4.0")
DIGESTS = ["sha256:" + f"{i}" * 64 for i in range(6)]


def silent() -> str:
    raise FileNotFoundError("nvidia-smi")


def test_the_folder_names_what_an_engine_depends_on(tmp_path: Path) -> None:
    folder = engine_cache(tmp_path / "engines", DIGESTS[1], lambda: ORIN)
    assert folder == tmp_path / "engines" / f"{'1' * 16}_orin-agx_8.7_540.4.0_ort{ort.__version__}"
    assert folder.is_dir()
    (folder / "vision.engine").write_bytes(b"engine")
    assert engine_cache(tmp_path / "engines", DIGESTS[1], lambda: ORIN) == folder
    assert (folder / "vision.engine").is_file()


@pytest.mark.parametrize(
    "other",
    [Accelerator("Orin NX", "8.7", "540.4.0"), Accelerator("Orin AGX", "8.9", "540.4.0"), Accelerator(), ORIN],
)
def test_another_gpu_driver_or_bundle_is_another_folder(tmp_path: Path, other: Accelerator) -> None:
    first = engine_cache(tmp_path, DIGESTS[1], lambda: ORIN)
    assert engine_cache(tmp_path, DIGESTS[2 if other is ORIN else 1], lambda: other) != first


def test_the_two_that_were_used_last_stay_beside_the_one_in_use(tmp_path: Path) -> None:
    (tmp_path / "not ours").mkdir()
    folders = []
    for age, digest in enumerate(DIGESTS):
        folders.append(engine_cache(tmp_path, digest, lambda: ORIN))
        os.utime(folders[-1], (1000 + age, 1000 + age))
    assert {p.name for p in tmp_path.iterdir()} == {"not ours", *(folder.name for folder in folders[3:])}
    assert engine_cache(tmp_path, DIGESTS[3], lambda: ORIN) == folders[3]  # back to an old one: it is in use again
    engine_cache(tmp_path, "sha256:" + "a" * 64, lambda: ORIN)
    assert folders[3].is_dir()
    assert not folders[4].exists()


def test_folders_that_were_named_by_the_digest_alone_go_too(tmp_path: Path) -> None:
    for i in range(4):
        folder = tmp_path / (f"{i}" * 16)
        folder.mkdir()
        os.utime(folder, (1000 + i, 1000 + i))
    engine_cache(tmp_path, DIGESTS[5], lambda: ORIN)
    assert sorted(p.name[0] for p in tmp_path.iterdir()) == ["2", "3", "5"]


def test_nvidia_smi_tells() -> None:
    assert this_accelerator(query=lambda: "NVIDIA H100 80GB HBM3, 9.0, 550.54.15\n") == Accelerator(
        "NVIDIA H100 80GB HBM3", "9.0", "550.54.15"
    )
    twice = "NVIDIA L4, 8.9, 550.54.15\nNVIDIA L4, 8.9, 550.54.15\nTesla T4, 7.5, 550.54.15\n"
    assert this_accelerator(query=lambda: twice) == Accelerator("NVIDIA L4+Tesla T4", "8.9+7.5", "550.54.15")


def test_a_jetson_tells_by_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic")
    (tmp_path / "proc" / "device-tree").mkdir(parents=True)
    (tmp_path / "proc" / "device-tree" / "model").write_bytes(b"NVIDIA Jetson AGX Orin Developer Kit\0")
    assert this_accelerator(tmp_path, silent) == Accelerator("NVIDIA Jetson AGX Orin Developer Kit", "", "r36.4.3")


def test_the_kernel_module_tells_its_version(tmp_path: Path) -> None:
    (tmp_path / "proc" / "driver" / "nvidia").mkdir(parents=True)
    (tmp_path / "proc" / "driver" / "nvidia" / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build\nGCC version: gcc 12.3.0\n"
    )
    assert this_accelerator(tmp_path, silent).driver == "570.133.20"


@pytest.mark.parametrize("error", [FileNotFoundError("x"), subprocess.TimeoutExpired("x", 1), PermissionError("x")])
def test_a_machine_that_tells_nothing_still_has_a_folder(tmp_path: Path, error: Exception) -> None:
    def fail() -> str:
        raise error

    folder = engine_cache(tmp_path, DIGESTS[0], partial(this_accelerator, tmp_path, fail))
    assert folder.name == f"{'0' * 16}_ort{ort.__version__}"


def test_words_instead_of_a_table_are_not_a_gpu(tmp_path: Path) -> None:
    assert this_accelerator(tmp_path, lambda: "No devices were found\n") == Accelerator()


def test_tensorrt_is_told_to_keep_engines_and_timings_there_unless_the_operator_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Session:
        def __init__(self, path: Path, settings: Any, providers: list[Any]) -> None:
            asked.extend(providers)

        def get_providers(self) -> list[str]:
            return ["TensorrtExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(runtime.ort, "get_available_providers", lambda: ["TensorrtExecutionProvider"])
    monkeypatch.setattr(runtime.ort, "InferenceSession", Session)
    monkeypatch.setattr(runtime, "load_accelerator_libraries", lambda names: None)
    own = {"TensorrtExecutionProvider": {"trt_timing_cache_enable": "0"}}
    files = ModelFiles(tmp_path, "demo", "1.0.0", DIGESTS[3], "fp16", 1008)
    Graphs(files, OnnxOptions(("TensorrtExecutionProvider",), own, cache=tmp_path / "engines"), ("vision",))
    [(name, given)] = asked
    [folder] = (tmp_path / "engines").iterdir()
    assert (name, folder.name[:16]) == ("TensorrtExecutionProvider", "3" * 16)
    assert given["trt_engine_cache_path"] == given["trt_timing_cache_path"] == str(folder)
    assert (given["trt_engine_cache_enable"], given["trt_timing_cache_enable"]) == ("1", "0")
