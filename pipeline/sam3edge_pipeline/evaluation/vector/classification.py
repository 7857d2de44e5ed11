"""The report of precision, recall and F1 that scikit-learn's users know, from a confusion matrix.

scikit-learn itself makes it (``sklearn.metrics.classification_report``): each cell of the matrix is a sample with the
number of its pixels as weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import classification_report

ACCURACY, AVERAGES = "accuracy", ("macro avg", "weighted avg")
"""What scikit-learn's reports call what is not of one class."""


def classification(confusion: npt.NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """By name of a class that is there or was detected: ``precision``, ``recall``, ``f1-score`` and ``support``; then
    ``accuracy`` and the averages. What is undefined is 0, as there.

    Args:
        confusion: int64 [K, K], pixels by true class (rows) and detected class (columns).
        names: of the K classes.
    """
    truth, predicted = np.nonzero(confusion)
    present = np.union1d(truth, predicted)
    if not len(present):
        return {}
    report: dict[str, Any] = classification_report(
        truth,
        predicted,
        labels=present,
        target_names=[names[number] for number in present],
        sample_weight=confusion[truth, predicted],
        output_dict=True,
        zero_division=0.0,
    )
    return {
        name: {key: int(value) if key == "support" else float(value) for key, value in one.items()}
        if isinstance(one, Mapping)
        else float(one)
        for name, one in report.items()
    }


def as_text(report: Mapping[str, Any], digits: int = 2) -> str:
    """The table as scikit-learn prints it, supports as whole numbers."""
    if not report:
        return "no pixels\n"
    columns = ("precision", "recall", "f1-score", "support")
    classes = [name for name in report if name not in (ACCURACY, *AVERAGES)]
    width = max(len("weighted avg"), *(len(name) for name in classes))

    def line(name: str, values: Sequence[str]) -> str:
        return f"{name:>{width}s} " + "".join(f" {value:>9s}" for value in values) + "\n"

    def row(name: str) -> str:
        one = report[name]
        return line(name, [*(f"{one[key]:.{digits}f}" for key in columns[:3]), str(one["support"])])

    total = str(report[AVERAGES[0]]["support"])
    accuracy = line(ACCURACY, ["", "", f"{report[ACCURACY]:.{digits}f}", total])
    return line("", columns) + "\n" + "".join(map(row, classes)) + "\n" + accuracy + "".join(map(row, AVERAGES))
