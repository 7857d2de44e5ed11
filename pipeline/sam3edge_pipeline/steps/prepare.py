"""The first step: is this dataset version whole, and can the phrases be learned and judged by it?

Input ``dataset`` (a dataset version); told ``new_phrases``; output ``summary/summary.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.datasets.examples import SPLITS
from sam3edge_pipeline.datasets.store import Dataset, open_dataset
from sam3edge_pipeline.steps.parameters import phrases_of
from sam3edge_pipeline.steps.places import Places, run_step


def prepare(places: Places) -> None:
    """Run the step."""
    new = phrases_of(places.told)
    dataset = open_dataset(places.given("dataset"))
    summary = summarize(dataset, new)
    (places.made("summary") / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def summarize(dataset: Dataset, new: tuple[str, ...]) -> dict[str, Any]:
    """Objects and absent phrases by split.

    Raises:
        SettingsError: a phrase cannot be learned or judged by what there is.
    """
    found: dict[str, Any] = {}
    for split in SPLITS:
        examples = [one for one in dataset.examples if one.split == split]
        found[split] = {
            "images": len(examples),
            "objects": dict(sorted(Counter(o.phrase for e in examples for o in e.objects if not o.ignored).items())),
            "absent": dict(sorted(Counter(phrase for e in examples for phrase in e.absent).items())),
        }
    for phrase in new:
        for split in ("train", "test"):
            if not found[split]["objects"].get(phrase):
                raise SettingsError(
                    f"the {split} split shows no {phrase!r}; label more images of it, or split the dataset again"
                )
            if not found[split]["absent"].get(phrase):
                raise SettingsError(
                    f"no image of the {split} split is known to be without {phrase!r}: false alarms could be neither "
                    "unlearned nor counted; label some images as without it"
                )
    manifest = dataset.manifest
    identity = (
        {} if manifest is None else {"dataset": manifest.name, "version": manifest.version, "digest": manifest.digest}
    )
    return {**identity, "new_phrases": list(new), "splits": found}


if __name__ == "__main__":
    run_step(prepare, __doc__)
