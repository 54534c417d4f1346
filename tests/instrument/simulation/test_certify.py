"""Two solvers on one request: what the certificate says is what there is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from stemtwin.leaderboard.cli.main import build
from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import certify, simulate
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

OFF = 1.01
"""Signal of the stand-in for the other solver over that of ours."""


@pytest.fixture
def asked(make_perovskite: Callable[..., Sample]) -> Request:
    """Return a small request: two points, two configurations, two detectors."""
    points = PathScan(positions_angstrom=np.array([[0.1, 0.2], [2.0, 1.5]]))
    ring = AnnularDetector(inner_mrad=30, outer_mrad=65, name="ring")
    beam = Beam(energy_ev=200e3, semiangle_mrad=20)
    return Request(sample=make_perovskite(4, 2), beam=beam, scan=points, detectors=("bf", ring), phonons=2, sampling_angstrom=0.12)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Let our own solver, one percent too high, stand in for abTEM; return what it was asked."""
    seen: list[Request] = []

    def stand_in(request: Request) -> np.ndarray:
        seen.append(request)
        make_plan(replace(request, engine="abtem"))
        return OFF * simulate.expected(replace(request, engine="multislice"), make_plan(request))[0]

    monkeypatch.setattr(certify, "_abtem", stand_in)
    return seen


def test_what_is_certified_is_what_there_is(asked: Request, other: list[Request]) -> None:
    """Another solver that is one percent too high is reported as 1 % for both detectors, on the request's grid, with pixel masks on both sides.

    A coarse grid shows in the finer one; where thinner slices are the same planes, thicker ones are compared, and a note says so.
    """
    found = certify.certify(asked)
    assert found.points == 2
    assert found.grid == make_plan(asked).grid.shape
    assert found.slices == 4
    for line in found.lines[:4]:
        assert line.other / line.ours == pytest.approx(OFF, rel=1e-5)
        assert 0.01 <= line.rms * (1 + 1e-5) <= line.largest * (1 + 1e-4)
    assert [line.detector for line in found.lines] == ["bf", "ring"] * 4
    assert all(not r.antialias and r.oversampling == 1 and r.configurations == 1 for r in other)
    assert set(found.standard_error) == {"bf", "ring"}
    assert all(0 < error < 0.5 for error in found.standard_error.values())
    finer, cut = found.lines[4:6], found.lines[6:]
    assert all("1.5 times finer" in line.what and 1e-6 < line.rms < 0.2 for line in finer)
    assert all("twice as thick" in line.what and 1e-6 < line.rms < 0.2 for line in cut)
    assert any("atomic planes" in note for note in found.notes)


def test_slices_that_can_be_thinner_are_compared_with_those(asked: Request, other: list[Request]) -> None:
    """A cut into whole cells converges to planes, and that shows; a single configuration has no standard error."""
    thick = certify.certify(replace(asked, slice_thickness_angstrom=3.905, phonons=1))
    assert all("half as thick" in line.what and line.rms > 1e-6 for line in thick.lines[6:])
    assert thick.standard_error == {}


def test_a_cut_that_changes_nothing_is_no_comparison(asked: Request, other: list[Request], make_perovskite: Callable[..., Sample]) -> None:
    """Two planes stay two planes in slices as thick as the sample: no line says 0 for it, and a note says why."""
    layer = make_perovskite(4, 1, sigma=None)
    upper = replace(layer, positions_angstrom=layer.positions_angstrom - [0, 0, layer.positions_angstrom[:, 2].min()])
    found = certify.certify(replace(asked, sample=upper, phonons="static"))
    assert not any("thick" in line.what for line in found.lines)
    assert any("slices of 3.9 A are identical" in note for note in found.notes), found.notes


def test_a_damped_lattice_is_certified_as_one(asked: Request, other: list[Request]) -> None:
    """Debye-Waller damping goes into the slices that both solvers get: damped signals, not those of a static lattice; abTEM alone has none."""
    damped, static = (certify.certify(replace(asked, phonons=motion)) for motion in ("damped", "static"))
    assert damped.lines[1].ours < 0.95 * static.lines[1].ours
    assert not any("its own potential" in line.what for line in damped.lines)
    assert any("its own potential" in line.what for line in static.lines)


def test_what_the_other_solver_cannot_hold_is_refused_before_any_work(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe wider than the cell and planes too near each other have no counterpart: one sentence with both numbers, before any wave."""
    monkeypatch.setattr(simulate, "expected", lambda *_: pytest.fail("computed"))
    wide = replace(asked, beam=replace(asked.beam, aberrations=Aberrations(C10=900)))
    with pytest.raises(
        SamplingError, match=r"needs a window of 46\.\d A, but engine='abtem' needs the whole probe inside the cell of 15\.6 x 15\.6 A"
    ):
        certify.certify(wide)
    at = asked.sample.positions_angstrom.copy()
    at[0, 2] += 0.04
    near = replace(asked, sample=replace(asked.sample, positions_angstrom=at), slice_thickness_angstrom=0.06)
    with pytest.raises(
        SettingsError, match=r"planes 0\.\d+ A apart: its slices are at least 0\.05 A thick\. Use a slice_thickness_angstrom above 0\.06"
    ):
        certify.certify(near)


def test_the_command_prints_all_of_it(asked: Request, other: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table names each comparison, errors of phonons and notes; --json holds the same numbers."""
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "request.toml"
    asked.save(file)
    table, data = (CliRunner().invoke(build("certify"), ["certify", str(file), *more], catch_exceptions=False).stdout for more in ((), ("--json",)))
    for part in ("abTEM, our slices", "abTEM, its own potential", "finer grid", "twice as thick", "standard error over the", "note:", "1.0e-02"):
        assert part in table
    first = json.loads(data)["lines"][0]
    assert first["other"] / first["ours"] == pytest.approx(OFF, rel=1e-5)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")  # abTEM and dask warn of their own future
def test_with_abtem_the_solvers_agree(asked: Request) -> None:
    """On our slices abTEM's multislice is ours to 1e-5 of the mean; with its own potential, atoms off the grid, within 20 %."""
    found = certify.certify(asked)
    assert max(line.rms for line in found.lines[:2]) < 1e-5
    assert 1e-4 < max(line.rms for line in found.lines[2:4]) < 0.2
