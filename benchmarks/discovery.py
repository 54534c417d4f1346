"""Import of all modules of a package, so no list of modules is needed."""

import importlib
import pkgutil


def import_modules(package: str) -> tuple[str, ...]:
    """Import every module of a package in the order of their names and return these names."""
    folder = importlib.import_module(package)
    names = tuple(f"{package}.{found.name}" for found in pkgutil.iter_modules(folder.__path__))
    for name in names:
        importlib.import_module(name)
    return names
