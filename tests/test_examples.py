"""Examples in the docstrings of the public names: each function and class has one, and each gives what it says."""

import doctest
from pathlib import Path

import pytest

import stemtwin

DATA = ("load_arrays", "load_dataset", "torch_dataset")


def failures(name: str) -> list[str]:
    """Run the examples of a public name in a namespace of their own, and return reports of those that give something else."""
    told: list[str] = []
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(stemtwin, name), name, globs={})
    assert test.examples, f"{name} has no example"
    doctest.DocTestRunner().run(test, out=told.append)
    return told


def public_names() -> list[str]:
    """Return the public functions and classes without the errors and warnings."""
    found = {name: getattr(stemtwin, name) for name in stemtwin.__all__}
    return [name for name, value in found.items() if callable(value) and not (isinstance(value, type) and issubclass(value, Exception))]


@pytest.mark.filterwarnings("ignore:.*gives no thermal displacements")
@pytest.mark.parametrize("name", [name for name in public_names() if name not in DATA])
def test_examples_give_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of a public name runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert failures(name) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_examples_with_data_give_what_they_say(name: str, tiny_atoms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of a function that loads data runs where the data are built."""
    if name == "torch_dataset":
        pytest.importorskip("torch")
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tiny_atoms))
    assert failures(name) == []
