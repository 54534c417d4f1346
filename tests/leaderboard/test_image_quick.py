"""Quick images of ``stemtwin image``: taken where exact ones take long, said first, with the model's error; never where all was asked for."""

import json

import numpy as np
import pytest
import xarray as xr

from stemtwin.leaderboard.cli import image_quick
from stemtwin.leaderboard.cli.main import main
from stemtwin.twin.instrument.simulation import thermal_check

CALL = ["image", "mos2-1h", "--size", "12", "--points", "16"]


@pytest.fixture
def patience(monkeypatch):
    """Set the planned time, s, above which exact images give way."""
    return lambda seconds: monkeypatch.setattr(image_quick, "PATIENCE_S", seconds)


class WorkBegunError(Exception):
    """Stand for the work of the command."""


@pytest.fixture
def no_work(monkeypatch):
    """End where the work would begin."""

    def begin(*_, **__):
        raise WorkBegunError

    for name in ("simulate.simulate", "series.simulate_series"):
        monkeypatch.setattr(f"stemtwin.twin.instrument.simulation.{name}", begin)


def first_line(capsys) -> str:
    """Return the first line on stderr."""
    return capsys.readouterr().err.splitlines()[0]


def test_long_exact_images_give_way_and_the_first_line_says_so(tmp_path, capsys, patience):
    """The first line names the model, that its error is not measured for the sample, and rms and worst of the table; the file holds both signals."""
    patience(0.0)
    assert main([*CALL, "--detectors", "haadf,abf", "--output", str(tmp_path / "a.nc")]) == 0
    said = first_line(capsys)
    rows = thermal_check.table()
    rms = np.sqrt(np.mean([row["error"] ** 2 for row in rows]))
    for words in (
        "quick: haadf by thermal",
        "not measured for this sample",
        f"rms {rms:.2e}",
        f"worst {max(r['error'] for r in rows):.2e}",
        "--exact",
    ):
        assert words in said
    with xr.open_dataset(tmp_path / "a.nc") as data:
        assert list(data) == ["haadf", "abf"]
        assert data.attrs["engine"] == "thermal"
        assert data["abf"].attrs["engine"] != "thermal"
        assert json.loads(data["abf"].attrs["stemtwin_settings"])["phonons"] == "damped"
        assert 0 < float(data["haadf"].mean()) < float(data["abf"].mean()) < 1


def test_unnamed_detectors_that_would_take_long_are_left_out_and_named(tmp_path, capsys, patience, no_work):
    """Of the usual detectors, the one that takes long is left out, with a note."""
    patience(0.0)
    with pytest.raises(WorkBegunError):
        main([*CALL, "--output", str(tmp_path / "a.nc")])
    said = capsys.readouterr().err
    assert "abf left out" in said
    assert "signal          haadf at 16" in said


@pytest.mark.parametrize("more", [["--exact"], ["--phonons", "1"], ["--detectors", "abf"], ["--thickness", "6", "--depths", "3,6"]])
def test_nothing_quick_where_it_was_not_asked_for(more, tmp_path, capsys, patience, no_work):
    """Exact images, configurations that were named, bright fields alone and depth series are what they were, however long they take."""
    patience(0.0)
    with pytest.raises(WorkBegunError):
        main([*CALL, "--detectors", "haadf", *more, "--output", str(tmp_path / "a.nc")])
    assert first_line(capsys).startswith("formula")


def test_short_exact_images_stay(tmp_path, capsys, patience, no_work):
    """An exact image within the time is not replaced."""
    patience(1e9)
    with pytest.raises(WorkBegunError):
        main([*CALL, "--detectors", "haadf", "--output", str(tmp_path / "a.nc")])
    assert first_line(capsys).startswith("formula")


def test_wrong_input_stays_wrong(tmp_path, capsys, patience):
    """A dose for what counts no electrons is refused, quick or not."""
    patience(0.0)
    assert main([*CALL, "--detectors", "haadf,com", "--dose", "100", "--output", str(tmp_path / "a.nc")]) == 1
    assert "from several detectors: com" in capsys.readouterr().err


@pytest.mark.slow
def test_a_series_of_quick_images(tmp_path, capsys, patience):
    """A focal series has a dimension of its values, quick too."""
    patience(0.0)
    assert main([*CALL, "--detectors", "haadf", "--defocus", "0,40", "--output", str(tmp_path / "a.nc")]) == 0
    assert "quick" in first_line(capsys)
    with xr.open_dataset(tmp_path / "a.nc") as data:
        assert data["haadf"].shape == (2, 16, 16)
        assert float(data["haadf"][0].std()) != float(data["haadf"][1].std())
