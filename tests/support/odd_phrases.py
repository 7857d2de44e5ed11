"""Phrases of every kind that people and programs type, reproducible on every machine."""

from __future__ import annotations

import numpy as np

WORDS = (
    "red", "car", "metal", "tag", "scratch", "ship", "person", "wearing", "a", "hat", "on", "left", "of", "the", "dent",
    "naïve", "café", "Straße", "don't", "we're", "it's", "I'LL", "they've",
)  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz"
RANGES = {
    "ascii": (0x20, 0x7E),
    "latin": (0xA0, 0x24F),
    "combining": (0x300, 0x36F),
    "greek": (0x391, 0x3C9),
    "cyrillic": (0x410, 0x44F),
    "hebrew": (0x5D0, 0x5EA),
    "arabic": (0x621, 0x64A),
    "devanagari": (0x905, 0x939),
    "thai": (0xE01, 0xE2E),
    "punctuation": (0x2010, 0x205E),
    "letterlike": (0x2100, 0x214F),
    "numbers": (0x2150, 0x218B),
    "kana": (0x3041, 0x30FE),
    "han": (0x4E00, 0x9FA5),
    "hangul": (0xAC00, 0xD7A3),
    "ligatures": (0xFB00, 0xFB06),
    "wide": (0xFF01, 0xFF5E),
    "emoji": (0x1F300, 0x1F64F),
    "mathematical": (0x1D400, 0x1D454),
    "control": (0x00, 0x1F),
    "latin control": (0x7F, 0x9F),
}
ENTITIES = (
    "&amp;",
    "&lt;",
    "&gt;",
    "&quot;",
    "&eacute;",
    "&#233;",
    "&#x1F600;",
    "&nbsp;",
    "&amp;amp;",
    "&EACUTE;",
    "&copy",
    "&#28;",
)
SIGNS = (
    "''",
    "“quoted”",
    "‘s",
    "—",
    "…",
    "'S",
    "'ſ",
    "K",
    "!!",
    "100%",
    "1,234.5",
    "½",
    "İ",
    "ΣΑΣ",
    "\u200d",
    "\ufeff",
    "schÃ¶n",
    "â€™s",
    "\x1b[31mred\x1b[0m",
    "\r\n",
)


def odd_phrases(count: int, seed: int = 0) -> list[str]:
    """``count`` phrases; numpy's ``RandomState`` has frozen streams."""
    numbers = np.random.RandomState(seed)
    return [_phrase(numbers) for _ in range(count)]


def _phrase(numbers: np.random.RandomState) -> str:
    longest = 60 if numbers.randint(20) == 0 else 8
    pieces = [_piece(numbers) for _ in range(numbers.randint(1, longest + 1))]
    separators = ("", " ", " ", "  ", "\t", "\u00a0", "\u3000", "-")
    return "".join(piece + separators[numbers.randint(len(separators))] for piece in pieces)


def _piece(numbers: np.random.RandomState) -> str:
    kind = numbers.randint(8)
    if kind <= 2:
        word = WORDS[numbers.randint(len(WORDS))]
        return (word, word.upper(), word.title())[numbers.randint(3)]
    if kind == 3:
        return "".join(LETTERS[i] for i in numbers.randint(0, 26, numbers.randint(1, 14)))
    if kind == 4:
        return ENTITIES[numbers.randint(len(ENTITIES))]
    if kind == 5:
        return SIGNS[numbers.randint(len(SIGNS))]
    low, high = list(RANGES.values())[numbers.randint(len(RANGES))]
    return "".join(chr(i) for i in numbers.randint(low, high + 1, numbers.randint(1, 7)))
