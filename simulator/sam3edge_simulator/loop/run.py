"""The cycle, from the frames that a device meets to the same device with a model that knows more."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from sam3edge.bundle.manifest import read_manifest
from sam3edge.core.errors import Sam3EdgeError
from sam3edge.terminal import console, say
from sam3edge_pipeline.datasets.examples import Example
from sam3edge_pipeline.definition.interpreter import Execution, Interpreter, StepFailed, read_definition
from sam3edge_pipeline.registry.packages import Package, describe
from sam3edge_pipeline.synthetic import PHRASES
from sam3edge_pipeline.synthetic.examples import TEST_SEEDS, VALIDATION_SEEDS, write_examples
from sam3edge_pipeline.synthetic.overhead import TANK
from sam3edge_simulator.loop.cloud import BUCKET, LocalCloud, local_cloud
from sam3edge_simulator.loop.devices import DeviceFailed, laptop_device
from sam3edge_simulator.loop.rollout import CANARY, DAY, FLEET, LocalRollout, local_rollout
from sam3edge_simulator.loop.teaching import KNOWN, Labeled, label_example, label_uploads, now, store, worth_labeling

MET_SEEDS = range(2_000_000, 2_100_000)
"""Scenes that devices meet."""

RETAINED_SEEDS = range(3_000_000, 3_000_100)
"""Scenes that the model was trained for: labelled for what it knows, and for nothing else."""

GROUP, BUNDLE, VERSION = "sam3edge", "sam3edge-demo", "2.0.0"
DEFINITION = "pipeline/sam3edge_pipeline/definition/pipeline.json"

FRAMES = 300
"""That a canary must have looked at to be judged, as in production; fewer where the run is smaller."""

DOUBT = 0.05
"""Threshold of the phrase that the model does not know yet: what it hardly believes is what is to be labelled."""

EXAMPLES: Mapping[str, Any] = {
    "Kinds": ["uncertain", "random"],
    "Band": 0.048,
    "RandomShare": 0.15,
    "BytesPerDay": 1 << 30,
}

RECIPE: Mapping[str, Any] = {
    "Batch": 6,
    "MaskPoints": 256,
    "TransformerRate": 3e-4,
    "TextRate": 3e-4,
    "Clip": 1.0,
    "Precision": "fp16-weights",
}
"""Of the pipeline, for a model of 3.4 million parameters that is trained for minutes on a processor."""

MARGINS: Mapping[str, Any] = {"Gain": 0.2, "Fall": 0.15, "FalseAlarms": 0.05}
"""Scratches, two mask cells wide, move by 0.1 whatever the model is taught."""


class LoopFailed(Sam3EdgeError):
    """The cycle did not come to its end."""


@dataclass(frozen=True, slots=True)
class Options:
    """How large the run is.

    Attributes:
        assets: of the repository.
        scenes: frames that the device meets.
        budget: images that are labelled.
        steps: of the training.
        judged: held-out scenes.
        compare: whether a model is trained on as many random frames, too.
    """

    assets: Path
    out: Path
    scenes: int
    budget: int
    steps: int
    judged: int
    compare: bool


def run_loop(options: Options) -> None:
    """Run it: when it returns, the new concept was learned and no other one lost.

    Raises:
        LoopFailed: a part of it did not come to its end, or the candidate was turned down.
    """
    out = options.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        with (
            local_cloud() as cloud,
            laptop_device(out / CANARY, "line-7", cloud) as canary,
            laptop_device(out / FLEET, "line-8", cloud) as fleet,
            local_rollout(
                cloud, {CANARY: canary, FLEET: fleet}, out / "downloads", min(FRAMES, options.scenes)
            ) as rollout,
        ):
            _Loop(options, cloud, rollout).run()
    except (DeviceFailed, StepFailed) as error:
        raise LoopFailed(str(error)) from error


class _Loop:
    """One run.

    Args:
        rollout: with one device in each thing group; the canary is the one that meets something new.
    """

    def __init__(self, options: Options, cloud: LocalCloud, rollout: LocalRollout) -> None:
        self._options = options
        self._cloud = cloud
        self._rollout = rollout
        self._store = options.out / "s3"
        self._scratch = options.out / "scenes"
        shutil.copytree(options.assets / "demo-checkpoint", self._store / BUCKET / "checkpoints/current")

    def run(self) -> None:
        """All of it; that the pipeline's condition holds means that F1 rose, and that nothing fell, by the margins."""
        options, at = self._options, now()
        met = write_examples(MET_SEEDS[: options.scenes], self._scratch / "met", "train", KNOWN)
        held_out = self._held_out(at)
        say(
            f"[bold]1. a device meets {len(met)} scenes[/], in some of which stand tanks, which its model does not know"
        )
        versions = self._rollout.publish(self._before())
        chosen = self._meet(met, versions, at)
        say(f"   {len(chosen)} hard examples were uploaded, {_share(chosen)}")
        learned = worth_labeling(chosen, TANK, options.budget)
        say(f"[bold]2. {len(learned)} are labelled[/], a quarter kept for {TANK!r}, the rest drawn: {_share(learned)}")
        self._write("hard", learned, held_out)
        say("[bold]3. the pipeline[/]")
        try:
            execution = self._execute("hard", None)
        except StepFailed as error:
            raise LoopFailed(f"{error}{self._reasons()}") from error
        after, before = (self._report(execution, "Evaluate", name) for name in ("report", "baseline"))
        others = self._by_chance(met, held_out, at) if options.compare else None
        _print(before, after, others)
        say("[bold]4. approved, and rolled out[/]: the canary first, which is judged, then the fleet")
        self._roll_out(self._approved(), met)

    def _held_out(self, at: Any) -> dict[Any, list[Labeled]]:
        half = max(10, self._options.judged // 3)
        validation = write_examples(VALIDATION_SEEDS[:half], self._scratch / "validation", "validation", KNOWN)
        test = write_examples(TEST_SEEDS[: self._options.judged], self._scratch / "test", "test", KNOWN)
        retained = write_examples(RETAINED_SEEDS, self._scratch / "retained", "train", PHRASES)
        return {
            "train": [label_example(one, at) for one in retained],
            "validation": [label_example(one, at) for one in validation],
            "test": [label_example(one, at) for one in test],
        }

    def _meet(self, met: Sequence[Example], versions: Mapping[str, str], at: datetime) -> list[Labeled]:
        """The device meets the scenes and is asked for what it does not know; labelled, what it has kept."""
        canary = self._rollout.devices[CANARY]
        usual = canary.configuration([{"Text": phrase} for phrase in PHRASES])
        asked = canary.configuration([*({"Text": phrase} for phrase in PHRASES), {"Text": TANK, "Threshold": DOUBT}])
        examples = {**EXAMPLES, "PerHour": max(20, self._options.scenes)}
        self._rollout.deploy(CANARY, versions, canary.keeping_examples(asked, examples, self._cloud))
        frames = canary.look_at([one.image for one in met])
        canary.wait_uploaded()
        self._rollout.hear(frames, self._rollout.clock() - DAY)
        self._rollout.deploy(CANARY, versions, usual)
        fleet = self._rollout.devices[FLEET]
        self._rollout.deploy(FLEET, versions, fleet.configuration([{"Text": phrase} for phrase in PHRASES]))
        copy = self._options.out / "uploads"
        self._cloud.download("hard-examples/", copy)
        found = label_uploads(copy, at)
        if not found:
            raise LoopFailed("the device kept no example: its model is sure of everything that it has met")
        return found

    def _write(self, name: str, learned: Sequence[Labeled], held_out: Mapping[Any, list[Labeled]]) -> None:
        store(self._store / BUCKET / "datasets" / name / "1", name, held_out, learned)

    def _execute(self, dataset: str, steps: int | None) -> Execution:
        """Execute the definition, or only the first ``steps`` of its steps."""
        definition = read_definition(self._options.assets.parent / DEFINITION)
        definition = {**definition, "Steps": definition["Steps"][:steps]}
        interpreter = Interpreter(
            definition,
            self._store,
            self._cloud.environment,
            lambda step, what: say(f"   {step} {what}"),
            self._options.out / "logs" / dataset,
        )
        return interpreter.execute(
            {
                **RECIPE,
                **MARGINS,
                "DatasetUri": f"s3://{BUCKET}/datasets/{dataset}/1",
                "CheckpointUri": f"s3://{BUCKET}/checkpoints/current",
                "OutputUri": f"s3://{BUCKET}/runs",
                "ModelPackageGroup": GROUP,
                "NewPhrases": TANK,
                "Phrases": "|".join(KNOWN),
                "BundleName": BUNDLE,
                "BundleVersion": VERSION,
                "Steps": self._options.steps,
            }
        )

    def _by_chance(
        self, met: Sequence[Example], held_out: Mapping[Any, list[Labeled]], at: Any
    ) -> dict[str, Any] | None:
        """The report of a model that has learned from as many random frames; None where these teach nothing."""
        count = min(self._options.budget, len(met))
        drawn = [label_example(one, at) for one in random.Random(0).sample(list(met), count)]
        say(f"   beside: as many frames by chance, {_share(drawn)}")
        self._write("chance", drawn, held_out)
        try:
            return self._report(self._execute("chance", 3), "Evaluate", "report")
        except StepFailed as error:
            say(f"   nothing can be learned from them: {error}")
            return None

    def _reasons(self) -> str:
        """Why the candidate was turned down, if it was."""
        found = sorted((self._store / BUCKET / "runs").glob("*/evaluate/decision/decision.json"))
        return "".join(f"; {reason}" for path in found for reason in json.loads(path.read_text())["reasons"])

    def _report(self, execution: Execution, step: str, output: str) -> dict[str, Any]:
        place = self._store / execution.outputs[step][output].removeprefix("s3://")
        report: dict[str, Any] = json.loads((place / "report.json").read_text(encoding="utf-8"))
        return report

    def _before(self) -> Package:
        """The model that devices run before, as if it were registered."""
        bundle = self._options.assets / "demo-bundle"
        manifest, uri = read_manifest(bundle), f"s3://{BUCKET}/bundles/{bundle.name}/"
        self._cloud.upload(bundle, uri)
        return Package("", GROUP, "Approved", manifest.digest(), manifest.name, manifest.version, uri, "", "")

    def _approved(self) -> Package:
        """The package that the pipeline has registered, approved."""
        sagemaker = self._cloud.client("sagemaker")
        summaries = sagemaker.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]
        arn = max(summaries, key=lambda one: one["ModelPackageVersion"])["ModelPackageArn"]
        known = sagemaker.describe_model_package(ModelPackageName=arn)["CustomerMetadataProperties"]
        sagemaker.update_model_package(
            ModelPackageArn=arn,
            ModelApprovalStatus="Approved",
            CustomerMetadataProperties=known,  # which moto forgets unless they are repeated
        )
        package = describe(sagemaker, arn)
        self._cloud.upload(self._store / package.bundle_uri.removeprefix("s3://").rstrip("/"), package.bundle_uri)
        return package

    def _roll_out(self, package: Package, met: Sequence[Example]) -> None:
        outcome = self._rollout.roll_out(package, [one.image for one in met])
        say(f"   {outcome['outcome']}: {outcome['reason']}")
        if outcome["outcome"] != "RolledOut":
            raise LoopFailed(f"the roll-out ended as {outcome['outcome']}: {outcome['reason']}")
        shown = [one for one in met if one.of(TANK)][:8]
        wanted = sum(len(one.of(TANK)) for one in shown)
        versions = outcome["versions"]
        for group, device in self._rollout.devices.items():
            self._rollout.deploy(group, versions, device.configuration([{"Text": phrase} for phrase in KNOWN]))
            frames = device.look_at([one.image for one in shown], "tanks")
            found = sum(1 for f in frames.values() for feature in f.features if feature["properties"]["prompt"] == TANK)
            say(f"   {group}: asked for {TANK!r} now, it finds {found} where {wanted} stand")
            if not found:
                raise LoopFailed(f"{group} finds no tank with the new model")


def _share(labeled: Sequence[Labeled]) -> str:
    shown = sum(1 for one in labeled if any(event.phrase == TANK and event.objects for event in one.events))
    return f"{shown} of {len(labeled)} show a tank"


def _print(before: Mapping[str, Any], after: Mapping[str, Any], others: Mapping[str, Any] | None) -> None:
    table = Table(title="mask F1 at IoU 0.5 on the same held-out scenes")
    for column in ("phrase", "objects", "before", "hard examples", "as many by chance"):
        table.add_column(column, justify="left" if column == "phrase" else "right")
    for phrase in (TANK, *(p for p in after["phrases"] if p != TANK)):
        cells = [_f1(report, phrase) for report in (before, after, others)]
        table.add_row(phrase, str(after["phrases"][phrase]["objects"]), *cells, style="bold" if phrase == TANK else "")
    alarms = ["-" if r is None else f"{r['figures']['false_alarms']['value']:.2%}" for r in (before, after, others)]
    table.add_row("absent phrases found", "", *alarms)
    console.print(table)


def _f1(report: Mapping[str, Any] | None, phrase: str) -> str:
    value = None if report is None else report["phrases"].get(phrase, {}).get("mask_f1_50")
    return "-" if value is None else f"{value:.3f}"
