"""Providers that find the right things, and those that do not: faked ones before the demo bundle's own graphs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from sam3edge.bundle.golden import EMPTY, EXPECTED
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.proof import Proofs, open_proven
from sam3edge.bundle.verify import model_files
from sam3edge.core.errors import BundleError, EngineError
from sam3edge.core.ports import Engine
from sam3edge.core.types import EngineOutput, Frame, Instance, ModelFiles, ModelInfo, PassedOver, Prompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions

TRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


class Faked:
    """The demo bundle's engine under the name of another provider."""

    def __init__(self, provider: str, inner: Engine) -> None:
        self._provider = provider
        self._inner = inner
        self.closed = False

    @property
    def model(self) -> ModelInfo:
        return replace(self._inner.model, provider=self._provider)

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        return self._inner.segment(frame, prompts)

    def close(self) -> None:
        self.closed = True


class FindsLess(Faked):
    """Scores fall to a twentieth, as those of SAM 3 did in half precision on one GPU."""

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        output = super().segment(frame, prompts)
        return replace(output, instances=tuple(replace(i, score=i.score / 20) for i in output.instances))


class InventsThings(Faked):
    """Right where there is something; finds an object where there is nothing."""

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        output = super().segment(frame, prompts)
        if output.instances:
            return output
        mask = np.full((32, 32), -5.0, np.float32)
        mask[8:24, 8:24] = 5.0
        box = (frame.width / 4, frame.height / 4, frame.width * 3 / 4, frame.height * 3 / 4)
        return replace(output, instances=(Instance(prompts[0], 0.8, box, mask),))


class WrongAlone(Faked):
    """Right for a full batch of prompts, wrong for one."""

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        output = super().segment(frame, prompts)
        return output if len(prompts) > 1 else replace(output, instances=())


class Fails(Faked):
    """Loads and cannot run: a kernel is missing."""

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        raise EngineError("no kernel image is available for execution on the device")


@dataclass
class Machine:
    """What each provider does here; a provider that is not named does not load, and the next one runs instead.

    Attributes:
        loads: on which providers the bundle was loaded, in order.
        engines: what was loaded.
    """

    inner: Engine
    kinds: dict[str, type[Faked] | Exception]
    loads: list[str] = field(default_factory=list)
    engines: list[Faked] = field(default_factory=list)

    def load(self, providers: Sequence[str]) -> Engine:
        """As ONNX Runtime."""
        self.loads.append(providers[0])
        runs = next(provider for provider in providers if provider in self.kinds)
        kind = self.kinds[runs]
        if isinstance(kind, Exception):
            raise kind
        self.engines.append(kind(runs, self.inner))
        return self.engines[-1]


@pytest.fixture(scope="module")
def files(demo_bundle: Path) -> ModelFiles:
    return model_files(demo_bundle, read_manifest(demo_bundle))


@pytest.fixture(scope="module")
def inner(files: ModelFiles) -> Engine:
    return OnnxEngine(files, OnnxOptions((CPU,), threads=1))


def test_the_demo_bundle_has_an_image_in_which_there_is_nothing(demo_bundle: Path) -> None:
    assert json.loads((demo_bundle / EXPECTED).read_text())["empty"] is True
    assert (demo_bundle / EMPTY).is_file()


def test_the_first_one_that_is_right_is_taken(files: ModelFiles, inner: Engine) -> None:
    machine = Machine(inner, {TRT: Faked, CUDA: Faked, CPU: Faked})
    proven = open_proven(files, (TRT, CUDA, CPU), machine.load)
    assert (proven.engine.model.provider, proven.passed_over, machine.loads) == (TRT, (), [TRT])


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (FindsLess, "must score"),
        (InventsThings, "is found and must not be"),
        (WrongAlone, "must be found and is not"),
        (Fails, "no kernel image is available"),
        (EngineError("vision.onnx does not load: CUDA driver version is insufficient"), "driver version"),
        (None, "does not load here, CUDAExecutionProvider would run instead"),
    ],
)
def test_one_that_is_wrong_is_passed_over_and_named(
    files: ModelFiles, inner: Engine, kind: type[Faked] | Exception | None, says: str
) -> None:
    kinds: dict[str, type[Faked] | Exception] = {CUDA: Faked, CPU: Faked}
    machine = Machine(inner, kinds if kind is None else {TRT: kind, **kinds})
    proven = open_proven(files, (TRT, CUDA, CPU), machine.load)
    assert proven.engine.model.provider == CUDA
    [passed] = proven.passed_over
    assert passed.provider == TRT
    assert says in passed.reason
    assert [engine.closed for engine in machine.engines[:-1]] == [True] * (len(machine.engines) - 1)
    assert not machine.engines[-1].closed


def test_the_cpu_is_the_last_resort_and_only_where_it_is_asked_for(files: ModelFiles, inner: Engine) -> None:
    machine = Machine(inner, {TRT: FindsLess, CUDA: Fails, CPU: Faked})
    proven = open_proven(files, (TRT, CUDA, CPU), machine.load)
    assert proven.engine.model.provider == CPU
    assert [one.provider for one in proven.passed_over] == [TRT, CUDA]
    with pytest.raises(
        BundleError, match=r"none of the execution providers .*Tensorrt.*: .*CUDA.*: no kernel"
    ) as refused:
        open_proven(files, (TRT, CUDA), machine.load)
    assert CPU not in str(refused.value)
    with pytest.raises(EngineError, match="no kernel image"):
        open_proven(files, (CUDA,), machine.load)


def test_what_was_proven_is_not_proven_again_until_something_changes(
    files: ModelFiles, inner: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "proofs.json"
    machine = Machine(inner, {TRT: InventsThings, CUDA: Faked, CPU: Faked})
    first = open_proven(files, (TRT, CUDA, CPU), machine.load, Proofs(path, "h200_driver-580_ort1.31"))
    machine.loads.clear()
    again = open_proven(files, (TRT, CUDA, CPU), machine.load, Proofs(path, "h200_driver-580_ort1.31"))
    assert machine.loads == [CUDA]  # at once, and without a golden run
    assert again.passed_over == first.passed_over
    assert again.passed_over[0] == PassedOver(TRT, first.passed_over[0].reason)
    for proofs, asked, bundle in (
        (Proofs(path, "h200_driver-590_ort1.31"), (TRT, CUDA, CPU), files),
        (Proofs(path, "h200_driver-580_ort1.31"), (TRT, CPU), files),
        (Proofs(path, "h200_driver-580_ort1.31"), (TRT, CUDA, CPU), replace(files, digest="sha256:" + "1" * 64)),
    ):
        machine.loads.clear()
        open_proven(bundle, asked, machine.load, proofs)
        assert machine.loads[0] == TRT


def test_a_proof_that_no_longer_holds_is_made_again(files: ModelFiles, inner: Engine, tmp_path: Path) -> None:
    proofs = Proofs(tmp_path / "proofs.json", "machine")
    open_proven(files, (CUDA, CPU), Machine(inner, {CUDA: Faked, CPU: Faked}).load, proofs)
    without = Machine(inner, {CPU: Faked})  # the libraries are gone, and nothing else tells
    proven = open_proven(files, (CUDA, CPU), without.load, proofs)
    assert proven.engine.model.provider == CPU
    assert [one.provider for one in proven.passed_over] == [CUDA]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"proofs": [{"digest": 1}]}', b'{"else": 1}'])
def test_a_damaged_file_of_proofs_is_no_harm(files: ModelFiles, inner: Engine, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "proofs.json"
    path.write_bytes(damage)
    machine = Machine(inner, {CPU: Faked})
    assert open_proven(files, (CPU,), machine.load, Proofs(path, "m")).engine.model.provider == CPU
    assert Proofs(path, "m").find(files.digest, (CPU,)) is not None


def test_a_disk_that_keeps_nothing_is_no_harm(files: ModelFiles, inner: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    proofs = Proofs(tmp_path / "file" / "proofs.json", "m")
    assert open_proven(files, (CPU,), Machine(inner, {CPU: Faked}).load, proofs).engine.model.provider == CPU
