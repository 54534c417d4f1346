"""A tilted specimen: what is deep moves aside, whichever engine looks."""

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.samples.sample import Sample

DEPTH = 30.0
BEAM = Beam(energy_ev=100e3, semiangle_mrad=15)
DARK = AnnularDetector(inner_mrad=50, outer_mrad=90, name="haadf")


@pytest.fixture
def deep_atom() -> Sample:
    """One strontium atom 30 A deep."""
    return Sample(
        name="deep",
        numbers=[38],
        positions_angstrom=[[8.0, 8.0, DEPTH]],
        size_angstrom=(16.0, 16.0),
        thickness_angstrom=31.0,
        thermal_sigma_angstrom=None,
    )


def line(sample: Sample, axis: int, **settings) -> tuple[np.ndarray, np.ndarray]:
    """Positions along x (0) or y (1) through the atom, and the signal there."""
    at = np.full((61, 2), 8.0)
    at[:, axis] = np.linspace(6.5, 9.5, 61)
    data = simulate.simulate(sample, BEAM, PathScan(positions_angstrom=at), detectors=(DARK,), phonons="static", **settings)
    return at[:, axis], data["haadf"].to_numpy()


@pytest.mark.parametrize("engine", ["operator", "multislice", "prism", "local"])
def test_an_atom_at_depth_z_appears_at_x_plus_z_tan_tx(deep_atom, engine):
    """The dark-field image of an atom at depth z moves by z tan t along the axis of the tilt, and not along the other."""
    settings = {"engine": engine, "interpolation": 1}
    for axis, tilt in ((0, (0.0, 20.0)), (1, (20.0, 0.0))):
        x, tilted = line(deep_atom, axis, tilt_mrad=tilt, **settings)
        centre = (x * tilted**4).sum() / (tilted**4).sum()
        assert centre == pytest.approx(8.0 + DEPTH * np.tan(20e-3), abs=0.05)
        x, other = line(deep_atom, 1 - axis, tilt_mrad=(0.0, 0.0), **settings)
        assert (x * other**4).sum() / (other**4).sum() == pytest.approx(8.0, abs=0.02)


def test_operator_equals_multislice_when_tilted(deep_atom):
    """The operator of a tilted specimen is as exact as of an upright one, and is another one."""
    ours, exact = (line(deep_atom, 0, engine=engine, tilt_mrad=(5.0, -12.0))[1] for engine in ("operator", "multislice"))
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-9)
    assert not np.allclose(ours, line(deep_atom, 0, engine="operator")[1], rtol=1e-3)


def test_tilts_that_make_no_sense_are_refused(deep_atom):
    """Too large a tilt is one clear sentence."""
    scan = PathScan(positions_angstrom=[[0.0, 0.0]])
    with pytest.raises(SettingsError, match="exceeds 100 mrad"):
        Request(sample=deep_atom, beam=BEAM, scan=scan, tilt_mrad=(0, 200))


def test_requests_with_a_tilt_round_trip(deep_atom, tmp_path):
    """A tilt survives TOML."""
    asked = Request(sample=deep_atom, beam=BEAM, scan=PathScan(positions_angstrom=[[0.0, 0.0]]), tilt_mrad=(1.5, -2.0))
    asked.save(tmp_path / "a.toml")
    assert Request.load(tmp_path / "a.toml").tilt_mrad == (1.5, -2.0)
