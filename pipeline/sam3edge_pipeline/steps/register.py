"""The bundle into the registry, where it waits for a person's approval.

Inputs ``bundle``, ``report`` and ``summary``; told ``group``, ``bundle_uri``, ``report_uri``, ``parity_uri``,
``image``, ``code_revision`` and ``execution``; output ``registration`` (``package.json``, ``stac.json``).
The files themselves are where the pipeline has put them: what is registered are their addresses.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone

import boto3

from sam3edge.bundle.manifest import read_manifest
from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.registry.packages import ensure_group, register
from sam3edge_pipeline.registry.release import Lineage, Release
from sam3edge_pipeline.registry.stac import write_stac_item
from sam3edge_pipeline.steps.parameters import read_json, registration_of
from sam3edge_pipeline.steps.places import Places, run_step

FIGURES = ("cgf1", "mask_ap", "box_ap", "mask_f1_50", "mask_f1_75", "false_alarms", "ece", "latency_median_ms")


def register_bundle(places: Places) -> None:
    """Run the step."""
    wanted = registration_of(places.told)
    bundles = [one for one in sorted(places.given("bundle").iterdir()) if one.is_dir()]
    if len(bundles) != 1:
        raise SettingsError(f"expected one bundle in {places.given('bundle')}, got {len(bundles)}")
    manifest = read_manifest(bundles[0])
    report, summary = (
        read_json(places.given("report") / "report.json"),
        read_json(places.given("summary") / "summary.json"),
    )
    metrics = {name: report["figures"][name]["value"] for name in FIGURES}
    release = Release(
        manifest=manifest,
        bundle_uri=f"{wanted.bundle_uri}/{bundles[0].name}/",
        image=wanted.image,
        evaluation=f"{wanted.report_uri}/report.json",
        parity=f"{wanted.parity_uri}/parity.json",
        lineage=Lineage(
            dataset_digest=summary["digest"],
            checkpoint_digest=f"sha256:{manifest.source_sha256}",
            code_revision=wanted.code_revision,
            pipeline_execution=wanted.execution,
        ),
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        metrics={name: float(value) for name, value in metrics.items() if value is not None},
    )
    sagemaker = boto3.client("sagemaker")
    ensure_group(sagemaker, wanted.group)
    registered = register(sagemaker, wanted.group, release)
    folder = places.made("registration")
    said = {"arn": registered.package.arn, "status": registered.package.status, "created": registered.created}
    (folder / "package.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    write_stac_item(folder / "stac.json", release)


if __name__ == "__main__":
    run_step(register_bundle, __doc__)
