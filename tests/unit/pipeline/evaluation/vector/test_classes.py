"""Which value is which prompt."""

from __future__ import annotations

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.evaluation.vector.classes import Classes


def test_values_are_prompts_in_the_order_given() -> None:
    classes = Classes(["F16=crop  field", "F10 = crop field", "a=b=road", "*=other"])
    assert classes.prompts == ("crop field", "road", "other")
    assert [classes.number_of_value(v) for v in ("F16", "F10", "a=b", "anything")] == [1, 1, 2, 3]
    assert [classes.number_of_prompt(p) for p in ("crop field", " crop  field", "road", "sea")] == [1, 1, 2, 0]
    assert classes.by_value == {"F16": "crop field", "F10": "crop field", "a=b": "road", "*": "other"}


def test_a_value_that_is_not_named_is_no_class() -> None:
    assert Classes(["F16=field"]).number_of_value("other") == 0


def test_without_pairs_every_value_is_its_own_prompt() -> None:
    classes = Classes()
    assert classes.prompts == ()
    assert [classes.number_of_value(v) for v in ("road", "field", "road", "  ")] == [1, 2, 1, 0]
    assert classes.names == ("background", "road", "field")


@pytest.mark.parametrize("pair", ["F16", "=field", "F16=", " = ", ""])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(SettingsError, match="expected VALUE=PROMPT"):
        Classes([pair])


def test_a_value_cannot_be_two_things() -> None:
    with pytest.raises(SettingsError, match="expected one prompt for the value 'a', got 'x' and 'y'"):
        Classes(["a=x", "a=y"])


@pytest.mark.parametrize("name", ["background", "accuracy", "macro avg", "weighted  avg"])
def test_what_reports_call_something_else_cannot_be_a_prompt(name: str) -> None:
    with pytest.raises(SettingsError, match="call the prompt otherwise"):
        Classes([f"a={name}"])
    with pytest.raises(SettingsError, match="call the prompt otherwise"):
        Classes().number_of_value(name)
