"""``stemtwin image`` and ``stemtwin demo``: pictures from structures, and the whole main job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from stemtwin.leaderboard.cli.main import main

FAST = ["--thickness", "4", "--phonons", "0", "--points", "32", "--detectors", "haadf"]


def test_image_writes_a_picture_and_its_numbers(tmp_path, capsys):
    """The PNG shows something, and the netCDF file beside it holds the signal: heavy columns brighter than the space between them."""
    picture = tmp_path / "a.png"
    assert main(["image", "srtio3-001", "--size", "8", *FAST, "--output", str(picture), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["png"] == str(picture)
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[2] in (3, 4)
    assert np.ptp(pixels[..., 0]) > 0.5
    with xr.open_dataset(said["netcdf"]) as data:
        signal = data["haadf"].to_numpy()
        assert signal.shape == (32, 32)
        assert signal[0, 0] > 5 * signal.min() > 0  # strontium sits at the origin


def test_image_of_a_real_file(tmp_path, real_file, capsys):
    """A file with capital symbols and mixed sites, on which ASE's reader stops, ends as a picture with notes on what was done."""
    picture = tmp_path / "b.png"
    assert main(["image", str(real_file("cod_2100513.cif")), "--size", "5", *FAST, "--output", str(picture)]) == 0
    out = capsys.readouterr().out
    assert picture.stat().st_size > 3000
    assert "mixed or partly filled" in out


def test_image_with_a_dose_counts_electrons(tmp_path, capsys):
    """At a dose the file holds whole electrons whose mean is dose times pixel area times signal, and the same seed gives the same counts."""
    counts = []
    for name in ("c.png", "d.png"):
        arguments = ["image", "srtio3-001", "--size", "8", *FAST, "--dose", "1e5", "--seed", "3", "--output", str(tmp_path / name), "--json"]
        assert main(arguments) == 0
        with xr.open_dataset(json.loads(capsys.readouterr().out)["netcdf"]) as data:
            counts.append(data["haadf"].to_numpy())
            assert data.attrs["dose_e_per_angstrom2"] == 1e5
    np.testing.assert_array_equal(counts[0], counts[1])
    assert np.issubdtype(counts[0].dtype, np.unsignedinteger)
    assert counts[0].sum() > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.cif"], "nowhere.cif"),
        (["srtio3-01"], "Did you mean 'srtio3-001'"),
        (["srtio3-001", "--zone-axis", "1,1"], "three whole numbers"),
        (["srtio3-001", "--output", "x.jpg"], "does not end in .png"),
        (["srtio3-001", "--size", "-3"], "--size"),
        (["srtio3-001", "--detectors", "haaf"], "Did you mean 'haadf'"),
        (["srtio3-001", "--instrument", "corrected"], "instrument profile"),
        (["srtio3-001", "--points", "1"], "--points"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_1(arguments, words, tmp_path, monkeypatch, capsys):
    """Wrong input: one line that says what is wrong, exit code 1, no file left."""
    monkeypatch.chdir(tmp_path)
    assert main(["image", *arguments]) == 1
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_wrong_flag_is_misuse(capsys):
    """An unknown flag: one line, exit code 2."""
    assert main(["image", "srtio3-001", "--zoom", "3"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_demo_from_nothing_to_a_board(tmp_path, real_file):
    """The main job with every cache empty: a structure file that nobody here made ends with pictures, a dataset and a ranked board."""
    environment = {**os.environ, "STEMTWIN_CACHE_DIR": str(tmp_path / "cache"), "STEMTWIN_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "140"}
    folder = tmp_path / "demo"
    command = [sys.executable, "-c", "from stemtwin.leaderboard.cli.main import run; run()", "demo", "--structure"]
    run = subprocess.run(
        [*command, str(real_file("cod_2100513.cif")), "--output", str(folder), "--json"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert all(Path(made).exists() for made in said["made"])
    boards = {board["task"]: board["rows"] for board in said["boards"]}
    assert set(boards) == {"atoms-2d", "autofocus"}
    ranked = {task: [row["name"] for row in rows if row["rank"] is not None] for task, rows in boards.items()}
    assert ranked["atoms-2d"] == ["log", "random"]
    assert ranked["autofocus"] == ["focal-series", "random"]
