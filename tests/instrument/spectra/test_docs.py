"""The page on spectra does what it says."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "spectra.md"


def test_example_runs(capsys):
    """The page's example runs as it stands and prints the composition of SrTiO3."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    space: dict = {}
    exec(compile(block, str(PAGE), "exec"), space)
    assert space["counts"].shape == (8, 8, 512)
    found = {symbol: float(value) for symbol, value in re.findall(r"'(\w+)': (?:np\.float64\()?([\d.]+)", capsys.readouterr().out)}
    assert found == pytest.approx({"Sr": 0.2, "Ti": 0.2, "O": 0.6}, abs=0.02)
