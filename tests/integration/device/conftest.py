"""Fixtures of whole devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sam3edge_simulator.profiles import CLASSIC, Profile
from support.device_rig import Rig
from support.small_release import small_release


@pytest.fixture
def make_rig(tmp_path: Path, closed_bundle: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(profile: Profile, credentials_url: str = "") -> Rig:
        rigs.append(Rig(tmp_path, closed_bundle, profile, credentials_url))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def make_quick_rig(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Profile], Rig]]:
    """Devices whose model is small and has learned nothing: for many frames of which only the messages matter."""
    with ExitStack() as running:

        def make(profile: Profile) -> Rig:
            made = Rig(tmp_path, small_release(tmp_path_factory), profile, prompts=["some"])
            running.callback(made.close)
            return made

        yield make


@pytest.fixture
def rig(make_rig: Callable[[Profile], Rig]) -> Rig:
    """A device with the classic nucleus."""
    return make_rig(CLASSIC)
