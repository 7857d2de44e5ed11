"""Lifecycle steps of one component as processes, with what is worth knowing about them in its log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sam3edge_simulator.component_log import ComponentLog
from sam3edge_simulator.lifecycle import Step
from sam3edge_simulator.processes import StepProcess


@dataclass(frozen=True, slots=True)
class Plan:
    """How a component is to run.

    Attributes:
        steps: its lifecycle steps, by name.
        environment: of every step, before the recipe's own ``Setenv``.
        folder: where the steps run.
        verify: refuses artifacts that are not what was deployed, by raising ``ArtifactError``.
    """

    steps: Mapping[str, Step]
    environment: Mapping[str, str]
    folder: Path
    verify: Callable[[], None]


class StepFailed(Exception):
    """The component's step failed; the text says how."""


class StepRunner:
    """Runs steps: one main process at a time, and short ones beside it. Used by the component's thread.

    Args:
        log: the component's log.
        grace: seconds between SIGTERM and SIGKILL.
        ended: called from another thread whenever a process has ended.
    """

    def __init__(self, logger: ComponentLog, grace: float, ended: Callable[[], None]) -> None:
        self.logger = logger
        self._grace = grace
        self._ended = ended
        self._main: StepProcess | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the main process; None when none runs."""
        main = self._main
        return main.pid if main is not None and main.status is None else None

    def spawn(self, plan: Plan, name: str) -> StepProcess | None:
        """Start a step as the main process, in place of the one before.

        Returns:
            Its process; None when it is skipped.

        Raises:
            StepFailed: it could not be started.
        """
        self.end()
        self._main = self._open(plan, name)
        return self._main

    def beside(self, plan: Plan, name: str) -> None:
        """Run a step, if there is one, to its end beside the main process; its outcome changes nothing."""
        step = plan.steps.get(name)
        if step is None:
            return
        try:
            process = self._open(plan, name)
        except StepFailed as failure:
            self.logger.write("ERROR", str(failure), origin="nucleus")
            return
        if process is not None:
            if process.wait(step.timeout) is None:
                self.logger.write("ERROR", f"{name} took longer than {step.timeout} s", origin="nucleus")
            process.stop(self._grace)

    def end(self) -> None:
        """End the main process and everything in its group."""
        main, self._main = self._main, None
        if main is not None:
            main.stop(self._grace)

    def _open(self, plan: Plan, name: str) -> StepProcess | None:
        step = plan.steps[name]
        if step.skip:
            self.logger.write("INFO", f"{name} skipped by Skipif", origin="nucleus")
            return None
        if step.cut:
            self.logger.write("ERROR", f"{name} cut short at a '{{' that is not a recipe variable", origin="nucleus")
        self.logger.write("INFO", f"{name} starts. {{command={step.script.strip()!r}}}", origin="nucleus")
        environment = {**plan.environment, **step.environment}
        try:
            return StepProcess(step.script, environment, plan.folder, self.logger, lambda _status: self._ended())
        except OSError as error:
            raise StepFailed(f"{name} could not be started: {error}") from error
