"""Which version of which component belongs to a deployment, and in which order they start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sam3edge_simulator.recipes.recipe import Recipe
from sam3edge_simulator.recipes.semver import Requirement, Version


class ResolutionError(Exception):
    """No set of component versions satisfies everything that is asked for."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """One demand on a component, and who makes it."""

    requirement: Requirement
    asker: str


def resolve(
    roots: Mapping[str, Requirement], recipes: Iterable[Recipe], builtin: Mapping[str, str]
) -> tuple[Recipe, ...]:
    """Choose the highest versions that satisfy the roots and all dependencies, theirs included.

    Args:
        roots: what the deployments ask for.
        recipes: every component version at hand.
        builtin: components of the nucleus itself, with their versions.

    Returns:
        One recipe per component, dependencies before their dependents.

    Raises:
        ResolutionError: a component is missing, two demands exclude each other, or dependencies form a circle.
    """
    available: dict[str, list[Recipe]] = {}
    for recipe in sorted(recipes, key=lambda one: one.version, reverse=True):
        available.setdefault(recipe.name, []).append(recipe)
    chosen: dict[str, Recipe] = {}
    # Choosing a version may bring demands that change an earlier choice: repeat until nothing changes.
    for _ in range(2 * len(available) + 2):
        wishes = _wishes(roots, chosen.values())
        updated = {name: _pick(name, asked, available, builtin) for name, asked in wishes.items()}
        found = {name: recipe for name, recipe in updated.items() if recipe is not None}
        if found == chosen:
            return _ordered(chosen)
        chosen = found
    raise ResolutionError(f"the demands on {sorted(chosen)} do not settle; pin their versions in the deployment")


def _wishes(roots: Mapping[str, Requirement], chosen: Iterable[Recipe]) -> Mapping[str, list[_Wish]]:
    wishes: dict[str, list[_Wish]] = {name: [_Wish(wanted, "the deployment")] for name, wanted in roots.items()}
    for recipe in chosen:
        for name, dependency in recipe.dependencies.items():
            asker = f"{recipe.name} {recipe.version}"
            wishes.setdefault(name, []).append(_Wish(dependency.requirement, asker))
    return wishes


def _pick(
    name: str, wishes: list[_Wish], available: Mapping[str, list[Recipe]], builtin: Mapping[str, str]
) -> Recipe | None:
    if name in builtin:
        version = Version.parse(builtin[name])
        if not all(wish.requirement.allows(version) for wish in wishes):
            raise ResolutionError(f"{name} is {version} on this nucleus, but {_say(wishes)}")
        return None
    for recipe in available.get(name, ()):
        if all(wish.requirement.allows(recipe.version) for wish in wishes):
            return recipe
    have = ", ".join(str(recipe.version) for recipe in available.get(name, ())) or "none"
    raise ResolutionError(
        f"no version of {name} satisfies everyone: {_say(wishes)}; versions at hand: {have}. "
        "Add a recipe or change a requirement"
    )


def _say(wishes: Iterable[_Wish]) -> str:
    return "; ".join(f"{wish.asker} asks for {wish.requirement.text or 'any version'}" for wish in wishes)


def _ordered(chosen: Mapping[str, Recipe]) -> tuple[Recipe, ...]:
    ordered: dict[str, Recipe] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ResolutionError(f"dependencies form a circle: {' -> '.join((*path, name))}")
        if name in ordered or name not in chosen:
            return
        for dependency in sorted(chosen[name].dependencies):
            visit(dependency, (*path, name))
        ordered[name] = chosen[name]

    for name in sorted(chosen):
        visit(name, ())
    return tuple(ordered.values())
