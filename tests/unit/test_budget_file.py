"""The budget on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam3edge.budget_file import BudgetFile
from sam3edge.core.fallback.budget import Spent


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "budget.json"
    assert BudgetFile(path).read() == Spent()
    BudgetFile(path).write(Spent(1, 2, 3, 4))
    BudgetFile(path).write(Spent(1, 3, 3, 5))
    assert BudgetFile(path).read() == Spent(1, 3, 3, 5)
    assert [p.name for p in path.parent.iterdir()] == ["budget.json"]


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b'{"hour": 1}', b'{"hour": "x", "in_hour": 1, "day": 1, "in_day": 1}']
)
def test_a_damaged_file_does_not_keep_the_device_from_starting(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "budget.json").write_bytes(damaged)
    assert BudgetFile(tmp_path / "budget.json").read() == Spent()
    assert "is reset" in caplog.text


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FileExistsError):
        BudgetFile(tmp_path / "file" / "budget.json").write(Spent())
