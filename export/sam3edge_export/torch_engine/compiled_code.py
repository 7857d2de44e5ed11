"""What torch.compile has made, kept on disk: an engine that starts again loads it instead of compiling for minutes.

torch's own artifacts (``torch.compiler.save_cache_artifacts``) hold the graphs it has traced, the kernels and what
autotuning has measured, and check by themselves that they fit the code; they do not check the machine, so its GPU and
torch's version are in the file's name.
https://docs.pytorch.org/tutorials/recipes/torch_compile_caching_tutorial.html
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sam3edge.durable import make_folder, write_file

logger = logging.getLogger(__name__)

SUFFIX = ".torch-compiled"


@contextmanager
def kept_compiled(folder: Path | None, device: torch.device) -> Iterator[None]:
    """Where an engine warms up: what was compiled here before is there at once, what is compiled now will be.

    Nothing that goes wrong with the folder is an error: compiling takes longer then, and the log says why.

    Args:
        folder: made when it is not there; None keeps nothing. Whoever can write it can run code in this process.
    """
    if folder is None:
        yield
        return
    path = folder / f"{_machine(device)}{SUFFIX}"
    before = _load(path)
    yield
    _save(path, before)


def _machine(device: torch.device) -> str:
    """torch and the processor that the code is for, as a name."""
    if device.type == "cuda":
        where = [torch.cuda.get_device_name(device), str(torch.cuda.get_device_capability(device)), torch.version.cuda]
    else:
        where = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    text = "\n".join([torch.__version__, *map(str, where)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _load(path: Path) -> bytes:
    try:
        artifacts = path.read_bytes()
        if torch.compiler.load_cache_artifacts(artifacts) is not None:
            logger.info("compiled code is taken from %s (%.1f MB)", path, len(artifacts) / 1e6)
            return artifacts
        logger.warning("%s holds no compiled code that this torch reads; compiling again", path)
    except FileNotFoundError:
        logger.info("no compiled code of this machine in %s yet; compiling", path.parent)
    except Exception as error:  # a damaged file fails in as many ways as pickle and torch have
        logger.warning("compiled code in %s cannot be used: %s; compiling again", path, error)
    return b""


def _save(path: Path, before: bytes) -> None:
    made = torch.compiler.save_cache_artifacts()
    if made is None or made[0] == before:
        return
    try:
        make_folder(path.parent)
        write_file(path, made[0], draft=path.with_suffix(f".{os.getpid()}"))  # several engines may start at once
    except OSError as error:
        logger.warning("compiled code cannot be kept in %s: %s", path.parent, error)
