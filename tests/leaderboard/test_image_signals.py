"""``stemtwin image``: signals beside images, series, formats, what is said before and during the work, and the choice of the cell."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from stemtwin.datasets.formats import read_file
from stemtwin.leaderboard.cli import work_progress
from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.cli.number_lists import parse_numbers
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.samples.library import load_sample

SMALL = ["srtio3-001", "--size", "4", "--thickness", "4", "--phonons", "0"]
ZIRCONIA = """data_ZrO2
_cell_length_a 5.15
_cell_length_b 5.21
_cell_length_c 5.32
_cell_angle_alpha 90
_cell_angle_beta 99.23
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1 21/c 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_B_iso_or_equiv
Zr1 Zr 0.2754 0.0395 0.2083 0.4
O1 O 0.0700 0.3317 0.3447 0.5
O2 O 0.4496 0.7569 0.4792 0.5
"""


def made(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[dict[str, Any], str]:
    """Return what a call prints as JSON, and what it says on stderr."""
    assert main(["image", *SMALL, *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def preamble(said: str) -> dict[str, str]:
    """Return the lines before the work by their names; of several notes the last."""
    return {found[1]: found[2] for line in said.splitlines() if (found := re.match(r"([a-z ]+?) {2,}(\S.*)", line))}


@pytest.mark.slow
def test_a_pipe_hears_the_preamble_first_and_then_progress(tmp_path: Path) -> None:
    """What a person asks about stands on stderr in one column before a file is there, then progress; stdout has the names of files alone."""
    command = [sys.executable, "-c", "from stemtwin.leaderboard.cli.main import run; run()", "image", *SMALL, "--points", "8", "--output", "a.png"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        first = process.stderr.readline()
        early = list(tmp_path.iterdir())
        rest, out = process.stderr.read(), process.stdout.read()
    assert process.returncode == 0, rest
    assert early == []
    rows = preamble(first + rest)
    names = ["formula", "atoms", "density", "thermal motion", "thickness", "beam", "signal", "engine", "planned time", "planned memory", "exactness"]
    assert list(rows)[: len(names)] == names
    assert len({len(found[0]) for line in [first, *rest.splitlines()] if (found := re.match(r"[a-z ]+? {2,}(?=\S)", line))}) == 1
    assert re.fullmatch(r"about [\d.]+ s on two cores", rows["planned time"])
    assert re.fullmatch(r"[\d.]+ [MG]iB", rows["planned memory"])
    assert "multislice" in rows["exactness"]
    assert rest.splitlines()[-1].startswith("100%  done in ")
    assert out.split() == ["a.png", "a.nc"]


def test_progress_in_a_pipe_is_never_silent_for_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line comes where nothing moves for the longest silence, and for each tenth of the waves, with the time that is left."""
    monkeypatch.setattr(work_progress, "QUIET_S", 0.1)
    monkeypatch.setattr(work_progress, "LEAST_S", 0.0)
    monkeypatch.setattr(work_progress, "LOOK_S", 0.02)
    with work_progress.shown(100, 3.0) as advance:
        work_progress.time.sleep(0.25)
        advance(50)
        work_progress.time.sleep(0.1)
        advance(50)
        work_progress.time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("  0%  preparing the specimen") for line in lines)
    assert any(re.match(r" 50%  waves, [\d.]+ s of about 3.0 s, [\d.]+ s left", line) for line in lines)
    assert any(line.startswith("100%  adding up") for line in lines)
    assert lines[-1].startswith("100%  done in ")


def test_lengths_of_time_read_well() -> None:
    """Seconds, minutes and hours, to about two digits."""
    assert [work_progress.span(value) for value in (0.04, 4.23, 41.7, 200.0, 7500.0)] == ["0.0 s", "4.2 s", "42 s", "3 min 20 s", "2 h 5 min"]


def test_derived_signals_are_those_of_the_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names among the detectors give com, icom and idpc beside HAADF, with the bits of st.simulate."""
    found, _ = made(capsys, "--points", 8, "--detectors", "haadf,com,icom,idpc", "--output", tmp_path / "a.nc")
    assert [Path(name).name for name in found["files"]] == ["a.nc"]
    sample = load_sample("srtio3-001", size_angstrom=(4.0, 4.0), thickness_angstrom=4.0)
    scope = Microscope(sample, PROFILES["corrected-200kv"].still(), seed=0)
    scan = RasterScan(shape=(8, 8), field_of_view_angstrom=(4.0, 4.0))
    expected = simulate(sample, scope.truth()["beam"], scan, detectors=("haadf", "com", "icom", "idpc"), phonons="static")
    with xr.open_dataset(tmp_path / "a.nc") as data:
        assert set(data) == {"haadf", "com_y", "com_x", "icom", "idpc"}
        for name in data:
            np.testing.assert_array_equal(data[name], expected[name])


def test_series_are_one_cube(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Focus, tilt and depth make dimensions of one file; a frame is that of a single call."""
    series = ["--thickness", "8", "--defocus", "0:40:3", "--tilt-x", "0,5", "--depths", "4,8", "--points", 8, "--detectors", "haadf"]
    _, said = made(capsys, *series, "--output", tmp_path / "a.zarr")
    assert "defocus 0, 20, 40 A, tilt (y, x) (0, 0), (0, 5) mrad, depth 4, 8 A" in preamble(said)["signal"]
    data = read_file(tmp_path / "a.zarr")
    assert data["haadf"].dims == ("defocus", "tilt", "depth", "y", "x")
    np.testing.assert_array_equal(data["defocus"], (0, 20, 40))
    np.testing.assert_array_equal(data["tilt_x"], (0, 5))
    made(capsys, "--defocus", 20, "--thickness", 8, "--points", 8, "--detectors", "haadf", "--output", tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "b.nc") as single:
        np.testing.assert_allclose(data["haadf"].sel(defocus=20, depth=8).isel(tilt=0), single["haadf"], rtol=1e-4)


@pytest.mark.slow
def test_a_series_is_drawn_as_a_montage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The picture of four defoci is four frames wide; of one, one."""
    widths = []
    for name, defocus in (("a.png", "0:30:4"), ("b.png", "0")):
        made(capsys, "--defocus", defocus, "--points", 8, "--detectors", "haadf", "--output", tmp_path / name)
        widths.append(matplotlib.image.imread(tmp_path / name).shape[1])
    assert widths[0] == pytest.approx(4 * widths[1], rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "name", "dims"),
    [
        (["cbed"], "pixelated", ("ky", "kx")),
        (["pacbed", "--points", "3"], "pacbed", ("ky", "kx")),
        (["4d", "--points", "3"], "pixelated", ("y", "x", "ky", "kx")),
    ],
)
def test_patterns_hold_the_beam(arguments: list[str], name: str, dims: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each pattern of a thin sample holds most of the beam inside twice the convergence; a picture is drawn beside it."""
    found, _ = made(capsys, "--instrument", "ideal", "--signal", *arguments, "--pixels", 24, "--output", tmp_path / "a.png")
    assert Path(found["png"]).stat().st_size > 3000
    with xr.open_dataset(found["netcdf"]) as data:
        assert data[name].dims == dims
        assert data.sizes["ky"] == 24
        assert 0.9 < float(data[name].sum(("ky", "kx")).mean()) <= 1.0


def test_a_dose_counts_the_electrons_of_patterns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a dose a 4D cube holds whole electrons, nearly all that were sent."""
    made(capsys, "--instrument", "ideal", "--signal", "4d", "--points", 3, "--pixels", 24, "--dose", 1e4, "--output", tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as data:
        assert np.issubdtype(data["pixelated"].dtype, np.unsignedinteger)
        assert float(data["pixelated"].sum()) == pytest.approx(1e4 * 16, rel=0.1)


def test_a_point_spectrum_has_energies_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Most electrons lose nothing, so that the zero-loss peak is the highest."""
    made(capsys, "--signal", "eels", "--energies=-20,80,0.5", "--output", tmp_path / "a.png")
    with xr.open_dataset(tmp_path / "a.nc") as data:
        assert data["eels"].dims == ("energy_ev",)
        assert abs(float(data["energy_ev"][int(data["eels"].to_numpy().argmax())])) < 1


@pytest.mark.slow
def test_a_spectrum_image_has_energies_at_each_point(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """X-rays of a field make a cube of two directions and an energy, and a picture where one is asked for."""
    found, said = made(capsys, "--signal", "edx", "--points", 2, "--output", tmp_path / "b.emd", "--picture")
    assert {Path(name).suffix for name in found["files"]} == {".png", ".emd"}
    assert "at 2 x 2 points" in preamble(said)["signal"]
    spectrum = read_file(tmp_path / "b.emd")
    name = next(str(each) for each in spectrum if "edx" in str(each))
    assert spectrum[name].ndim == 3


def test_formats_of_one_variable_get_a_file_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """HyperSpy's files hold one image: two detectors make two files, named by them, that come back as they were written."""
    pytest.importorskip("rsciio")
    found, _ = made(capsys, "--points", 8, "--output", tmp_path / "a.hspy")
    assert [Path(name).name for name in found["files"]] == ["a-haadf.hspy", "a-abf.hspy"]
    made(capsys, "--points", 8, "--output", tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as data:
        for name in ("haadf", "abf"):
            np.testing.assert_array_equal(next(iter(read_file(tmp_path / f"a-{name}.hspy").values())), data[name])


def test_a_low_symmetry_crystal_takes_the_cheapest_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Monoclinic zirconia: one long cell, repeated along its short side as the field needs, or a window, with a note on what the other would take."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(work_progress, "shown", stopped)  # the plan is what is tested
    monkeypatch.chdir(tmp_path)
    Path("zirconia.cif").write_text(ZIRCONIA)
    call = ["image", "zirconia.cif", "--size", "3", "--thickness", "4", "--thermal", "0", "--points", "8", "--detectors", "haadf"]
    assert main([*call, "--output", "a.nc"]) == 130
    said = capsys.readouterr().err
    assert preamble(said)["atoms"].endswith("in a cell of 5.2 x 30.5 A")
    assert re.search(r"the cell of 5.2 x 30.5 A takes the least time \(others: [\d.]+ s in a window of 19.0 x 19.0 A", said)


@pytest.mark.slow
def test_a_ronchigram_fills_the_disc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The default Ronchigram is underfocused by 1000 A, so that its disc shows the lattice, and all of it lies inside the convergence."""
    _, said = made(capsys, "--signal", "ronchigram", "--pixels", 128, "--output", tmp_path / "a.png")
    assert "underfocus 1000 A" in preamble(said)["beam"]
    with xr.open_dataset(tmp_path / "a.nc") as data:
        disc = np.hypot(data["ky"], data["kx"]) < 24
        inside = data["ronchigram"].where(disc)
        assert float(inside.sum()) > 0.85
        assert float(inside.std() / inside.mean()) > 0.01


def test_numbers_as_people_write_them() -> None:
    """One, several, or evenly spaced between two ends, both included."""
    assert parse_numbers("--x", "-5", "A") == (-5.0,)
    assert parse_numbers("--x", "0,50,1e2", "A") == (0.0, 50.0, 100.0)
    assert parse_numbers("--x", "-100:100:5", "A") == (-100.0, -50.0, 0.0, 50.0, 100.0)
    for wrong in ("", "a", "1:2", "1:2:1", "1,,2", "nan", "1:2:3:4"):
        with pytest.raises(SettingsError, match="--x"):
            parse_numbers("--x", wrong, "A")
