"""Carrying out deployments: resolve, check, ask, switch, watch, and go back when a component breaks."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam3edge_simulator.artifacts import ArtifactError, Packages, read_recipes
from sam3edge_simulator.components import Components, DeviceStopped, NotSettled
from sam3edge_simulator.configuration import ConfigurationClash, ConfigurationStore
from sam3edge_simulator.deployment_document import (
    Deployment,
    DeploymentFailed,
    DeploymentResult,
    DeploymentStatus,
    FailurePolicy,
)
from sam3edge_simulator.history import History, Snapshot
from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.recipes.recipe import Recipe, RecipeError
from sam3edge_simulator.recipes.resolution import ResolutionError, resolve
from sam3edge_simulator.recipes.semver import Requirement, Version, VersionError
from sam3edge_simulator.update_events import (
    VALIDATION_PATIENCE_SECONDS,
    ConfigurationRejected,
    ConfigurationValidation,
    UpdateNotices,
)

logger = logging.getLogger(__name__)


class DeploymentRefused(Exception):
    """A deployment cannot be carried out; the device is as it was."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a deployment waits.

    Attributes:
        start_period: seconds for which all components must run without a change before the deployment has succeeded;
            a component that breaks within them fails it.
        settle: seconds after which a deployment whose components do not run has failed.
    """

    start_period: float = 3.0
    settle: float = 300.0


@dataclass(frozen=True, slots=True)
class _Draft:
    """What a deployment comes to.

    Attributes:
        roots: version ranges that deployments ask for, by component name.
        recipes: every component, dependencies before their dependents.
        brought: names and versions of the recipes that came with the deployment.
        values: configuration of every component.
    """

    roots: Mapping[str, str]
    recipes: Sequence[Recipe]
    brought: frozenset[tuple[str, Version]]
    values: Mapping[str, Mapping[str, Any]]


class Deployer:
    """Carries out one deployment after the other.

    Args:
        profile: rules of the nucleus.
        packages: the component store.
        configuration: values of the components.
        components: what runs.
        history: what the device remembers.
        updates: subscribers to updates.
        validation: subscribers that validate a new configuration.
        patience: how long it waits.
    """

    def __init__(
        self,
        profile: Profile,
        packages: Packages,
        configuration: ConfigurationStore,
        components: Components,
        history: History,
        updates: UpdateNotices,
        validation: ConfigurationValidation,
        patience: Patience,
    ) -> None:
        self._profile = profile
        self._packages = packages
        self._configuration = configuration
        self._components = components
        self._history = history
        self._updates = updates
        self._validation = validation
        self._patience = patience
        self._lock = threading.Lock()

    def resume(self) -> None:
        """Run what ran when the device was last stopped.

        Raises:
            DeploymentRefused: its recipes are not in the store any more.
        """
        with self._lock:
            self._configuration.load(self._history.present.configuration)
            self._components.apply(self._stored(self._history.present.components), set())

    def deploy(self, deployment: Deployment, deployment_id: str = "") -> DeploymentResult:
        """Bring the device to what ``deployment`` asks for.

        Raises:
            DeploymentFailed: it was refused, or a component broke; the result in it says what runs now.
        """
        with self._lock:
            number = deployment_id or str(uuid.uuid4())
            try:
                draft = self._draft(deployment)
                self._store(deployment, draft)
                self._ask(deployment, number, draft)
            except (
                ArtifactError,
                ConfigurationClash,
                ConfigurationRejected,
                DeploymentRefused,
                ResolutionError,
                VersionError,
            ) as error:
                self._history.configured(self._configuration.export())
                status = DeploymentStatus.FAILED_NO_STATE_CHANGE
                raise DeploymentFailed(self._result(number, status, str(error))) from error
            self._history.configured(self._configuration.export())
            try:
                result = self._switch(deployment, number, draft)
            except DeviceStopped as error:
                status = DeploymentStatus.FAILED_NO_STATE_CHANGE
                raise DeploymentFailed(self._result(number, status, str(error))) from error
            self._updates.finished(number)
            if result.status is not DeploymentStatus.SUCCESSFUL:
                raise DeploymentFailed(result)
            return result

    def roll_back(self) -> DeploymentResult:
        """Undo the last deployment: versions and configuration are what they were before it.

        Raises:
            NothingToRestore: there is none.
            DeploymentFailed: what ran before does not run any more.
        """
        with self._lock:
            record = self._history.last()
            number = str(uuid.uuid4())
            try:
                self._restore(record.before)
            except (NotSettled, DeploymentRefused, DeviceStopped) as error:
                status = DeploymentStatus.FAILED_UNABLE_TO_ROLLBACK
                raise DeploymentFailed(self._result(number, status, str(error))) from error
            self._history.undo(record.before)
            return self._result(number, DeploymentStatus.SUCCESSFUL)

    def save_configuration(self) -> None:
        """Remember values that changed outside a deployment; returns at once.

        A deployment under way remembers them when it ends: a component must not wait for it, since it may itself have
        to answer a question of the deployment.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._history.configured(self._configuration.export())
            finally:
                self._lock.release()

    # ------------------------------------------------------------------ before anything changes

    def _draft(self, deployment: Deployment) -> _Draft:
        """What the device would run, worked out without changing anything."""
        roots = self._roots(deployment)
        if deployment.recipes is not None and not deployment.recipes.is_dir():
            raise DeploymentRefused(f"no folder of recipes at {deployment.recipes}; build the components first")
        brought, refused = read_recipes(deployment.recipes, self._profile) if deployment.recipes else ((), ())
        at_hand = {(one.name, one.version): one for one in (*self._packages.recipes(), *brought)}
        try:
            wanted = {name: Requirement.parse(text) for name, text in roots.items()}
            recipes = resolve(wanted, at_hand.values(), self._profile.builtin)
        except ResolutionError as error:
            raise DeploymentRefused("; ".join([str(error), *(f"refused: {reason}" for reason in refused)])) from error
        values = ConfigurationStore()
        values.load(self._configuration.export())
        _configure(values, deployment, recipes)
        new = frozenset((one.name, one.version) for one in brought)
        return _Draft(roots, recipes, new, {recipe.name: values.read(recipe.name) for recipe in recipes})

    def _roots(self, deployment: Deployment) -> Mapping[str, str]:
        kept = {} if deployment.exclusive else dict(self._history.present.roots)
        for name in deployment.remove:
            if kept.pop(name, None) is None:
                raise DeploymentRefused(f"{name!r} cannot be removed: deployed are {sorted(kept)}")
        roots = {**kept, **deployment.add}
        for name in deployment.configuration.keys() - roots.keys():
            raise DeploymentRefused(f"configuration for {name!r}, which the deployment does not name; add it")
        return roots

    def _store(self, deployment: Deployment, draft: _Draft) -> None:
        """Take over what came with the deployment and belongs to it."""
        for recipe in draft.recipes:
            if (recipe.name, recipe.version) not in draft.brought:
                continue
            if self._packages.holds(recipe, deployment.artifacts):
                continue
            known = self._packages.knows(recipe.name, recipe.version)
            if known and self._history.uses(recipe.name, str(recipe.version)):
                raise DeploymentRefused(
                    f"{recipe.name} {recipe.version} is in use with other content, and versions do not change; "
                    "raise ComponentVersion and build again"
                )
            self._packages.add(recipe, deployment.artifacts)

    def _ask(self, deployment: Deployment, number: str, draft: _Draft) -> None:
        """Let running components judge their new configuration, and put the deployment off."""
        for name, values in draft.values.items():
            if self._configuration.has(name) and values != self._configuration.read(name):
                self._validation.ask(name, number, values, VALIDATION_PATIENCE_SECONDS)
        if deployment.notify_seconds > 0:
            self._updates.announce(number, deployment.notify_seconds)

    # ------------------------------------------------------------------ changing

    def _switch(self, deployment: Deployment, number: str, draft: _Draft) -> DeploymentResult:
        before, roots, recipes = self._history.present, draft.roots, draft.recipes
        reconfigured = _configure(self._configuration, deployment, recipes)
        try:
            touched = self._components.apply(recipes, reconfigured)
            self._forget_removed(recipes)
            stuck = self._never_starting(recipes)
            if stuck:
                raise NotSettled(stuck)
            self._components.settle(touched, start_period=self._patience.start_period, timeout=self._patience.settle)
        except (NotSettled, RecipeError) as error:
            return self._failed(deployment, number, roots, before, str(error))
        status = DeploymentStatus.SUCCESSFUL
        self._history.remember(self._snapshot(roots), deployment=number, status=status.value)
        return self._result(number, status)

    def _failed(
        self, deployment: Deployment, number: str, roots: Mapping[str, str], before: Snapshot, reason: str
    ) -> DeploymentResult:
        logger.warning("deployment %s failed: %s", number, reason)
        if not self._profile.rolls_back or deployment.on_failure is FailurePolicy.DO_NOTHING:
            status = DeploymentStatus.FAILED_ROLLBACK_NOT_REQUESTED
            self._history.remember(self._snapshot(roots), deployment=number, status=status.value, reason=reason)
            return self._result(number, status, reason)
        try:
            self._restore(before)
        except (NotSettled, DeploymentRefused) as error:
            status = DeploymentStatus.FAILED_UNABLE_TO_ROLLBACK
            return self._result(number, status, f"{reason}; and what ran before does not run either: {error}")
        return self._result(number, DeploymentStatus.FAILED_ROLLBACK_COMPLETE, reason)

    def _restore(self, snapshot: Snapshot) -> None:
        recipes = self._stored(snapshot.components)
        present = self._configuration.export()
        self._configuration.load(snapshot.configuration)
        changed = {name for name in present if present[name] != snapshot.configuration.get(name)}
        touched = self._components.apply(recipes, changed)
        self._components.settle(touched, start_period=self._patience.start_period, timeout=self._patience.settle)

    def _stored(self, components: Mapping[str, str]) -> Sequence[Recipe]:
        """Recipes of component versions in the store, in the order in which they start."""
        wanted = {(name, Version.parse(version)) for name, version in components.items()}
        try:
            found = [one for one in self._packages.recipes() if (one.name, one.version) in wanted]
            if len(found) < len(wanted):
                missing = wanted - {(one.name, one.version) for one in found}
                raise DeploymentRefused(f"not in the store any more: {sorted(map(str, missing))}; deploy them again")
            exact = {name: Requirement.parse(version) for name, version in components.items()}
            return resolve(exact, found, self._profile.builtin)
        except ResolutionError as error:
            raise DeploymentRefused(f"what is in the store cannot be run: {error}") from error

    def _forget_removed(self, recipes: Iterable[Recipe]) -> None:
        kept = {recipe.name for recipe in recipes}
        for name in self._history.present.components.keys() - kept:
            self._configuration.remove(name)

    def _never_starting(self, recipes: Iterable[Recipe]) -> str:
        """Why nucleus lite will never start one of the components; empty when it will."""
        if "FINISHED" in self._profile.ready_states:
            return ""
        idle = {recipe.name for recipe in recipes if recipe.only_installs}
        for recipe in recipes:
            for name, dependency in recipe.dependencies.items():
                if dependency.hard and name in idle:
                    return (
                        f"{recipe.name} never starts: it has a HARD dependency on {name}, which only installs, and "
                        "nucleus lite waits for it to run (and takes no further deployment); make the dependency SOFT"
                    )
        return ""

    def _snapshot(self, roots: Mapping[str, str]) -> Snapshot:
        components = {recipe.name: str(recipe.version) for recipe in self._components.recipes}
        return Snapshot(dict(roots), components, self._configuration.export())

    def _result(self, number: str, status: DeploymentStatus, reason: str = "") -> DeploymentResult:
        versions = {recipe.name: str(recipe.version) for recipe in self._components.recipes}
        return DeploymentResult(number, status, reason, versions)


def _configure(store: ConfigurationStore, deployment: Deployment, recipes: Iterable[Recipe]) -> set[str]:
    """Bring the deployed components' values up to date.

    Returns:
        Names of the components with a changed value.
    """
    changed: set[str] = set()
    for recipe in recipes:
        wanted = deployment.configuration.get(recipe.name)
        reset, merge = (wanted.reset, wanted.merge) if wanted is not None else ((), {})
        if store.update(recipe.name, defaults=recipe.defaults, reset=reset, merge=merge):
            changed.add(recipe.name)
    return changed
