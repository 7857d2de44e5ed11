"""Compiled code is kept for the next start, and nothing that is wrong with its folder stops an engine."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch

from sam3edge_export.torch_engine.compiled_code import SUFFIX, kept_compiled

CPU = torch.device("cpu")


def kept_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


class Artifacts:
    """torch's functions, imitated: what was compiled, and what was loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, made: bytes | None) -> None:
        self.made = made
        self.loaded: list[bytes] = []
        monkeypatch.setattr(torch.compiler, "save_cache_artifacts", lambda: self.made and (self.made, None))
        monkeypatch.setattr(torch.compiler, "load_cache_artifacts", self.load)

    def load(self, artifacts: bytes) -> object:
        self.loaded.append(artifacts)
        if artifacts == b"worse than damaged":
            raise ValueError("unpickling stack underflow")
        return None if artifacts == b"damaged" else object()


def test_the_next_start_takes_what_this_one_has_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchs = Artifacts(monkeypatch, b"code")
    with kept_compiled(tmp_path / "new", CPU):
        assert torchs.loaded == []
    [path] = kept_in(tmp_path / "new")
    assert path.suffix == SUFFIX
    assert path.read_bytes() == b"code"
    with kept_compiled(tmp_path / "new", CPU):
        assert torchs.loaded == [b"code"]
    assert kept_in(tmp_path / "new") == [path]


def test_what_is_compiled_besides_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchs = Artifacts(monkeypatch, b"code")
    for made in (b"code", b"code and more"):
        torchs.made = made
        with kept_compiled(tmp_path, CPU):
            pass
    assert kept_in(tmp_path)[0].read_bytes() == b"code and more"


@pytest.mark.parametrize("damage", [b"damaged", b"worse than damaged"])
def test_damaged_code_is_compiled_again_and_exchanged(
    damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Artifacts(monkeypatch, b"code")
    with kept_compiled(tmp_path, CPU):
        pass
    [path] = kept_in(tmp_path)
    path.write_bytes(damage)
    with caplog.at_level(logging.WARNING), kept_compiled(tmp_path, CPU):
        pass
    assert "compiling again" in caplog.text
    assert path.read_bytes() == b"code"


def test_a_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Artifacts(monkeypatch, b"code")
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING), kept_compiled(tmp_path / "file", CPU):
        pass
    assert "cannot be kept" in caplog.text or "cannot be used" in caplog.text


def test_another_torch_takes_nothing_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchs = Artifacts(monkeypatch, b"code")
    with kept_compiled(tmp_path, CPU):
        pass
    monkeypatch.setattr(torch, "__version__", "99.0")
    with kept_compiled(tmp_path, CPU):
        assert torchs.loaded == []
    assert len(kept_in(tmp_path)) == 2


def test_nothing_is_kept_unless_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchs = Artifacts(monkeypatch, b"code")
    with kept_compiled(None, CPU):
        pass
    assert torchs.loaded == []


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for the CPU with g++")
def test_torch_finds_its_own_artifacts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters

    def hits() -> int:
        return int(counters["inductor"]["fxgraph_cache_hit"])

    def start(cache: str) -> None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / cache))
        torch._dynamo.reset()
        with kept_compiled(tmp_path / "kept", CPU):
            torch.compile(lambda x: (x * 3 + 1).relu(), fullgraph=True)(torch.ones(7))

    before = hits()
    start("first")
    assert hits() == before
    start("second")
    assert hits() == before + 1
