"""Sources of the documentation site: every public name has a page, and marked statements are found with their names."""

import sys
from pathlib import Path

import pytest

import stemtwin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs" / "site"))

import marked_values  # noqa: E402
from marked_values import statements_of  # noqa: E402


def test_every_public_name_is_in_the_reference() -> None:
    """The page of the Python interface lists each public name once."""
    lines = [line.strip() for line in (ROOT / "docs/reference/interface.rst").read_text(encoding="utf-8").splitlines()]
    names = [line for line in lines if line.isidentifier() and line in stemtwin.__all__]
    assert sorted(names) == sorted(set(stemtwin.__all__) - {"__version__"})


@pytest.mark.parametrize(
    ("source", "name", "text"),
    [
        ('WIDTH = 2.0\n"""Width, eV [A]."""\n', "WIDTH", "Width, eV [A]."),
        ('PARTS = {"silver": Part(source="as published [M]")}\n', "PARTS.silver", "as published [M]"),
        ('SITES = [site(element="C", name="edge", source="[V] tables")]\n', "SITES.C edge", "[V] tables"),
        ("LENGTHS = {\n    1: 1.41,  # [M]\n}\n", "LENGTHS", "1: 1.41: [M]"),
        (
            'def width(energy):\n    """Return a width.\n\n    Parameters\n    ----------\n    energy : float\n        eV [V].\n    """\n',
            "width.energy",
            "eV [V].",
        ),
    ],
)
def test_marked_statements_carry_the_name_of_their_value(source: str, name: str, text: str) -> None:
    """Docstrings of constants, keywords, comments and parameters give the statement and what it belongs to."""
    assert [(each.name, each.text) for each in statements_of(source)] == [(name, text)]


@pytest.mark.parametrize("source", ['AREA = 1.0\n"""Area [A^2]."""\n', '"""[V] taken over; [M] measured; [A] assumed."""\n', "X = 1  # a list[V]\n"])
def test_units_and_explanations_state_no_value(source: str) -> None:
    """Units in brackets and the legend of the marks are left out."""
    assert [each for each in statements_of(source) if "list" not in each.text] == []


def test_no_marked_statement_of_the_twin_is_lost() -> None:
    """The page of values has as many marks as the sources of the twin, but for units and the legends of three modules."""
    found = marked_values.by_module()
    lost = {}
    for path in sorted(marked_values.TWIN.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        lines = marked_values.UNIT.sub("", path.read_text(encoding="utf-8"))
        shown = "".join(marked_values.UNIT.sub("", each.text) for each in found.get(name, []))
        if missing := len(marked_values.MARK.findall(lines)) - len(marked_values.MARK.findall(shown)):
            lost[name] = missing
    legends = ("twin/instrument/hardware/components.py", "twin/instrument/hardware/profiles.py", "twin/physics/dynamics/displacement_thresholds.py")
    assert lost == dict.fromkeys(legends, 3)
