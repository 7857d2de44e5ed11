"""All components of a device: started, watched, replaced and stopped together."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial

from sam3edge_simulator.artifacts import Packages
from sam3edge_simulator.component_log import ComponentLog
from sam3edge_simulator.configuration import ConfigurationStore
from sam3edge_simulator.device import Device
from sam3edge_simulator.lifecycle import prepare_steps
from sam3edge_simulator.recipes.interpolation import Variables
from sam3edge_simulator.recipes.recipe import Recipe
from sam3edge_simulator.states import State, StateChange, StateListener
from sam3edge_simulator.step_runner import Plan
from sam3edge_simulator.supervision import Supervisor

_SETTLED = (State.RUNNING, State.FINISHED)


class DeviceStopped(Exception):
    """The device was stopped while something was being changed."""


class NotSettled(Exception):
    """A component broke, or did not start in time."""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One component as it is now.

    Attributes:
        name: component name.
        version: component version.
        state: its state in the lifecycle.
        pid: process id of its running script; None without one.
        errors: failures that count towards BROKEN.
        reason: why it failed last; empty when it never did.
    """

    name: str
    version: str
    state: State
    pid: int | None
    errors: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    recipe: Recipe
    plan: Plan
    token: str
    supervisor: Supervisor


class Components:
    """The components of one device. Changed by one thread at a time; asked by any.

    Args:
        device: what the components are told of it.
        packages: where their files lie.
        configuration: their values.
        restart_delay: seconds before the first restart after a failure.
    """

    def __init__(
        self, device: Device, packages: Packages, configuration: ConfigurationStore, restart_delay: float
    ) -> None:
        self._device = device
        self._packages = packages
        self._configuration = configuration
        self._restart_delay = restart_delay
        self._changed = threading.Condition()
        self._members: dict[str, _Member] = {}
        self._last_change: dict[str, float] = {}
        self._listeners: list[StateListener] = []
        self._closed = False

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What is deployed now, dependencies before their dependents."""
        with self._changed:
            return tuple(member.recipe for member in self._members.values())

    def statuses(self) -> tuple[ComponentStatus, ...]:
        """Every component as it is now, by name."""
        with self._changed:
            members = sorted(self._members.items())
        return tuple(_status(member) for _, member in members)

    def status(self, name: str) -> ComponentStatus:
        """One component as it is now.

        Raises:
            KeyError: it is not deployed.
        """
        return _status(self._member(name))

    def component_of(self, token: str) -> str | None:
        """Name of the component that was given this token; None when there is none."""
        with self._changed:
            for name, member in self._members.items():
                if secrets.compare_digest(member.token.encode(), token.encode()):
                    return name
        return None

    def renew_tokens(self) -> None:
        """Give every component another token, which it learns at its next start; the ones before are void."""
        with self._changed:
            for name, member in self._members.items():
                token = secrets.token_hex(8).upper()
                plan = replace(member.plan, environment=self._device.environment(member.recipe, token))
                member.supervisor.adopt(plan)
                self._members[name] = _Member(member.recipe, plan, token, member.supervisor)

    def report(self, name: str, state: State) -> None:
        """The component says what state it is in.

        Raises:
            KeyError: it is not deployed.
        """
        self._member(name).supervisor.report(state)

    def restart(self, name: str) -> None:
        """Stop a component and run it again; returns at once.

        Raises:
            KeyError: it is not deployed.
        """
        self._member(name).supervisor.restart()

    def listen(self, listener: StateListener) -> Callable[[], None]:
        """Have ``listener`` called for every change of state, from the component's thread.

        Returns:
            What ends it.
        """
        with self._changed:
            self._listeners.append(listener)

        def end() -> None:
            with self._changed:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def wait(self, name: str, state: State, timeout: float) -> bool:
        """Wait until a component is in a state, or has passed through it since this was called.

        Returns:
            Whether it came to that within ``timeout`` seconds.
        """
        seen: list[StateChange] = []
        end = self.listen(seen.append)
        try:
            with self._changed:
                return self._changed.wait_for(
                    lambda: (
                        (name in self._members and self._members[name].supervisor.state is state)
                        or any(change.component == name and change.after is state for change in list(seen))
                    ),
                    timeout,
                )
        finally:
            end()

    def apply(self, recipes: Iterable[Recipe], reconfigured: Set[str]) -> Set[str]:
        """Run exactly these components: new ones start, changed ones restart, others stop and go.

        Args:
            recipes: dependencies before their dependents.
            reconfigured: components whose configuration values have changed.

        Returns:
            Names of the components that were started or restarted.

        Raises:
            RecipeError: a step is not what the recipe reference allows; nothing was changed.
            DeviceStopped: ``close`` was called.
        """
        chosen = {recipe.name: recipe for recipe in recipes}
        plans = {name: (recipe, *self._plan(recipe, chosen)) for name, recipe in chosen.items()}
        with self._changed:
            before = dict(self._members)
        for name in [name for name in reversed(before) if name not in plans]:
            before[name].supervisor.close()
        fresh: list[Supervisor] = []
        touched: set[str] = set()
        members: dict[str, _Member] = {}
        for name, (recipe, plan, token) in plans.items():
            old = before.get(name)
            if old is None:
                supervisor = self._supervisor(name, plan)
                fresh.append(supervisor)
                touched.add(name)
            else:
                supervisor = old.supervisor
            members[name] = _Member(recipe, plan, token, supervisor)
        with self._changed:
            self._check_open()
            self._members = members
        for name, member in members.items():
            if name in before and self._renew(before[name], member, name in reconfigured):
                touched.add(name)
        for supervisor in fresh:
            supervisor.start()
        with self._changed:
            # What was ordered has not been done yet: the old states say nothing.
            self._last_change |= dict.fromkeys(touched, time.monotonic())
        return touched

    def settle(self, names: Iterable[str], *, start_period: float, timeout: float) -> None:
        """Wait until components have all been running, or finished, for ``start_period`` seconds without a change.

        Raises:
            NotSettled: one is broken, or they did not come to that within ``timeout`` seconds.
            DeviceStopped: ``close`` was called.
        """
        awaited = tuple(names)
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                self._check_open()
                members = [self._members[name] for name in awaited if name in self._members]
                for member in members:
                    if member.supervisor.state is State.BROKEN and not member.supervisor.ordered:
                        raise NotSettled(f"{member.recipe.name} is BROKEN: {member.supervisor.reason}")
                now = time.monotonic()
                since = max((self._last_change.get(name, 0.0) for name in awaited), default=0.0)
                calm = all(member.supervisor.state in _SETTLED and not member.supervisor.ordered for member in members)
                if calm and now - since >= start_period:
                    return
                if now >= end:
                    stuck = {m.recipe.name: m.supervisor.state.value for m in members}
                    raise NotSettled(f"not all components run after {timeout:g} s: {stuck}")
                self._changed.wait(min(end - now, start_period - (now - since)) if calm else end - now)

    def close(self) -> None:
        """Stop every component for good, dependents first."""
        with self._changed:
            self._closed = True
            members = list(self._members.values())
            self._members = {}
            self._changed.notify_all()
        for member in reversed(members):
            member.supervisor.close()

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceStopped("the device was stopped; it will run what it ran before")

    def _member(self, name: str) -> _Member:
        with self._changed:
            if name not in self._members:
                raise KeyError(f"component {name!r} is not deployed; there are {sorted(self._members)}")
            return self._members[name]

    def _plan(self, recipe: Recipe, chosen: Mapping[str, Recipe]) -> tuple[Plan, str]:
        """How a component runs, and the token that it is given; a component keeps its token."""
        with self._changed:
            old = self._members.get(recipe.name)
        token = old.token if old is not None else secrets.token_hex(8).upper()
        variables = self._variables(recipe, chosen)
        steps = prepare_steps(recipe, variables, self._device.profile)
        folder = variables.places.work
        folder.mkdir(parents=True, exist_ok=True)
        environment = self._device.environment(recipe, token)
        return Plan(steps, environment, folder, partial(self._packages.verify, recipe)), token

    def _variables(self, recipe: Recipe, chosen: Mapping[str, Recipe]) -> Variables:
        profile = self._device.profile
        dependencies: dict[str, Variables] = {}
        if profile.cross_component_variables:
            for name in recipe.dependencies:
                if name in chosen:
                    dependencies[name] = self._variables(chosen[name], {})
        values = self._configuration.read(recipe.name) if self._configuration.has(recipe.name) else {}
        return Variables(
            thing=self._device.thing,
            root=self._device.root,
            places=self._packages.places(recipe.name, recipe.version),
            configuration=values,
            suffix=profile.path_suffix,
            dependencies=dependencies,
        )

    def _supervisor(self, name: str, plan: Plan) -> Supervisor:
        return Supervisor(
            name,
            plan,
            self._device.profile,
            ComponentLog(self._device.root / "logs", name),
            ready=partial(self._ready, name),
            listener=self._on_change,
            restart_delay=self._restart_delay,
        )

    def _renew(self, old: _Member, new: _Member, reconfigured: bool) -> bool:
        """Restart a component if what it is made of has changed.

        Returns:
            Whether it had.
        """
        reinstall = (
            old.recipe.version != new.recipe.version
            or old.plan.steps.get("install") != new.plan.steps.get("install")
            or new.supervisor.state is State.BROKEN
        )
        restart = (
            old.recipe.source != new.recipe.source
            or old.plan.environment != new.plan.environment
            or _without_shutdown(old.plan) != _without_shutdown(new.plan)
            or (reconfigured and self._device.profile.restarts_on_configuration)
        )
        if reinstall or restart:
            new.supervisor.replace(new.plan, reinstall=reinstall)
        else:
            new.supervisor.adopt(new.plan)
        return reinstall or restart

    def _ready(self, name: str) -> bool:
        """Whether every HARD dependency lets the component start. Called without waiting, under foreign locks."""
        members = self._members
        member = members.get(name)
        if member is None:
            return False
        return all(
            members[needed].supervisor.state.value in self._device.profile.ready_states
            for needed, dependency in member.recipe.dependencies.items()
            if dependency.hard and needed in members
        )

    def _on_change(self, change: StateChange) -> None:
        with self._changed:
            self._last_change[change.component] = time.monotonic()
            members = list(self._members.values())
            listeners = list(self._listeners)
            self._changed.notify_all()
        ready = self._device.profile.ready_states
        lost = change.before.value in ready and change.after.value not in ready
        for member in members:
            dependency = member.recipe.dependencies.get(change.component)
            if dependency is not None and dependency.hard:
                member.supervisor.dependency_changed(lost=lost)
        for listener in listeners:
            listener(change)
        with self._changed:
            self._changed.notify_all()


def _status(member: _Member) -> ComponentStatus:
    supervisor = member.supervisor
    return ComponentStatus(
        name=member.recipe.name,
        version=str(member.recipe.version),
        state=supervisor.state,
        pid=supervisor.pid,
        errors=supervisor.errors,
        reason=supervisor.reason,
    )


def _without_shutdown(plan: Plan) -> Mapping[str, object]:
    return {name: step for name, step in plan.steps.items() if name != "shutdown"}
