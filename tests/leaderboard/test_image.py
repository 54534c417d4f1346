"""``stemtwin image`` and ``stemtwin demo``: pictures from structures, and the whole main job."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.cli.structure_options import in_options

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
    captured = capsys.readouterr()
    assert picture.stat().st_size > 3000
    assert "mixed or partly filled" in captured.err
    said = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in captured.err.splitlines() if re.match(r"\S.*?\s{2,}", line))
    assert said["atoms"].startswith("20 in a cell")
    assert re.match("(Al|Ca) ", said["thermal motion"])


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
        (["srtio3-001", "--zone-axis", "1,1,0"], "Leave out --zone-axis"),
        (["srtio3-001", "--block", "2"], "Leave out --block"),
        (["srtio3-001", "--thermal", "hot"], "--thermal hot cannot be read"),
        (["srtio3-001", "--thermal", "Sr=0.1"], "--thermal lacks O, Ti"),
        (["srtio3-001", "--thermal", "Sr=0.1,Sr=0.2"], "names an element twice"),
        (["srtio3-001", "--thermal", "3"], "--thermal 3 A is outside 0 to 1 A"),
        (["srtio3-001", "--thermal", "0", "--phonons", "4"], "--phonons 4 needs thermal motion"),
        (["srtio3-001", "--output", "x.jpg"], "x.jpg is not that of a known format"),
        (["srtio3-001", "--output", "x.hspy", "--defocus", "0,10,50"], "not evenly spaced"),
        (["srtio3-001", "--output", "x.hspy", "--tilt-x", "0,10"], "do not support series of tilts"),
        (["srtio3-001", "--signal", "cbd"], "Did you mean 'cbed'"),
        (["srtio3-001", "--signal", "cbed", "--points", "4"], "--points 4"),
        (["srtio3-001", "--signal", "4d", "--defocus", "0,10"], "does not support a series of --defocus"),
        (["srtio3-001", "--signal", "cbed", "--dose", "10"], "has one point"),
        (["srtio3-001", "--detectors", "idpc", "--dose", "10"], "from several detectors: idpc"),
        (["srtio3-001", "--defocus", "1:2"], "--defocus 1:2 cannot be read"),
        (["srtio3-001", "--defocus", "0:1:2000"], "2 to 1000 values"),
        (["srtio3-001", "--defocus", "5,5"], "contains a value twice"),
        (["srtio3-001", "--tilt-x", "0,1", "--tilt-y", "0,1,2"], "--tilt-x has 2 values and --tilt-y 3"),
        (["srtio3-001", "--signal", "eels", "--energies", "0,100"], "--energies 0,100 must be three numbers"),
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--zone-axis", "1,1"], "--zone-axis '1,1' must be three whole numbers"),
        (["--zone-axis", "0,0,0"], "--zone-axis '0,0,0' has no direction"),
        (["--zone-axis", "10-10"], "not hexagonal"),
        (["--thickness", "0.1"], "--thickness 0.1 is below one slice"),
        (["--block", "2"], "--block '2' was given"),
        (["--thermal", "Au=0.1,Fe=0.2"], "--thermal names Fe, which the sample does not hold"),
    ],
)
def test_wrong_input_for_a_file_names_options(arguments, words, tmp_path, monkeypatch, capsys):
    """What is wrong with a file's settings is said in the options of the command: no argument of a Python function appears."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "POSCAR"
    path.write_text("gold\n4.08\n1 0 0\n0 1 0\n0 0 1\nAu\n1\nDirect\n0 0 0\n")
    assert main(["image", "POSCAR", *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert not re.search(r"_angstrom|zone_axis|periodic=|max_strain|block=", said)


def test_image_says_what_it_simulates(tmp_path, capsys):
    """A file without displacements: the note names the option; formula, atoms, density and thermal motion are printed, and in JSON; 0 is static."""
    path, picture = tmp_path / "POSCAR", tmp_path / "x.png"
    path.write_text("gold\n4.08\n1 0 0\n0 1 0\n0 0 1\nAu\n4\nDirect\n0 0 0\n.5 .5 0\n.5 0 .5\n0 .5 .5\n")
    call = ["image", str(path), "--size", "4", "--thickness", "4", "--points", "8", "--detectors", "haadf", "--output", str(picture)]
    assert main([*call, "--phonons", "1", "--zone-axis", "-100"]) == 0
    captured = capsys.readouterr()
    assert "no thermal displacements" in captured.err
    assert captured.err.count("--thermal") == 1
    assert "thermal_sigma" not in captured.err
    for row in (
        r"formula +Au",
        r"atoms +4 in a cell of 4.1 x 4.1 A",
        r"density +19.3 g/cm\^3",
        r"thermal motion +Au 0.090 A rms",
        r"thickness +4.1 A",
    ):
        assert re.search(f"^{row}$", captured.err, re.MULTILINE)
    assert captured.out == f"{picture}\n{picture.with_suffix('.nc')}\n"
    assert main([*call, "--thermal", "0", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["specimen"]["thermal"] == "static"
    assert said["specimen"]["formula"] == "Au4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thermal_sigma_angstrom lacks O.", "--thermal lacks O."),
        ("block='x' is not in a.cif, which holds 2 data blocks.", "--block 'x' is not in a.cif, which holds 2 data blocks."),
        ("Choose another with block=.", "Choose another with --block."),
        ("zone_axis=(0, 0, 0) has no direction", "--zone-axis (0, 0, 0) has no direction"),
        ("size_angstrom=(4, 4) with thickness_angstrom=2", "--size (4, 4) with --thickness 2"),
        ("drawn with seed 0", "drawn with seed 0"),
    ],
)
def test_messages_in_the_words_of_the_command(text, expected):
    """Arguments become options, other words stay."""
    assert in_options(text) == expected


def test_wrong_flag_is_misuse(capsys):
    """An unknown flag: one line, exit code 2."""
    assert main(["image", "srtio3-001", "--zoom", "3"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_demo_from_nothing_to_a_board(tmp_path, real_file):
    """The main job with every cache empty: a structure file that nobody here made ends with pictures, a dataset and a board in order."""
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
    ordered = {task: [row["name"] for row in rows if row["order"] is not None] for task, rows in boards.items()}
    assert ordered["atoms-2d"] == ["log", "random"]
    assert ordered["autofocus"] == ["focal-series", "random"]
