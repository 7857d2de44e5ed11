"""Which execution provider runs a bundle: the first that is proven to.

That a runtime lists a provider proves nothing: its libraries may be missing, its kernels may be for other GPUs, and
there were compilers that made a model find nothing, or things that are not there, and reported no error. So each
provider has to find in the bundle's golden images what was found when the bundle was made, and nothing in the one that
is empty. One that does not is passed over, which is said, and the next one is tried.

What was proven is kept with what it was proven on: the GPU, its driver, TensorRT and ONNX Runtime. When any of them
changes it is proven again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sam3edge.bundle.golden import run_golden
from sam3edge.core.errors import BundleError, EngineError
from sam3edge.core.ports import Engine
from sam3edge.core.types import ModelFiles, PassedOver
from sam3edge.durable import write_file

logger = logging.getLogger(__name__)

KEPT = 8
"""Proofs, the latest ones: of the bundles that a store keeps, with the configurations that were tried."""


@dataclass(frozen=True, slots=True, eq=False)
class ProvenEngine:
    """An engine that finds what it must, and which providers before it did not."""

    engine: Engine
    passed_over: tuple[PassedOver, ...] = ()


class _PassedOver(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    provider: str
    reason: str


class _Proof(BaseModel):
    """That ``provider`` runs the bundle ``digest``, when ``asked`` were asked for, on ``machine``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    digest: str
    machine: str
    asked: tuple[str, ...]
    provider: str
    passed_over: tuple[_PassedOver, ...]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    proofs: tuple[_Proof, ...] = ()


class Proofs:
    """What was proven on this machine, in a file.

    Args:
        path: of the file; it need not exist. What is in it and cannot be read is forgotten.
        machine: what the result depends on beside the bundle, see ``engines.cache.machine``.
    """

    def __init__(self, path: Path, machine: str) -> None:
        self._path = path
        self._machine = machine

    def find(self, digest: str, asked: Sequence[str]) -> ProvenProvider | None:
        """What was proven of a bundle with these providers; None where nothing was, or something has changed since."""
        for proof in self._read():
            if (proof.digest, proof.machine, proof.asked) == (digest, self._machine, tuple(asked)):
                return ProvenProvider(
                    proof.provider, tuple(PassedOver(p.provider, p.reason) for p in proof.passed_over)
                )
        return None

    def keep(self, digest: str, asked: Sequence[str], proven: ProvenProvider) -> None:
        """Remember it, as far as the disk takes it: without, it is proven again at the next start."""
        passed_over = tuple(_PassedOver(provider=p.provider, reason=p.reason) for p in proven.passed_over)
        proof = _Proof(
            digest=digest, machine=self._machine, asked=tuple(asked), provider=proven.provider, passed_over=passed_over
        )
        others = [p for p in self._read() if (p.digest, p.asked) != (proof.digest, proof.asked)]
        document = _Document(proofs=(proof, *others)[:KEPT])
        try:
            write_file(self._path, document.model_dump_json(indent=1).encode())
        except OSError as error:
            logger.warning("what was proven of the model cannot be kept in %s: %s", self._path, error)

    def _read(self) -> tuple[_Proof, ...]:
        try:
            return _Document.model_validate_json(self._path.read_bytes()).proofs
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            logger.warning("%s cannot be read, the model is proven again: %s", self._path, type(error).__name__)
            return ()


@dataclass(frozen=True, slots=True)
class ProvenProvider:
    """Which provider runs a bundle, and which ones do not, and why."""

    provider: str
    passed_over: tuple[PassedOver, ...]


def open_proven(
    files: ModelFiles,
    asked: Sequence[str],
    load: Callable[[Sequence[str]], Engine],
    proofs: Proofs | None = None,
) -> ProvenEngine:
    """Load a bundle on the first provider that is proven to run it.

    Args:
        asked: providers in order of preference, all of which the runtime has.
        load: loads the bundle on the first of the given providers; the others take what it has no kernels for.
        proofs: what was proven before, which is not proven again.

    Raises:
        BundleError: none of them finds what it must.
        EngineError: none of them runs.
    """
    known = proofs.find(files.digest, asked) if proofs else None
    if known is not None:
        engine = load(tuple(asked)[asked.index(known.provider) :])
        if engine.model.provider == known.provider:
            return ProvenEngine(engine, known.passed_over)
        engine.close()
    passed_over: list[PassedOver] = []
    failures: list[BundleError | EngineError] = []
    for number, provider in enumerate(asked):
        try:
            engine = _proven(files, provider, load(tuple(asked)[number:]))
        except (BundleError, EngineError) as error:
            logger.warning("%s %s does not run on %s: %s", files.name, files.version, provider, error)
            passed_over.append(PassedOver(provider, str(error)))
            failures.append(error)
            continue
        proven = ProvenProvider(provider, tuple(passed_over))
        if proofs is not None:
            proofs.keep(files.digest, asked, proven)
        return ProvenEngine(engine, proven.passed_over)
    if len(failures) == 1:
        raise failures[0]
    reasons = "; ".join(f"{p.provider}: {p.reason}" for p in passed_over)
    raise BundleError(f"{files.name} {files.version} runs on none of the execution providers asked for: {reasons}")


def _proven(files: ModelFiles, provider: str, engine: Engine) -> Engine:
    """The engine; closed where it is not as it must be."""
    try:
        if engine.model.provider != provider:
            raise EngineError(f"it does not load here, {engine.model.provider} would run instead")
        milliseconds = run_golden(files.root, engine)
    except BaseException:
        engine.close()
        raise
    logger.info("%s %s is proven on %s, %.0f ms", files.name, files.version, provider, milliseconds)
    return engine
