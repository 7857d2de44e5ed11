"""Nothing of ours lets ONNX Runtime write about the device: seen on the disk, with a home of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

RUN = """
import sys
from pathlib import Path
from sam3edge.bundle.golden import run_golden
from sam3edge.bundle.verify import model_files, verify
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.runtime import OnnxOptions
bundle = Path(sys.argv[1])
engine = open_engine(model_files(bundle, verify(bundle, None)), OnnxOptions(("CPUExecutionProvider",), threads=1))
run_golden(bundle, engine)
engine.close()
"""


def test_an_engine_leaves_nothing_in_a_fresh_home(tmp_path: Path, demo_bundle: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", RUN, str(demo_bundle)], check=True, env=environment, timeout=100)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("package", ["components", "export", "pipeline", "simulator"])
def test_nobody_imports_it_in_another_way(package: str) -> None:
    imports = re.compile(r"^\s*(import onnxruntime|from onnxruntime)", re.MULTILINE)
    found = [path.name for path in (ROOT / package).rglob("*.py") if imports.search(path.read_text())]
    assert found == (["ort.py"] if package == "components" else [])
