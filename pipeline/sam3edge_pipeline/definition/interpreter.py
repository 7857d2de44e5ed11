"""Executes the definition of the pipeline on this computer, each step in a process of its own, as SageMaker would.

What lies in S3 there lies in a folder here: ``s3://bucket/key`` is ``<store>/bucket/key``. A step sees the layout of
``/opt/ml`` below a folder of its own. Only what our definition uses is understood; anything else is an error, so that
the local run never passes by leaving something out.
https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-pipelines.html
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias

from sam3edge.core.errors import Sam3EdgeError
from sam3edge_pipeline.steps.places import Places

logger = logging.getLogger(__name__)

Json: TypeAlias = Any

COMMAND: Mapping[str, str] = {"Training": "sam3edge_pipeline.steps.train"}
"""What the image runs when SageMaker calls it with ``train``."""

MODEL = "model.tar.gz"

Told = Callable[[str, str], None]
"""Told a step's name, and ``begins``, ``succeeded`` or ``failed``."""


class DefinitionError(Sam3EdgeError):
    """The definition holds something that is not understood, or a parameter that it does not know is given."""


class StepFailed(Sam3EdgeError):
    """A step has failed; the text is what it says about itself."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What an execution has come to.

    Attributes:
        id: of the execution; outputs lie below it.
        outputs: S3 addresses by step and output; of a training its model under ``model``.
        steps: that were executed, in order.
    """

    id: str
    outputs: Mapping[str, Mapping[str, str]]
    steps: tuple[str, ...]


@dataclass(slots=True)
class _State:
    parameters: Mapping[str, Json]
    execution: Mapping[str, str]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[tuple[str, str], Json] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)


class Interpreter:
    """Executes a definition.

    Args:
        definition: of the pipeline, as ``definition/pipeline.json`` holds it.
        store: folder that stands for S3.
        environment: variables that steps get besides this process's.
        told: told how it proceeds.
        logs: folder for what steps say, a file each; None to let them say it here.
    """

    def __init__(
        self,
        definition: Mapping[str, Json],
        store: Path,
        environment: Mapping[str, str] | None = None,
        told: Told = lambda step, what: None,
        logs: Path | None = None,
    ) -> None:
        self._definition = definition
        self._store = store
        self._environment = dict(environment or {})
        self._told = told
        self._logs = logs

    def execute(self, parameters: Mapping[str, Json]) -> Execution:
        """Execute it once.

        Raises:
            DefinitionError: see there.
            StepFailed: a step has failed, or the pipeline has turned the candidate down.
        """
        known = {one["Name"]: one.get("DefaultValue") for one in self._definition["Parameters"]}
        if unknown := parameters.keys() - known.keys():
            raise DefinitionError(f"expected parameters among {', '.join(known)}; got {', '.join(sorted(unknown))}")
        identity = uuid.uuid4().hex[:12]
        execution = {"PipelineExecutionId": identity, "PipelineExecutionArn": f"local:{identity}"}
        state = _State({**known, **parameters}, execution)
        self._run(self._definition["Steps"], state)
        return Execution(identity, state.outputs, tuple(state.done))

    def _run(self, steps: list[Json], state: _State) -> None:
        for step in steps:
            if missing := [name for name in step.get("DependsOn", ()) if name not in state.done]:
                raise DefinitionError(f"{step['Name']} depends on {', '.join(missing)}, which has not been executed")
            kinds: dict[str, Callable[[Json, _State], None]] = {
                "Processing": self._process,
                "Training": self._train,
                "Condition": self._decide,
                "Fail": self._fail,
            }
            if step["Type"] not in kinds:
                raise DefinitionError(f"{step['Name']} is a {step['Type']} step, which is not understood here")
            kinds[step["Type"]](step, state)

    def _process(self, step: Json, state: _State) -> None:
        told = _resolved(step["Arguments"], state)
        with self._machine() as places:
            for one in told.get("ProcessingInputs", ()):
                place = _within(places.root, one["S3Input"]["LocalPath"])
                self._download(one["S3Input"]["S3Uri"], place)
            application = told["AppSpecification"]
            _expect(
                application["ContainerEntrypoint"][:2] == ["python", "-m"], f"{step['Name']}: python -m as entrypoint"
            )
            self._call(step["Name"], application["ContainerEntrypoint"][2], application["ContainerArguments"], places)
            outputs = {}
            for one in told["ProcessingOutputConfig"]["Outputs"]:
                name, place = one["OutputName"], one["S3Output"]
                outputs[name] = place["S3Uri"]
                self._upload(_within(places.root, place["LocalPath"]), place["S3Uri"])
            for one in step.get("PropertyFiles", ()):
                path = self._local(outputs[one["OutputName"]]) / one["FilePath"]
                state.files[step["Name"], one["PropertyFileName"]] = json.loads(path.read_text(encoding="utf-8"))
        state.outputs[step["Name"]] = outputs
        state.done.append(step["Name"])

    def _train(self, step: Json, state: _State) -> None:
        told = _resolved(step["Arguments"], state)
        with self._machine() as places:
            for one in told["InputDataConfig"]:
                self._download(one["DataSource"]["S3DataSource"]["S3Uri"], places.channel(one["ChannelName"]))
            numbers = told["HyperParameters"]
            _expect(all(isinstance(v, str) for v in numbers.values()), f"{step['Name']}: strings as hyperparameters")
            places.hyperparameters.parent.mkdir(parents=True)
            places.hyperparameters.write_text(json.dumps(numbers), encoding="utf-8")
            kept = self._local(told["CheckpointConfig"]["S3Uri"])
            if kept.exists():  # of an execution that was interrupted
                shutil.copytree(kept, places.checkpoints, dirs_exist_ok=True)
            self._call(step["Name"], COMMAND["Training"], [], places)
            self._upload(places.checkpoints, told["CheckpointConfig"]["S3Uri"])
            uri = f"{told['OutputDataConfig']['S3OutputPath']}/{step['Name']}/output/{MODEL}"
            target = self._local(uri)
            target.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(target, "w:gz", compresslevel=1) as archive:
                archive.add(places.model, arcname=".")
            self._upload(places.metrics, f"{told['OutputDataConfig']['S3OutputPath']}/{step['Name']}/output/data")
        state.outputs[step["Name"]] = {"model": uri}
        state.done.append(step["Name"])

    def _decide(self, step: Json, state: _State) -> None:
        told = step["Arguments"]
        compare: dict[str, Callable[[float, float], bool]] = {
            "GreaterThanOrEqualTo": lambda a, b: a >= b,
            "LessThanOrEqualTo": lambda a, b: a <= b,
        }
        holds = True
        for one in told["Conditions"]:
            _expect(one["Type"] in compare, f"{step['Name']}: conditions among {', '.join(compare)}")
            left, right = (float(_resolved(one[side], state)) for side in ("LeftValue", "RightValue"))
            holds = holds and compare[one["Type"]](left, right)
        state.done.append(step["Name"])
        self._told(step["Name"], "holds" if holds else "does not hold")
        self._run(told["IfSteps"] if holds else told["ElseSteps"], state)

    def _fail(self, step: Json, state: _State) -> None:
        raise StepFailed(f"{step['Name']}: {_resolved(step['Arguments']['ErrorMessage'], state)}")

    @contextmanager
    def _machine(self) -> Iterator[Places]:
        """A folder that stands for /opt/ml of a new machine."""
        with tempfile.TemporaryDirectory(prefix="opt-ml-") as root:
            yield Places(Path(root))

    def _call(self, name: str, module: str, arguments: list[str], places: Places) -> None:
        self._told(name, "begins")
        command = [sys.executable, "-m", module, "--root", str(places.root), *arguments]
        with self._log(name) as log:
            done = subprocess.run(command, env={**os.environ, **self._environment}, stdout=log, stderr=log, check=False)
        if done.returncode:
            said = places.failure.read_text(encoding="utf-8") if places.failure.exists() else "it said nothing"
            self._told(name, "failed")
            raise StepFailed(f"{name} ended with status {done.returncode}: {said}")
        self._told(name, "succeeded")

    @contextmanager
    def _log(self, name: str) -> Iterator[IO[bytes] | None]:
        if self._logs is None:
            yield None
            return
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{name.lower()}.log").open("wb") as file:
            yield file

    def _local(self, uri: str) -> Path:
        _expect(uri.startswith("s3://"), f"an address in S3, got {uri!r}")
        return _within(self._store, uri.removeprefix("s3:/"))

    def _download(self, uri: str, place: Path) -> None:
        source = self._local(uri)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True)
        elif source.is_file():
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place / source.name)
        else:
            raise StepFailed(f"there is nothing at {uri}")

    def _upload(self, place: Path, uri: str) -> None:
        target = self._local(uri)
        target.mkdir(parents=True, exist_ok=True)
        if place.exists():
            shutil.copytree(place, target, dirs_exist_ok=True)


def read_definition(path: Path) -> Json:
    """A definition that is kept as a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _resolved(node: Json, state: _State) -> Json:
    """A part of the definition with every reference exchanged for what it refers to."""
    if isinstance(node, list):
        return [_resolved(item, state) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Get"}:
        return _referred(node["Get"], state)
    if node.keys() == {"Std:Join"}:
        return str(node["Std:Join"]["On"]).join(str(_resolved(v, state)) for v in node["Std:Join"]["Values"])
    if node.keys() == {"Std:JsonGet"}:
        wanted = node["Std:JsonGet"]
        _, step, _, file = wanted["PropertyFile"]["Get"].split(".")
        return state.files[step, file][wanted["Path"]]
    return {key: _resolved(value, state) for key, value in node.items()}


def _referred(path: str, state: _State) -> Json:
    if path.startswith("Parameters."):
        return state.parameters[path.removeprefix("Parameters.")]
    if path.startswith("Execution."):
        return state.execution.get(path.removeprefix("Execution."), "local")
    step, _, rest = path.removeprefix("Steps.").partition(".")
    _expect(step in state.outputs, f"{path}: a step that was executed before")
    if rest == "ModelArtifacts.S3ModelArtifacts":
        return state.outputs[step]["model"]
    before, after = "ProcessingOutputConfig.Outputs['", "'].S3Output.S3Uri"
    _expect(rest.startswith(before) and rest.endswith(after), f"{path}: a model or an output of a step")
    return state.outputs[step][rest[len(before) : -len(after)]]


def _within(root: Path, path: str) -> Path:
    """A path of a machine or a store below ``root``.

    Raises:
        DefinitionError: it leaves its place.
    """
    below = path.removeprefix("/opt/ml").lstrip("/")
    found = root / below
    _expect(".." not in Path(below).parts, f"a path within its place, got {path!r}")
    return found


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise DefinitionError(f"expected {what}")
