"""Runs one component: its steps, its restarts, its states."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import IntEnum

from sam3edge_simulator.artifacts import ArtifactError
from sam3edge_simulator.component_log import ComponentLog
from sam3edge_simulator.processes import StepProcess
from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.states import State, StateChange, StateListener
from sam3edge_simulator.step_runner import Plan, StepFailed, StepRunner

logger = logging.getLogger(__name__)

FAILURES_UNTIL_BROKEN = 3
"""Within ``Profile.failure_memory``."""


class _Order(IntEnum):
    """What is to be done next; a greater one overrules a smaller one."""

    RESTART = 1
    REINSTALL = 2
    CLOSE = 3


class _Ordered(Exception):
    """Something else is to be done now."""


class Supervisor:
    """Holds one component to its lifecycle, from a thread of its own.

    Args:
        name: component name.
        plan: how to run it at first.
        profile: rules of the nucleus.
        log: the component's log; closed with the supervisor.
        ready: whether all HARD dependencies let it start.
        listener: told of every change of state.
        restart_delay: seconds before the first restart after a failure.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        profile: Profile,
        logger: ComponentLog,
        *,
        ready: Callable[[], bool],
        listener: StateListener,
        restart_delay: float,
    ) -> None:
        self.name = name
        self._plan = plan
        self._profile = profile
        self.logger = logger
        self._ready = ready
        self._listener = listener
        self._restart_delay = restart_delay
        self._changed = threading.Condition()
        self._state = State.NEW
        self._reason = ""
        self._order: _Order | None = None
        self._obeying = False
        self._installed = False
        self._started = False
        self._reported: State | None = None
        self._failures: list[float] = []
        self._runner = StepRunner(logger, profile.stop_grace, self._wake)
        self._thread = threading.Thread(target=self._main, name=f"component-{name}", daemon=True)

    @property
    def state(self) -> State:
        """Its present state."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is ERRORED or BROKEN, or was last; empty when it never failed."""
        return self._reason

    @property
    def pid(self) -> int | None:
        """Process id of the running script; None without one."""
        return self._runner.pid

    @property
    def errors(self) -> int:
        """Failures that count towards BROKEN."""
        return len(self._failures)

    @property
    def ordered(self) -> bool:
        """Whether the state is one that an order has overtaken, and means nothing any more."""
        return self._order is not None or self._obeying

    def start(self) -> None:
        """Begin to run it."""
        self._thread.start()

    def restart(self) -> None:
        """Stop it and run it again, without installing it again; returns at once."""
        self._give(_Order.RESTART)

    def replace(self, plan: Plan, *, reinstall: bool) -> None:
        """Stop it and run it as ``plan`` says; failures so far are forgotten. Returns at once.

        Args:
            plan: what it is from now on.
            reinstall: whether ``install`` runs again, as for a new version.
        """
        with self._changed:
            self._plan = plan
            self._failures.clear()
        self._give(_Order.REINSTALL if reinstall else _Order.RESTART)

    def adopt(self, plan: Plan) -> None:
        """Run it as ``plan`` says from its next start on."""
        with self._changed:
            self._plan = plan

    def close(self) -> None:
        """Stop it for good and wait for its thread."""
        self._give(_Order.CLOSE)
        if self._thread.is_alive():
            self._thread.join()
        self.logger.close()

    def dependency_changed(self, *, lost: bool) -> None:
        """A HARD dependency changed its state.

        Args:
            lost: whether it left the states in which this component may run; this one restarts then.
        """
        if lost and self._state in (State.STARTING, State.RUNNING):
            self._give(_Order.RESTART)
        self._wake()

    def report(self, state: State) -> None:
        """The component itself says that it is RUNNING or ERRORED (``UpdateState``)."""
        with self._changed:
            self._reported = state
            self._changed.notify_all()

    def _give(self, order: _Order) -> None:
        with self._changed:
            self._order = max(order, self._order or order)
            self._changed.notify_all()

    # ------------------------------------------------------------------ the thread

    def _main(self) -> None:
        while True:
            try:
                self._live()
                self._rest()
            except _Ordered:
                pass
            except Exception as error:
                # A defect of the simulator: the component is broken, the nucleus and the other components continue.
                logger.exception("%s: supervisor failed", self.name)
                self._runner.end()
                self._set(State.BROKEN, f"the simulator failed: {error}")
                self._rest()
            if self._obey():
                return

    def _obey(self) -> bool:
        """Carry out the order that interrupted the component.

        Returns:
            Whether it was the last one.
        """
        order = self._take_order()
        if self._state in (State.STARTING, State.RUNNING):
            self._failures.clear()
        self._shut_down()
        # Only a new deployment mends a broken component: a restart leaves it as it is.
        while order is _Order.RESTART and self._state is State.BROKEN:
            self._rest()
            order = self._take_order()
        if order is _Order.CLOSE:
            if self._state is not State.BROKEN:
                self._set(State.FINISHED)
            return True
        if order is _Order.REINSTALL:
            self._installed = False
        return False

    def _take_order(self) -> _Order | None:
        with self._changed:
            order, self._order = self._order, None
            self._obeying = True
        return order

    def _live(self) -> None:
        """One life after the other, until the component has finished or is broken."""
        while True:
            try:
                self._install()
                self._run_once()
                return
            except StepFailed as failure:
                if self._give_up(str(failure)):
                    return
            except ArtifactError as error:
                self.logger.write("ERROR", str(error), origin="nucleus")
                self._set(State.BROKEN, str(error))
                return

    def _install(self) -> None:
        self._wait(lambda: True)
        if self._installed:
            self._set(State.INSTALLED)
            return
        self._set(State.NEW)
        self._plan.verify()
        for name in ("bootstrap", "install"):
            if name in self._plan.steps:
                self._run_to_end(name)
        self._installed = True
        self._set(State.INSTALLED)

    def _run_once(self) -> None:
        self._wait(self._ready)
        self._plan.verify()
        self._set(State.STARTING)
        self._started = True
        with self._changed:
            self._reported = None
        if "startup" in self._plan.steps:
            self._start_up()
        elif "run" in self._plan.steps:
            self._run()
        else:
            self._started = False
        self._shut_down()
        self._failures.clear()
        self._set(State.FINISHED)

    def _start_up(self) -> None:
        step = self._plan.steps["startup"]
        process = self._runner.spawn(self._plan, "startup")
        if process is not None:
            self._wait(lambda: process.status is not None or self._reported is not None, step.timeout)
            if process.status is None and self._reported is None:
                raise StepFailed(f"startup took longer than {step.timeout} s")
            self._check("startup", process)
        self._set(State.RUNNING)
        # What startup left running is not a child of ours: that it failed, only the component itself can say.
        self._wait(lambda: self._reported is State.ERRORED or (process is not None and bool(process.status)))
        reported = self._reported is State.ERRORED
        raise StepFailed("the component reported ERRORED" if reported else "startup failed after it was RUNNING")

    def _run(self) -> None:
        step = self._plan.steps["run"]
        process = self._runner.spawn(self._plan, "run")
        self._set(State.RUNNING)
        if process is None:
            return
        self._wait(lambda: process.status is not None or self._reported is State.ERRORED, step.timeout)
        if process.status is None and self._reported is not State.ERRORED:
            raise StepFailed(f"run took longer than {step.timeout} s")
        self._check("run", process)

    def _check(self, name: str, process: StepProcess) -> None:
        if self._reported is State.ERRORED:
            raise StepFailed("the component reported ERRORED")
        if process.status is not None:
            self.logger.write("INFO", f"{name} script exited. {{exitCode={process.status}}}", origin="nucleus")
            if process.status != 0:
                raise StepFailed(f"{name} exited with status {process.status}")

    def _give_up(self, reason: str) -> bool:
        """Clean up after a failure, and wait until the component may be tried again.

        Returns:
            Whether it is broken: it is not tried again.
        """
        now = time.monotonic()
        self._failures = [at for at in self._failures if now - at < self._profile.failure_memory] + [now]
        broken = len(self._failures) >= FAILURES_UNTIL_BROKEN
        self.logger.write("ERROR", f"{reason}. {{failures={len(self._failures)}}}", origin="nucleus")
        if not broken:
            self._set(State.ERRORED, reason)
            self._runner.beside(self._plan, "recover")
        self._shut_down(quietly=broken)
        if broken:
            self._set(State.BROKEN, reason)
            return True
        delay = self._restart_delay * self._profile.restart_growth ** (len(self._failures) - 1)
        self._wait(lambda: False, delay)
        return False

    # ------------------------------------------------------------------ steps

    def _run_to_end(self, name: str) -> None:
        step = self._plan.steps[name]
        process = self._runner.spawn(self._plan, name)
        if process is None:
            return
        try:
            self._wait(lambda: process.status is not None, step.timeout)
            if process.status is None:
                raise StepFailed(f"{name} took longer than {step.timeout} s")
            self._check(name, process)
        finally:
            self._runner.end()

    def _shut_down(self, *, quietly: bool = False) -> None:
        """Run ``shutdown`` and end what still runs; only a component that was started is shut down."""
        if self._started:
            self._started = False
            if not quietly:
                self._set(State.STOPPING)
            self._runner.beside(self._plan, "shutdown")
        self._runner.end()

    # ------------------------------------------------------------------ waiting and telling

    def _wait(self, holds: Callable[[], bool], timeout: float | None = None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._order is not None or holds(), timeout)
            if self._order is not None:
                raise _Ordered

    def _rest(self) -> None:
        """Wait for the next order."""
        with self._changed:
            self._obeying = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._order is not None)

    def _set(self, state: State, reason: str = "") -> None:
        with self._changed:
            before, self._state = self._state, state
            self._obeying = False
            self._reason = reason or self._reason
        if before is not state:
            self._listener(StateChange(self.name, before, state, reason))
        self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
