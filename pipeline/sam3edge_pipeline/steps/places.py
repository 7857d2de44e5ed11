"""Where a step finds what it is given and leaves what it makes, and how it fails."""

from __future__ import annotations

import argparse
import logging
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from sam3edge.core.errors import Sam3EdgeError, SettingsError

logger = logging.getLogger(__name__)

ROOT = Path("/opt/ml")

FAILURE_LENGTH = 1024
"""Characters of the reason that SageMaker shows."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one step below ``root``, and what it was told as ``NAME=VALUE``."""

    root: Path = ROOT
    told: Mapping[str, str] = field(default_factory=dict)

    def given(self, name: str) -> Path:
        """An input of a processing step; it may be missing."""
        return self.root / "processing" / "input" / name

    def made(self, name: str) -> Path:
        """An output of a processing step, created."""
        return _created(self.root / "processing" / "output" / name)

    def channel(self, name: str) -> Path:
        """An input of the training step."""
        return self.root / "input" / "data" / name

    @property
    def hyperparameters(self) -> Path:
        """JSON object of strings."""
        return self.root / "input" / "config" / "hyperparameters.json"

    @property
    def checkpoints(self) -> Path:
        """What a restarted training finds again, created."""
        return _created(self.root / "checkpoints")

    @property
    def model(self) -> Path:
        """What the training leaves, created."""
        return _created(self.root / "model")

    @property
    def metrics(self) -> Path:
        """What the training leaves beside the model, created."""
        return _created(self.root / "output" / "data")

    @property
    def failure(self) -> Path:
        """File for the reason of a failure."""
        return _created(self.root / "output") / "failure"


@contextmanager
def unpacked(folder: Path) -> Iterator[Path]:
    """The content of ``folder``: of the one archive in it, as SageMaker hands models on, or its own.

    Raises:
        SettingsError: there is no such folder, or its archive reaches out of itself.
    """
    if not folder.is_dir():
        raise SettingsError(f"expected an input at {folder}, there is none")
    archive = folder / "model.tar.gz"
    if not archive.exists():
        yield folder
        return
    with TemporaryDirectory() as temporary:
        try:
            with tarfile.open(archive) as file:
                file.extractall(temporary, filter="data")
        except tarfile.TarError as error:
            raise SettingsError(f"{archive} cannot be unpacked: {error}") from error
        yield Path(temporary)


def checkpoint_in(folder: Path) -> Path:
    """The checkpoint of a folder: the one file of Meta's in it, or the folder itself."""
    files = sorted(folder.glob("*.pt"))
    return files[0] if len(files) == 1 else folder


def run_step(work: Callable[[Places], None], description: str, arguments: Sequence[str] | None = None) -> None:
    """The main function of a step's program: exits with 1, and says why, when the step has failed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder that SageMaker mounts as /opt/ml")
    parser.add_argument("told", nargs="*", metavar="NAME=VALUE", help="parameters of the step")
    given = parser.parse_args(arguments)
    for text in given.told:
        if "=" not in text:
            parser.error(f"expected NAME=VALUE, got {text!r}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    places = Places(given.root, dict(text.split("=", 1) for text in given.told))
    try:
        work(places)
    except Sam3EdgeError as error:
        logger.error("the step failed: %s", error)
        places.failure.write_text(str(error)[:FAILURE_LENGTH], encoding="utf-8")
        sys.exit(1)
    except Exception as error:  # the program's supervisor: SageMaker has to be told, whatever it is
        logger.exception("the step failed")
        places.failure.write_text(f"{type(error).__name__}: {error}"[:FAILURE_LENGTH], encoding="utf-8")
        sys.exit(1)


def _created(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
