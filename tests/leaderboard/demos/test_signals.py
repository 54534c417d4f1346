"""``stemtwin demo --signals``: what the files and the counts in them say is what was put in.

Other people's programs find the same: ``make foreign``, by the scripts in ``tests/foreign``.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stemtwin.datasets.formats.file_formats import FORMATS
from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.demos import signals
from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.simulation import pattern_analysis
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.instrument.spectra import fit_lines

pytestmark = pytest.mark.slow  # half a minute of set-up for everything that the script takes
THIN = 11.715
CELL = 3.905


@pytest.fixture(scope="module")
def scope():
    """Return the script's microscope with a thinner specimen, at rest."""
    return signals.microscope(thickness_angstrom=THIN, phonons="static")


@pytest.fixture(scope="module")
def taken(scope):
    """Return what the script takes."""
    start = scope.snapshot()
    out = signals.take(scope, lambda _: None)
    scope.restore(start)
    return out


@pytest.fixture(scope="module")
def files(taken, tmp_path_factory):
    """Return the folder with all files of the script."""
    folder = tmp_path_factory.mktemp("signals")
    made, left_out = signals.save(taken, folder, lambda _: None)
    assert sorted(made) == sorted(folder.iterdir())
    for suffix in (FORMATS[name].suffixes[0] for name in FORMATS):
        assert (suffix in {path.suffix for path in made}) != any(f"{suffix}:" in reason for reason in left_out), suffix  # there, or why not
    return folder


@pytest.fixture(scope="module")
def found(taken, files):
    """Return what the counts say."""
    out = signals.find(taken, files)
    signals.draw(taken, out, files / "signals.png")
    return out


def test_one_beam_one_pass(taken):
    """All signals on the zone axis come from one pass over one scan: the same electrons, the same clock."""
    data = taken.on_axis
    assert set(data.data_vars) == {"haadf", "eels", "edx", "pixelated"}
    assert data.attrs["duration_s"] == pytest.approx(900 * 0.1, rel=1e-3)  # and its flyback
    losses = data.eels.sum("energy_loss_ev").mean() / data.attrs["electrons_per_point"]
    patterns_sum = data.pixelated.sum(("ky", "kx")).mean() / data.attrs["electrons_per_point"]
    assert 0.9 < float(losses) <= float(patterns_sum) + 1e-3


def check(found, taken, thickness):
    """Assert that what was found is what was put in."""
    assert found.thickness_angstrom == pytest.approx(thickness, rel=0.01)
    blur = math.hypot(0.7, 1.5 * 0.5)  # width of the source and of the camera's point spread, eV
    for name, at in found.onsets_ev.items():
        assert abs(at - signals.near(name)) < 0.5 + blur / 2
    for vector, right in zip(found.lattice_angstrom, ((CELL, 0.0), (0.0, CELL)), strict=True):
        assert min(math.dist(vector, right), math.dist(vector, (-right[0], -right[1]))) < 0.01 * CELL
    lines = fit_lines(taken.off_axis.edx.sum(("y", "x")).to_numpy(), ("Sr", "Ti", "O"), taken.beam, taken.xrays)
    error = math.sqrt(sum(1 / lines[name] for name in signals.LINES))
    for symbol, right in (("Sr", 0.2), ("Ti", 0.2), ("O", 0.6)):
        assert abs(found.composition[symbol] - right) < right * (3 * error + 0.03)  # counting, and what channelling is left


def test_what_was_put_in_is_found(taken, files, found):
    """Thickness within 1 %, edges within 0.5 eV and the resolution, lattice within 1 %, composition within its error."""
    check(found, taken, THIN)
    assert (files / "signals.png").stat().st_size > 1e4
    assert json.loads((files / "found.json").read_text())["onsets_ev"]["O_K"] == found.onsets_ev["O_K"]
    assert len(signals.told(found)) == 4


@pytest.mark.slow
def test_the_whole_script(tmp_path, capsys):
    """The command makes files of every format that can be written here, in two minutes on two idle cores, and says what was put in."""
    assert main(["demo", "--signals", "--output", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {Path(name).suffix for name in said["made"]} >= {".nc", ".parquet", ".png", ".json"}
    assert said["found"]["thickness_angstrom"] == pytest.approx(signals.THICKNESS_ANGSTROM, rel=0.01)
    assert said["found"]["composition"] == pytest.approx({"Sr": 0.2, "Ti": 0.2, "O": 0.6}, rel=0.06)
    assert said["found"]["on_axis_composition"]["Ti"] > 0.25  # columns guide the beam


def test_the_centre_of_mass(taken, scope):
    """The centre of mass of the counted patterns is that of the expected ones, and points at the columns."""
    data = taken.on_axis
    camera = PixelatedDetector(shape=(64, 64), outer_mrad=60.0)
    scan = RasterScan(shape=(signals.POINTS,) * 2, field_of_view_angstrom=(signals.FIELD_ANGSTROM,) * 2)
    request = Request(sample=scope.truth()["sample"], beam=scope.truth()["beam"], scan=scan, detectors=(camera,), phonons="static")
    expected, counted = pattern_analysis.centre_of_mass(simulate(request).pixelated), pattern_analysis.centre_of_mass(data.pixelated)
    sigma = 20.0 / math.sqrt(data.attrs["electrons_per_point"])  # the patterns are some 20 mrad wide
    for name in ("com_y", "com_x"):
        assert float(abs(counted[name] - expected[name]).max()) < 6 * sigma
        assert float(expected[name].std()) > 20 * sigma
    right, left = (int(np.argmin(abs(data.x.to_numpy() - x))) for x in (CELL + 0.8, CELL - 0.8))  # beside a strontium column
    row = int(np.argmin(abs(data.y.to_numpy() - CELL)))
    assert float(counted.com_x[row, left]) > 10 * sigma > -10 * sigma > float(counted.com_x[row, right])


@pytest.mark.parametrize(("shape", "turn"), [((24, 26), 0.2), ((29, 23), 0.0)])
def test_the_lattice_of_any_field(shape, turn):
    """The lattice of a periodic image is found whether or not the field holds whole periods, and turned as the lattice is."""
    y, x = np.meshgrid(0.39 * np.arange(shape[0]), 0.37 * np.arange(shape[1]), indexing="ij")
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    wave = 2 * np.pi / np.array([4.1, 3.7])
    image = 5 + np.cos(wave[0] * u) + 1.3 * np.cos(wave[1] * v) + 0.8 * np.cos(wave[0] * u + wave[1] * v)
    found = signals.lattice(xr.DataArray(image, dims=("y", "x"), coords={"y": y[:, 0], "x": x[0]}), orders=2)
    for vector, length, angle in zip(found, (4.1, 3.7), (turn, turn + math.pi / 2), strict=True):
        sign = 1 if vector[0] * math.cos(angle) + vector[1] * math.sin(angle) > 0 else -1
        assert math.dist((sign * vector[0], sign * vector[1]), (length * math.cos(angle), length * math.sin(angle))) < 0.01


def test_columns_that_look_nearly_alike():
    """Two kinds of columns whose brightness differs by 10 % make the cell of both, not the half of it."""
    y, x = np.meshgrid(0.39 * np.arange(30), 0.39 * np.arange(30), indexing="ij")
    k = 2 * np.pi / 3.9
    image = 5 + np.cos(k * (x + y)) + np.cos(k * (x - y)) + 0.05 * (np.cos(k * x) + np.cos(k * y))
    found = signals.lattice(xr.DataArray(image, dims=("y", "x"), coords={"y": y[:, 0], "x": x[0]}), orders=2)
    assert found[0] == pytest.approx((3.9, 0.0), abs=0.01)
    assert tuple(map(abs, found[1])) == pytest.approx((0.0, 3.9), abs=0.01)


def test_an_onset_is_half_of_the_rise():
    """A step blurred by the resolution, on a falling background, begins where it was put, within a tenth of a channel and noise."""
    energies = np.arange(400.0, 700.0, 0.5)
    step = 0.5 * (1 + np.tanh((energies - 532.3) / 0.6))
    counts = np.random.default_rng(1).poisson(1e9 * energies**-1.5 * (1 + 0.4 * step)).astype(float)
    assert signals.onset(energies, counts, 532.0) == pytest.approx(532.3, abs=0.15)


def test_the_files_hold_what_was_taken(taken, files):
    """A netCDF file comes back identical."""
    xr.testing.assert_identical(xr.load_dataset(files / "signals.nc"), taken.on_axis)


def test_refusals(tmp_path, capsys):
    """Two demonstrations at once, or another structure, are refused in one sentence."""
    assert main(["demo", "--signals", "--film", "--output", str(tmp_path)]) == 1
    assert main(["demo", "--signals", "--structure", "mos2-1h", "--output", str(tmp_path)]) == 1
    assert "srtio3-001" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
