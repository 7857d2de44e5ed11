"""Lifecycle steps made ready to run: variables replaced, environment and time limits settled."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.recipes.interpolation import (
    Variables,
    escape_for_script,
    escape_in_single_quotes,
    interpolate,
    replace,
    replace_or_cut,
)
from sam3edge_simulator.recipes.recipe import STEP_NAMES, Recipe, RecipeError

DEFAULT_TIMEOUTS: Mapping[str, float | None] = {
    "bootstrap": 120.0,
    "install": 120.0,
    "run": None,
    "startup": 120.0,
    "shutdown": 15.0,
    "recover": 60.0,
}
"""Seconds a step may take when its recipe sets no ``Timeout``; None means for ever."""

_CONDITION = re.compile(r"\s*(!?)\s*(onpath|exists)\s+(.+?)\s*")


@dataclass(frozen=True, slots=True)
class Step:
    """One step, ready for the shell.

    Attributes:
        script: what ``/bin/sh`` runs.
        environment: the recipe's ``Setenv``.
        timeout: seconds it may take; None for ever.
        skip: whether it is passed over.
        cut: whether nucleus lite ended the script early at an unknown ``{``.
    """

    script: str
    environment: Mapping[str, str]
    timeout: float | None
    skip: bool
    cut: bool


def prepare_steps(recipe: Recipe, variables: Variables, profile: Profile) -> Mapping[str, Step]:
    """The steps of a component that a nucleus would run, by name.

    Raises:
        RecipeError: a step is not what the recipe reference allows.
    """
    return {
        name: _prepare(recipe, name, variables, profile)
        for name in STEP_NAMES
        if name in recipe.lifecycle and name not in profile.ignored_steps
    }


def _prepare(recipe: Recipe, name: str, variables: Variables, profile: Profile) -> Step:
    written = recipe.lifecycle[name]
    step = written if isinstance(written, Mapping) else {"Script": written}
    script = step.get("Script")
    if not isinstance(script, str):
        raise RecipeError(f"{recipe.name}: expected a text as Script of {name}, got {script!r}")
    timeout = _timeout(recipe, name, step, variables, profile)
    if profile.cuts_scripts:
        text, whole = _lite_script(script, _setenv(recipe, recipe.lifecycle), _setenv(recipe, step), variables)
        return Step(text, {}, None if name == "run" else timeout, skip=False, cut=not whole)
    setenv = {**_setenv(recipe, recipe.lifecycle), **_setenv(recipe, step)}
    return Step(
        script=replace(script, variables),
        environment={key: replace(str(value), variables) for key, value in setenv.items()},
        timeout=timeout,
        skip=profile.skips and _skips(recipe, str(step.get("Skipif") or ""), variables, profile),
        cut=False,
    )


def _setenv(recipe: Recipe, holder: Mapping[str, Any]) -> Mapping[str, Any]:
    setenv = holder.get("Setenv") or {}
    if not isinstance(setenv, Mapping):
        raise RecipeError(f"{recipe.name}: expected a mapping as Setenv, got {setenv!r}")
    return setenv


def _timeout(
    recipe: Recipe, name: str, step: Mapping[str, Any], variables: Variables, profile: Profile
) -> float | None:
    if "Timeout" not in step:
        return DEFAULT_TIMEOUTS[name]
    text = interpolate(str(step["Timeout"]), variables, profile)
    try:
        return float(text)
    except ValueError as error:
        raise RecipeError(f"{recipe.name}: expected seconds as Timeout of {name}, got {text!r}") from error


def _lite_script(
    script: str, common: Mapping[str, Any], own: Mapping[str, Any], variables: Variables
) -> tuple[str, bool]:
    """The text that nucleus lite hands to the shell, and whether it is whole.

    ``Setenv`` becomes ``export`` lines before the script, and is cut like the script itself.
    """
    text = ""
    for key, value in [*common.items(), *own.items()]:
        if not isinstance(value, str):
            return text, False
        replaced, whole = replace_or_cut(escape_in_single_quotes(value), variables, escape_in_single_quotes)
        text += f"export {key}='{replaced}"
        if not whole:
            return text, False
        text += "'\n"
    replaced, whole = replace_or_cut(script, variables, escape_for_script)
    return text + replaced, whole


def _skips(recipe: Recipe, condition: str, variables: Variables, profile: Profile) -> bool:
    if not condition:
        return False
    match = _CONDITION.fullmatch(interpolate(condition, variables, profile))
    if match is None:
        raise RecipeError(f"{recipe.name}: expected Skipif 'onpath NAME' or 'exists PATH', got {condition!r}")
    negated, operator, operand = match.groups()
    found = shutil.which(operand) is not None if operator == "onpath" else Path(operand).expanduser().exists()
    return found != bool(negated)
