"""Construction of environments: a family from an id and arguments, a Gymnasium environment from a family."""

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from stemtwin.twin.envs.arguments import wrong_setting
from stemtwin.twin.envs.discovery import FAMILIES, registrations
from stemtwin.twin.envs.functional_env import FunctionalEnv, StemEnv
from stemtwin.twin.envs.preparation import PreparationLine
from stemtwin.twin.errors import SettingsError, UnknownNameError, suggestion


@functools.lru_cache(maxsize=1)
def _registrations() -> dict[str, str]:
    return {name: found.module for name, found in registrations().items()}


def family_class(environment: str) -> type:
    """Return the class of a family by the id of its environment.

    Raises
    ------
    UnknownNameError
        The environment is unknown.
    """
    if environment not in FAMILIES:
        known = _registrations()
        if environment not in known:
            message = f"There is no environment {environment!r}. {suggestion(environment, known)}"
            raise UnknownNameError(message)
        importlib.import_module(known[environment])
    return FAMILIES[environment][1]


def make_family(environment: str, **settings: Any) -> FunctionalEnv[Any]:
    """Return a family with the given arguments and settings, and perform its time-consuming preparations.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """
    family = family_class(environment)
    try:
        task = family(**settings)
    except TypeError as error:
        raise wrong_setting(environment, family, settings) or error from None
    prepare = getattr(task, "prepare", None)
    if prepare is not None:
        prepare(PreparationLine(environment))
    return task


def make(*, environment: str, render_mode: str | None = None, **settings: Any) -> StemEnv:
    """Return an environment; ``gymnasium.make`` calls this function with the id.

    Parameters
    ----------
    environment : str
        Id of the environment.
    render_mode : str, optional
        ``"rgb_array"``, or None.
    settings
        Arguments of ``EnvArguments`` and settings of the family.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """
    check_render_mode(environment, render_mode, "'human'", "'rgb_array_list'")
    check_split(environment, settings)
    return StemEnv(make_family(environment, **settings), render_mode=render_mode)


def check_render_mode(environment: str, render_mode: str | None, *wrapped: str) -> None:
    """Raise an error for an unknown render mode; the message lists the known modes and those of Gymnasium's wrappers.

    Raises
    ------
    SettingsError
        The mode is unknown.
    """
    modes = StemEnv.metadata["render_modes"]
    if render_mode is not None and render_mode not in modes:
        message = f"render_mode={render_mode!r} of {environment} is unknown. Use {', '.join((*map(repr, modes), *wrapped))} or None."
        raise SettingsError(message)


def check_split(environment: str, settings: Mapping[str, Any]) -> None:
    """Raise an error for the split of the test episodes, which only the benchmark runner plays.

    Raises
    ------
    SettingsError
        ``split`` is ``"test"``.
    """
    if settings.get("split") == "test":
        message = f"split='test' of {environment} is played only by the benchmark runner. Use 'train' or 'val', or run the task."
        raise SettingsError(message)


make.metadata = StemEnv.metadata  # type: ignore[attr-defined] - Gymnasium reads render modes here
