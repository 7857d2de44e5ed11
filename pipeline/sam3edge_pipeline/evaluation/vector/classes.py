"""What the truth calls things, and which prompt that is."""

from __future__ import annotations

from collections.abc import Iterable

from sam3edge.core.errors import SettingsError
from sam3edge.core.phrases import single_spaced
from sam3edge_pipeline.evaluation.vector.classification import ACCURACY, AVERAGES

BACKGROUND = "background"
"""What pixels are that are none of the classes."""

ANY = "*"
"""The value that stands for all that are not named."""

RESERVED = frozenset({BACKGROUND, ACCURACY, *AVERAGES})
"""Names that stand for something else in reports."""

MAX_CLASSES = 64


class Classes:
    """Which value of the truth's attribute is which prompt; the prompts are the classes. Their numbers count from 1,
    for 0 is the background. Where areas of two classes cover a pixel, the first class counts.

    Args:
        pairs: ``VALUE=PROMPT``, in order; the value ``ANY`` stands for all others. Without any, every value is the
            prompt of the same name, in the order in which they are met.

    Raises:
        SettingsError: one is not of that form, a value occurs with two prompts, or there are too many.
    """

    def __init__(self, pairs: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        self._by_value: dict[str, str] = {}
        for pair in pairs:
            value, equals, prompt = pair.rpartition("=")
            value, prompt = value.strip(), single_spaced(prompt)
            if not (equals and value and prompt):
                raise SettingsError(f"expected VALUE=PROMPT, such as 'F16=field' or '*=field', got {pair!r}")
            if self._by_value.setdefault(value, prompt) != prompt:
                raise SettingsError(
                    f"expected one prompt for the value {value!r}, got {self._by_value[value]!r} and {prompt!r}"
                )
            self._number(prompt)
        self._is_given = bool(self._by_value)

    @property
    def prompts(self) -> tuple[str, ...]:
        """In the order of their numbers."""
        return tuple(self._numbers)

    @property
    def names(self) -> tuple[str, ...]:
        """By number, the background included."""
        return (BACKGROUND, *self._numbers)

    @property
    def by_value(self) -> dict[str, str]:
        """The prompt of each value; of ``ANY``, too."""
        return dict(self._by_value)

    def number_of_value(self, value: str) -> int:
        """Of the class of an area of the truth; 0 where it is none.

        Raises:
            SettingsError: there would be too many classes.
        """
        if not self._is_given and single_spaced(value):
            self._by_value.setdefault(value, single_spaced(value))
        prompt = self._by_value.get(value, self._by_value.get(ANY))
        return 0 if prompt is None else self._number(prompt)

    def number_of_prompt(self, prompt: str) -> int:
        """Of a detection's class; 0 where it is none."""
        return self._numbers.get(single_spaced(prompt), 0)

    def _number(self, prompt: str) -> int:
        if prompt in RESERVED:
            raise SettingsError(
                f"no class can be called {prompt!r}, as reports call something else so; call the prompt otherwise, by "
                "--class VALUE=PROMPT"
            )
        number = self._numbers.setdefault(prompt, len(self._numbers) + 1)
        if number > MAX_CLASSES:
            raise SettingsError(
                f"expected at most {MAX_CLASSES} classes; say by --class VALUE=PROMPT which values of the truth count"
            )
        return number
