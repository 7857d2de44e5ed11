"""The one rule for white space in phrases. Standard library only, so that Lambda functions carry it as it is."""

from __future__ import annotations

import re

BETWEEN = re.compile(r"[,\n\r]+")
"""Between the phrases of one text: commas and line breaks."""


def single_spaced(phrase: str) -> str:
    """A phrase without white space around it, and with single spaces inside: ``" red \\n car"`` -> ``"red car"``."""
    return " ".join(phrase.split())


def split_phrases(text: str) -> tuple[str, ...]:
    """``"red car, dent\\nscratch"`` -> red car; dent; scratch."""
    return tuple(single_spaced(part) for part in BETWEEN.split(text) if part.strip())
