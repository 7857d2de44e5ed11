"""A phrase as the reference's tokenizer sees it before it splits it into tokens.

Meta's ``sam3/model/tokenizer_ve.py`` cleans with ``clean="lower"``: ftfy's ``fix_text`` (curly quotes, ligatures, full
width, wrongly decoded text, control characters, composition), HTML entities twice, white space, lower case.
``tokenizer.json`` cannot say all that, so whoever encodes a phrase, on the device or at export, cleans it here first.
"""

from __future__ import annotations

import html
import re

from sam3edge.core.errors import PromptError
from sam3edge.core.phrases import single_spaced

_PLAIN = re.compile(r"[\t\n\r -%'-~]*")
"""ASCII without control characters and ``&``: ftfy leaves it as it is, but for line breaks, which are white space."""


def normalize_text(phrase: str) -> str:
    """As bundles keep a phrase: lower case, single spaces."""
    return single_spaced(phrase.lower())


def clean_text(phrase: str) -> str:
    """What the reference makes of a phrase.

    Raises:
        PromptError: the phrase is not plain ASCII, and the package ftfy is not installed.
    """
    text = phrase if _PLAIN.fullmatch(phrase) else _repaired(phrase)
    text = html.unescape(html.unescape(text)).strip()
    return re.sub(r"\s+", " ", text).strip().lower()


def _repaired(phrase: str) -> str:
    try:
        import ftfy
    except ImportError as error:
        raise PromptError(
            f"the phrase {phrase!r} is not plain ASCII and must be cleaned as the model's own tokenizer does, which "
            "needs the package ftfy; install it, or add the phrase to the bundle at export"
        ) from error
    return str(ftfy.fix_text(phrase))
