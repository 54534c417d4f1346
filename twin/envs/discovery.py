"""Discovery of families of environments: the decorator that registers a family, and ids read from source without imports."""

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stemtwin.twin.errors import SettingsError

NAMESPACE = "stemtwin"
MAKE, MAKE_VECTOR = "stemtwin.twin.envs.making:make", "stemtwin.twin.envs.vector:make_vector"
FOLDER = Path(__file__).parent / "families"
DECORATOR = re.compile(r"^@environment\((.*?)\)[ ]*(?:#.*)?\n", re.MULTILINE | re.DOTALL)
Family = TypeVar("Family", bound=type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Registration of an environment with Gymnasium.

    Parameters
    ----------
    name : str
        Name in CamelCase.
    version : int
        Version, from 1.
    max_episode_steps : int, optional
        Largest number of steps in an episode of any preset.
    reward_threshold : float, optional
        Mean return from which the environment with default arguments counts as solved.
    batched : bool
        Whether the environments of a vector are computed together.
    module : str
        Module of the family.
    """

    name: str
    version: int
    max_episode_steps: int | None = None
    reward_threshold: float | None = None
    batched: bool = False
    module: str = ""

    @property
    def id(self) -> str:
        """Id in the registry of Gymnasium, such as ``stemtwin/Autofocus-v2``."""
        return f"{NAMESPACE}/{self.name}-v{self.version}"


FAMILIES: dict[str, tuple[Registration, type]] = {}
"""Imported families by id, added by :func:`environment`."""


def environment(
    name: str, *, version: int, max_episode_steps: int | None = None, reward_threshold: float | None = None, batched: bool = False
) -> Callable[[Family], Family]:
    """Return a decorator that registers a family with Gymnasium; see :class:`Registration`.

    The families of stemtwin are found by reading this call from the source, so its arguments must be literals and its
    closing parenthesis must end the line. Families in other packages are registered when their modules are imported.

    Raises
    ------
    SettingsError
        Another family has this id.
    """

    def register_family(family: Family) -> Family:
        """Register a family and return it."""
        found = Registration(
            name=name,
            version=version,
            max_episode_steps=max_episode_steps,
            reward_threshold=reward_threshold,
            batched=batched,
            module=family.__module__,
        )
        if found.id in FAMILIES and FAMILIES[found.id][0].module != found.module:
            message = f"The environment {found.id} already exists in {FAMILIES[found.id][0].module}. Choose another name or version."
            raise SettingsError(message)
        FAMILIES[found.id] = (found, family)
        register(found)
        return family

    return register_family


def register(found: Registration) -> None:
    """Register an environment with Gymnasium unless its id is already registered; the module of the family is not imported."""
    import gymnasium

    if found.id in gymnasium.registry:
        return
    gymnasium.register(
        id=found.id,
        entry_point=MAKE,
        vector_entry_point=MAKE_VECTOR if found.batched else None,
        max_episode_steps=found.max_episode_steps,
        reward_threshold=found.reward_threshold,
        kwargs={"environment": found.id},
    )


def registrations() -> dict[str, Registration]:
    """Return the environments of stemtwin by id; their modules are read but not imported."""
    found = [item for path in sorted(FOLDER.glob("[!_]*.py")) for item in _read(path)]
    return {item.id: item for item in sorted(found, key=lambda item: (item.name, item.version))}


def descriptions() -> dict[str, str]:
    """Return the first line of the description of every environment by id; modules of stemtwin are not imported."""
    found = {name: _first_line(inspect.getdoc(family)) for name, (_, family) in FAMILIES.items()}
    for path in FOLDER.glob("[!_]*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            calls = [part for part in getattr(node, "decorator_list", ()) if isinstance(part, ast.Call) and ast.unparse(part.func) == "environment"]
            if isinstance(node, ast.ClassDef) and calls:
                found[_registration(calls[0], path).id] = _first_line(ast.get_docstring(node))
    return found


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0].replace("``", "")


def _read(path: Path) -> list[Registration]:
    """Return the registrations of one module."""
    calls = [ast.parse(f"f({text})", mode="eval").body for text in DECORATOR.findall(path.read_text(encoding="utf-8"))]
    return [_registration(call, path) for call in calls if isinstance(call, ast.Call)]


def _registration(call: ast.Call, path: Path) -> Registration:
    """Return the registration of a decorator's call in a module of stemtwin."""
    module = f"{__name__.rpartition('.')[0]}.families.{path.stem}"
    try:
        options: dict[str, Any] = {part.arg or "": ast.literal_eval(part.value) for part in call.keywords}
        return Registration(name=ast.literal_eval(call.args[0]), module=module, **options)
    except ValueError:
        message = f"{path.name}: @environment({ast.unparse(call)[2:-1]}) is read without importing the module. Write its arguments as literals."
        raise SettingsError(message) from None
