"""Pictures of reports are small here."""

from __future__ import annotations

import pytest

from sam3edge_pipeline.evaluation.vector import evaluation


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "OVERVIEW", 100)
    monkeypatch.setattr(evaluation, "DETAIL", 40)
