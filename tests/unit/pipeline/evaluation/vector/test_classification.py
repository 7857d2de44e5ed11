"""The report is scikit-learn's own, and prints as it does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report, confusion_matrix

from sam3edge_pipeline.evaluation.vector.classification import as_text, classification

NAMES = ["background", "field", "road", "a class with a long name"]

pixels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def by_sklearn(truth: list[int], found: list[int], **how: object) -> object:
    """Of the pixels themselves."""
    present = sorted({*truth, *found})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of undefined figures
        return classification_report(
            truth, found, labels=present, target_names=[NAMES[n] for n in present], zero_division=0, **how
        )


@settings(max_examples=20, deadline=None)
@given(pixels)
def test_it_is_what_scikit_learn_says_of_the_pixels(both: list[tuple[int, int]]) -> None:
    truth, found = (list(one) for one in zip(*both, strict=True))
    matrix = confusion_matrix(truth, found, labels=range(4)).astype(np.int64)
    report = classification(matrix, NAMES)
    expected = by_sklearn(truth, found, output_dict=True)
    assert isinstance(expected, dict)
    assert list(report) == list(expected)
    for name, figures in expected.items():
        assert report[name] == pytest.approx(figures)
    if any(one == other for one, other in both):  # else scikit-learn prints whole numbers as floats
        assert as_text(report) == by_sklearn(truth, found)


def test_the_reference_is_printed_as_it_stands_there() -> None:
    """The test data set of the crop segmentation, from figures that lead to the two decimals that it prints."""
    matrix = np.array([[1_435_000, 524_630], [86_000, 244_938]], np.int64)
    expected = """\
              precision    recall  f1-score   support

        crop       0.94      0.73      0.82   1959630
    non-crop       0.32      0.74      0.45    330938

    accuracy                           0.73   2290568
   macro avg       0.63      0.74      0.63   2290568
weighted avg       0.85      0.73      0.77   2290568
"""
    assert as_text(classification(matrix, ["crop", "non-crop"])) == expected


def test_no_pixels_are_no_report() -> None:
    assert classification(np.zeros((2, 2), np.int64), NAMES) == {}
    assert as_text({}) == "no pixels\n"
