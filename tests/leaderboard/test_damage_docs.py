"""The page on damage does what it says."""

import json
import re

from typer.testing import CliRunner

from stemtwin.leaderboard.cli.main import build
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "damage.md").read_text(encoding="utf-8")


def test_example_runs(capsys):
    """The page's example runs as it stands, and the beam does something to the hole's edge."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    space: dict = {}
    exec(compile(block, "damage.md", "exec"), space)
    assert "eject-edge" in capsys.readouterr().out
    assert space["frame"].maadf.shape == (48, 48)


def test_table_is_that_of_the_command():
    """Every site, threshold, mark and source on the page is what ``stemtwin damage`` says, in its order."""
    said = json.loads(CliRunner().invoke(build("damage"), ["damage", "--json"], catch_exceptions=False).stdout)
    rows = [
        f"| {one['element']} | {one['site']} | {one['displacement_ev']:.2f} | {one['threshold_energy_ev'] / 1e3:.1f} "
        f"| [{one['mark']}] {one['source']} |"
        for one in said
    ]
    assert PAGE.strip().endswith("\n".join(rows))
