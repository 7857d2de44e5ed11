"""How good a model is, for machines (``report.json``) and for people (``index.html``, one file with its pictures).

    python -m sam3edge_pipeline.evaluation.report --bundle assets/demo-bundle --dataset synthetic --out report
    python -m sam3edge_pipeline.evaluation.report --bundle new --dataset synthetic --out report \\
        --baseline old/report.json --retained phrases.txt

Figures are of the test split, which nothing else may be chosen by; thresholds are chosen on the validation split.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.errors import Sam3EdgeError
from sam3edge.core.phrases import split_phrases
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.text_normalization import normalize_text
from sam3edge.images.files import read_frame
from sam3edge_pipeline.datasets.examples import SPLITS
from sam3edge_pipeline.evaluation.answers import AskOptions
from sam3edge_pipeline.evaluation.cases import DETECTION_COLOR, KINDS, TRUTH_COLOR, Case, picture, worst_cases
from sam3edge_pipeline.evaluation.document import DatasetIdentity, figures_of, to_document
from sam3edge_pipeline.evaluation.evaluation import Evaluation, evaluate
from sam3edge_pipeline.evaluation.judging import SYNTHETIC, Judging, read_dataset
from sam3edge_pipeline.evaluation.report_files import PAGE, write_report_files
from sam3edge_pipeline.evaluation.retained import Baseline, Retained, compare_retained, read_baseline

logger = logging.getLogger(__name__)

CASES = 12
"""Pictures of each kind."""


def write_report(
    evaluation: Evaluation, dataset: DatasetIdentity, folder: Path, retained: Retained | None = None
) -> dict[str, Any]:
    """Write ``report.json`` and ``index.html``.

    Args:
        folder: made when it is not there.

    Returns:
        The content of ``report.json``.

    Raises:
        OSError: they could not be written.
        FrameError: an image of the dataset has become unreadable since it was judged by.
    """
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    document = to_document(evaluation, dataset, date, retained)
    cases = worst_cases(evaluation.answers.results, evaluation.options.threshold, CASES)
    shown = _shown([(case, _picture(case, evaluation)) for case in cases])
    write_report_files(folder, "report.html", shown, document)
    return document


def retained_of(
    evaluation: Evaluation, dataset: DatasetIdentity, baseline: Baseline, phrases: Sequence[str]
) -> Retained:
    """What has become of a baseline's concepts; see ``compare_retained``."""
    return compare_retained(
        baseline,
        phrases,
        figures_of(evaluation),
        digest=dataset.digest,
        split=dataset.split,
        threshold=evaluation.options.threshold,
        nms_iou=evaluation.options.nms_iou,
    )


def _picture(case: Case, evaluation: Evaluation) -> str:
    frame = read_frame(case.result.example.image, "examples")
    return picture(case, frame, evaluation.options.threshold).to_data_url()


def _shown(cases: Sequence[tuple[Case, str]]) -> dict[str, Any]:
    return {
        "groups": [(kind, [one for one in cases if one[0].kind == kind]) for kind in KINDS],
        "truth_color": TRUTH_COLOR,
        "detection_color": DETECTION_COLOR,
    }


def report_bundle(
    bundle: Path,
    judging: Judging,
    folder: Path,
    options: AskOptions | None = None,
    baseline: Baseline | None = None,
    phrases: Sequence[str] = (),
) -> dict[str, Any]:
    """Judge a bundle with the engine that devices have, and write the report.

    Args:
        baseline: report of the model before, to compare with.
        phrases: concepts that must be retained; by default all that the baseline knows.

    Raises:
        BundleError: the bundle is not whole.
        EngineError: the model cannot run.
        ValueError: the examples are not fit to judge by.
        OSError: the report cannot be written.
    """
    engine = open_engine(model_files(bundle, verify(bundle, None)))
    try:
        evaluation = evaluate(engine, judging.examples, judging.validation, options)
    finally:
        engine.close()
    retained = None
    if baseline is not None:
        retained = retained_of(evaluation, judging.identity, baseline, phrases or tuple(baseline.phrases))
    return write_report(evaluation, judging.identity, folder, retained)


def main() -> None:
    """Read the command line, judge, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the model")
    parser.add_argument("--dataset", required=True, help=f"{SYNTHETIC}, or a dataset version")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--split", choices=SPLITS, default="test", help="that the figures are of (default: test)")
    parser.add_argument("--images", type=int, help="of each split at most; by default all")
    parser.add_argument("--threshold", type=float, default=AskOptions().threshold, help="of published detections")
    parser.add_argument("--baseline", type=Path, help="report.json of the model before")
    parser.add_argument(
        "--retained", type=Path, help="file of phrases that must be retained, one a line; by default all"
    )
    arguments = parser.parse_args()
    if arguments.retained and not arguments.baseline:
        parser.error("--retained needs --baseline, the report of the model before")
    if arguments.images is not None and arguments.images < 1:
        parser.error("--images must be at least 1")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        baseline = read_baseline(arguments.baseline) if arguments.baseline else None
        phrases = read_phrases(arguments.retained) if arguments.retained else ()
        options = AskOptions(threshold=arguments.threshold, floor=min(AskOptions().floor, arguments.threshold))
        with tempfile.TemporaryDirectory(prefix="sam3edge-evaluation-") as scratch:
            judging = read_dataset(arguments.dataset, arguments.split, arguments.images, Path(scratch))
            document = report_bundle(arguments.bundle, judging, arguments.out, options, baseline, phrases)
    except (Sam3EdgeError, ValueError, OSError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    for name, figure in document["figures"].items():
        value = "not measured" if figure["value"] is None else f"{figure['value']:.4f}"
        sys.stdout.write(f"{name:24} {value:>12}   of {figure['n']} {figure['of']}\n")
    sys.stdout.write(f"{arguments.out / PAGE}\n")


def read_phrases(path: Path) -> tuple[str, ...]:
    """The phrases of a text file, as prompts say them, without repeats.

    Raises:
        ValueError: it has none, or is not UTF-8.
        OSError: it cannot be read.
    """
    phrases = tuple(dict.fromkeys(normalize_text(one) for one in split_phrases(path.read_text(encoding="utf-8"))))
    if not phrases:
        raise ValueError(f"expected phrases, one a line, got none in {path.name}")
    return phrases


if __name__ == "__main__":
    main()
