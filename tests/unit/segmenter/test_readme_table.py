"""The configuration table of components/README.md has every key of the settings, its default, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import sam3edge
from sam3edge.segmenter.georeferences import GEOREFERENCES
from sam3edge.segmenter.publishers import PUBLISHERS
from sam3edge.segmenter.settings import PromptSettings, Settings
from sam3edge.segmenter.sources import SOURCES

README = Path(sam3edge.__file__).parents[1] / "README.md"

INSTALL = {"Install.Interpreter", "Install.OnnxRuntime", "Install.Packages"}
"""Read by the install step, not by the settings."""

SHORT = {"TensorRT": "TensorrtExecutionProvider", "CUDA": "CUDAExecutionProvider", "CPU": "CPUExecutionProvider"}

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def rows() -> dict[str, str]:
    """Key to the text of its default."""
    text = README.read_text()
    table = text[text.index("## Configuration of `com.sam3edge.Segmenter`") :]
    found: dict[str, str] = {}
    for line in table[: table.index("\n## ", 10)].splitlines():
        if line.startswith("| `"):
            keys, default = (cell.strip() for cell in line.split("|")[1:3])
            names = re.findall(r"`([^`]+)`", keys)
            parent = names[0].rpartition(".")[0]
            names = [f"{parent}{name}" if name.startswith(".") else name for name in names]
            defaults = default.split(";") if len(names) > 1 else [default]
            for name, value in zip(
                names, defaults if len(defaults) == len(names) else [default] * len(names), strict=True
            ):
                assert name not in found, f"{name} has two rows"
                found[name] = value.strip()
    return found


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below a settings model, with its default; of what has kinds, the keys of all kinds."""
    for field in model.model_fields.values():
        name = f"{prefix}{field.alias}"
        kinds = {"Source": SOURCES, "Publisher": PUBLISHERS, "Georeference": GEOREFERENCES}.get(name)
        inner = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        models = list(kinds.values()) if kinds else [t for t in inner if issubclass(t, BaseModel)]
        if name == "Prompts":
            yield name, None
        elif models:
            for one in models:
                yield from keys(one, f"{name}.")
        else:
            yield name, None if field.default is PydanticUndefined else field.default


def value_of(text: str) -> Any:
    """The default that a cell names."""
    words = [word.strip(" `") for word in text.strip("[]").split(", ")]
    if text in ("true", "false"):
        return text == "true"
    if all(word in SHORT for word in words):
        return [SHORT[word] for word in words]
    number, _, unit = text.replace(",", "").partition(" ")
    if re.fullmatch(r"[\d.]+", number):
        return float(number) * UNITS.get(unit, 1)
    if text.startswith("["):
        return tuple(float(word) for word in words)
    return words if len(words) > 1 else words[0]


def test_every_key_has_a_row_and_every_row_a_key() -> None:
    assert set(rows()) == {name for name, _ in keys(Settings)} | INSTALL


def test_the_keys_of_a_prompt_are_named_too() -> None:
    line = next(line for line in README.read_text().splitlines() if line.startswith("| `Prompts`"))
    for field in PromptSettings.model_fields.values():
        assert str(field.alias) in line


DEFAULTS = sorted(
    (name, default) for name, default in keys(Settings) if default not in (None, "", (), [], PydanticUndefined)
)


@pytest.mark.parametrize(("name", "default"), [d for d in DEFAULTS if not isinstance(d[1], BaseModel)])
def test_the_default_is_the_one_that_is_used(name: str, default: Any) -> None:
    if name not in {"Source.Type", "Publisher.Type", "Georeference.Type"}:
        assert value_of(rows()[name]) == default
