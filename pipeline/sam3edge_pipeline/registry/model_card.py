"""The model card of a release, as SageMaker's model card JSON schema has it.

Source: "Model card JSON schema" in the SageMaker developer guide. Its limits bind: other members than the schema's are
refused, custom details have names of letters, digits and underscores, and texts have lengths.
"""

from __future__ import annotations

import math
import re
from typing import Any

from sam3edge.bundle.manifest import FAMILIES
from sam3edge_pipeline.registry.release import Release, ReleaseError

MAX_CONTENT = 100_000
"""Characters of ModelCardContent."""

MAX_METRICS = 50
MAX_DETAIL = 1024
"""Characters of a custom detail, and of a description."""

_METRIC = re.compile(r".{1,255}")


def model_card(release: Release) -> dict[str, Any]:
    """The content of the card.

    Raises:
        ReleaseError: a metric is not a finite number or has no name, or there are too many.
    """
    manifest, lineage = release.manifest, release.lineage
    if len(release.metrics) > MAX_METRICS:
        raise ReleaseError(f"expected at most {MAX_METRICS} metrics, got {len(release.metrics)}; leave some out")
    for name, value in release.metrics.items():
        if not _METRIC.fullmatch(name) or not math.isfinite(value):
            raise ReleaseError(f"expected a finite number with a name, got {name[:100]!r}: {value}; correct the report")
    details = {
        "bundle_digest": release.digest,
        "checkpoint_digest": lineage.checkpoint_digest,
        "code_revision": lineage.code_revision,
        "pipeline_execution": lineage.pipeline_execution,
        "precision": manifest.precision,
        "weights": manifest.weights,
        "score_rule": manifest.score_rule,
        "input_size": str(manifest.input_size),
        "parity_report": release.parity,
        "phrases": ", ".join(manifest.vocabulary),
    }
    return {
        "model_overview": {
            "model_name": manifest.name,
            "model_description": f"{FAMILIES[manifest.family]} for edge devices, bundle version {manifest.version}",
            "problem_type": "Promptable instance segmentation",
            "algorithm_type": FAMILIES[manifest.family],
            "model_artifact": [release.bundle_uri],
            "inference_environment": {"container_image": [release.image]},
        },
        "intended_uses": {
            "purpose_of_model": "Finds and outlines what a phrase names in the images of a camera or a folder.",
            "intended_uses": "Runs on AWS IoT Greengrass devices and at a SageMaker endpoint.",
            "factors_affecting_model_efficiency": (
                "Phrases and scenes that the training data do not have; objects of few pixels; the precision of the "
                "export, which its parity report holds to a bound."
            ),
            "risk_rating": "Unknown",
            "explanations_for_risk_rating": "To be given by whoever approves the package, for the use at hand.",
        },
        "training_details": {
            "training_observations": f"Dataset {lineage.dataset_digest}",
        },
        "evaluation_details": [
            {
                "name": "Evaluation",
                "evaluation_observation": f"The report is {release.evaluation}"[:2048],
                "metric_groups": [
                    {
                        "name": "quality",
                        "metric_data": [
                            {"name": name, "type": "number", "value": value}
                            for name, value in sorted(release.metrics.items())
                        ],
                    }
                ],
            }
        ],
        "additional_information": {"custom_details": {name: _short(value) for name, value in details.items() if value}},
    }


def _short(text: str) -> str:
    """What fits into a custom detail; the rest is in the bundle's manifest."""
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"
