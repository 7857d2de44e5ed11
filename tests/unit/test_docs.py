"""What documents of the repository name is there: links, paths in backticks, targets of the Makefile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {".git", ".venv", ".demo", "node_modules", "runs", "greengrass-build", "build", "dist"}
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"^[\w.-]+(?:/[\w.-]+)+\.(?:py|md|yaml|json|toml)$")
MAKE = re.compile(r"(?:^|`)make ([a-z][a-z_-]*)", re.MULTILINE)
ROOTS = (
    "",
    "components",
    "components/sam3edge",
    "export/sam3edge_export",
    "pipeline",
    "infra/sam3edge_infra",
    "simulator",
)
"""Folders that a document may write paths from, beside its own and those above it."""


def documents() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.md")):
        if not SKIPPED & set(path.relative_to(ROOT).parts[:-1]):
            yield path


def is_there(path: str, document: Path) -> bool:
    folders = [document.parent, *(ROOT / root for root in ROOTS)]
    return any((folder / path).exists() for folder in folders)


def absent_links(text: str, document: Path) -> list[str]:
    """Relative links that point to nothing."""
    links = [link.split("#")[0] for link in LINK.findall(FENCE.sub("", text)) if "://" not in link]
    return [link for link in links if link and not (document.parent / link).exists()]


def absent_paths(text: str, document: Path) -> list[str]:
    """Paths in backticks that are nowhere."""
    named = [code for code in CODE.findall(FENCE.sub("", text)) if PATH.match(code)]
    return [path for path in named if not is_there(path, document)]


def absent_targets(text: str) -> list[str]:
    """Targets of the Makefile that are named and not in it."""
    targets = set(re.findall(r"^([a-z][a-z_-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    return [target for target in MAKE.findall(text) if target not in targets]


@pytest.mark.parametrize("document", list(documents()), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    assert not absent_links(text, document)
    assert not absent_paths(text, document)
    assert not absent_targets(text)


def test_what_is_not_there_is_found() -> None:
    document = ROOT / "docs/README.md"
    text = "[a](nowhere.md) [b](structure.md#part) [c](https://example.org/x.md)\n`core/nowhere.py`, `core/flow.py`\n"
    text += "`make nothing`\n"
    assert absent_links(text, document) == ["nowhere.md"]
    assert absent_paths(text, document) == ["core/nowhere.py"]
    assert absent_targets(text) == ["nothing"]
    assert absent_links("```\n[a](nowhere.md)\n```\n", document) == []


def test_every_document_is_reached_from_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    for document in sorted((ROOT / "docs").glob("*.md")):
        assert document.name == "README.md" or f"({document.name})" in index, document.name
