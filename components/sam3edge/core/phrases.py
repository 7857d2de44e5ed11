"""The one rule for white space in phrases. Standard library only, so that Lambda functions carry it as it is."""

from __future__ import annotations


def single_spaced(phrase: str) -> str:
    """A phrase without white space around it, and with single spaces inside: ``" red \\n car"`` -> ``"red car"``."""
    return " ".join(phrase.split())
