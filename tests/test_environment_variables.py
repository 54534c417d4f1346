"""Environment variables: the table of the documentation names exactly those that the source reads."""

import re

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "environment-variables.md"
SOURCES = ("stemtwin", "twin", "datasets", "benchmarks", "leaderboard")
VARIABLE = re.compile(r"STEMTWIN_[A-Z_]*[A-Z]")


def rows() -> list[list[str]]:
    """Return the rows of the page's table."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_variable_of_the_source_is_in_the_table() -> None:
    """A variable that the source names has one row, a row names a variable of the source, and rows are in order."""
    files = [path for part in SOURCES for path in (ROOT / part).rglob("*.py")]
    named = {name for path in files for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    assert len(named) >= 7
    assert [row[0].strip("`") for row in rows()] == sorted(named)


def test_every_row_names_the_file_that_reads_it() -> None:
    """The first file of the last column holds the variable, in quotes."""
    for variable, *_, files in rows():
        path = ROOT / files.split("`")[1]
        assert f'"{variable.strip("`")}"' in path.read_text(encoding="utf-8")


def test_the_readme_leads_to_the_table() -> None:
    """The README links the page."""
    assert "(docs/environment-variables.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
