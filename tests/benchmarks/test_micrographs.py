"""Micrographs beside the twin: what was put into an image is measured of it, and the twin's own frame comes out as the twin took it."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from stemtwin.benchmarks import micrograph_fit as fitting
from stemtwin.benchmarks import micrograph_report as report
from stemtwin.benchmarks import micrograph_twin as comparison
from stemtwin.benchmarks.twin_answers import TwinConditions
from stemtwin.leaderboard.cli.main import main
from stemtwin.twin.errors import DatasetError, SettingsError
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

STEP = 0.15
CONDITIONS = TwinConditions(instrument="ideal", energy_ev=200e3, semiangle_mrad=20, inner_mrad=60, outer_mrad=200, dwell_time_us=5)
TURN = ((math.radians(23.0), 1.02),)
KNOBS = {"offset": 500.0, "slope": 4e4, "gain": 20.0, "jitter": 0.08, "lag": 0.3, "blur": 0.45}


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Return a perovskite two cells wide."""
    return load_sample("srtio3-001", size_angstrom=(8.0, 8.0), thickness_angstrom=8.0)


@pytest.fixture(scope="module")
def cell(sample: Sample) -> fitting.CellSignal:
    """Return a made-up signal of its cell: narrow Gaussians at its columns, as high as their weights."""
    from stemtwin.twin.samples.columns import projected_columns

    columns, (height, width) = projected_columns(sample), sample.size_angstrom
    y, x = np.meshgrid(np.arange(64) * height / 64, np.arange(64) * width / 64, indexing="ij")
    values = np.full((64, 64), 0.01)
    for cx, cy, weight in zip(columns.x, columns.y, columns.weight / columns.weight.max(), strict=True):
        dx, dy = ((d + size / 2) % size - size / 2 for d, size in ((x - cx, width), (y - cy, height)))
        values += 0.1 * weight * np.exp(-(dx**2 + dy**2) / (2 * 0.25**2))
    return fitting.CellSignal(values=values, size_angstrom=sample.size_angstrom)


def made_image(cell: fitting.CellSignal, shape: tuple[int, int] = (64, 64), seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with known lattice, blur, lines and noise, and the matrix that maps pixels to the cell."""
    rng, angle = np.random.default_rng(seed), math.radians(25.0)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.array([[1.05, 0.01], [0, 1.03]])
    lines = rng.normal(0, KNOBS["jitter"], (shape[0], 2))
    places = fitting.pixel_places(shape, STEP) + lines.T[:, :, None]
    signal = cell.at(cell.blurred(KNOBS["blur"]), np.tensordot(matrix, places, axes=1) + np.array([1.3, 0.7])[:, None, None])
    electrons = rng.poisson(KNOBS["slope"] / KNOBS["gain"] * np.clip(signal, 0, None)).astype(float)
    lagged, a = electrons.copy(), KNOBS["lag"]
    for column in range(1, shape[1]):
        lagged[:, column] = a * lagged[:, column - 1] + (1 - a) * electrons[:, column]
    return KNOBS["offset"] + KNOBS["gain"] * lagged, matrix


def test_what_was_put_in_is_measured(cell: fitting.CellSignal, sample: Sample) -> None:
    """Lattice to 0.5 %, blur to 0.06 A, jitter and gain to a third, offset, lag and contrast: all from one noisy window of 10 A."""
    image, matrix = made_image(cell)
    _, start = fitting.search(image, STEP, cell, TURN)
    found = comparison.measure(image, STEP, cell, sample, start)
    turned = [fitting.CellFit(matrix=m, shift=np.zeros(2), blur_angstrom=0, offset=0, slope=1, correlation=1, model=image) for m in (matrix,)]
    assert found.fit.distortion == pytest.approx(turned[0].distortion, abs=0.006)
    assert found.fit.rotation_rad % (math.pi / 2) == pytest.approx(turned[0].rotation_rad % (math.pi / 2), abs=0.01)
    assert found.fit.blur_angstrom == pytest.approx(KNOBS["blur"], abs=0.06)
    assert found.fit.offset == pytest.approx(KNOBS["offset"], abs=0.02 * KNOBS["slope"] * 0.1)
    assert found.lines.jitter_angstrom == pytest.approx((KNOBS["jitter"],) * 2, rel=0.35)
    assert max(found.lines.wander_angstrom) < KNOBS["jitter"]
    assert found.noise.lag_correlation[0] == pytest.approx(KNOBS["lag"], abs=0.12)  # the offsets of lines take a part of it
    assert found.noise.gain == pytest.approx(KNOBS["gain"], rel=0.4)
    assert next(iter(found.contrast)) == "Sr"
    assert 0.3 < found.contrast["Ti-O"] < 0.9


def test_more_jitter_noise_and_blur_are_measured_as_more(cell: fitting.CellSignal, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number follows its own cause: without jitter none is found, and with half the dose the grey values of an electron double."""
    monkeypatch.setitem(KNOBS, "jitter", 0.0)
    monkeypatch.setitem(KNOBS, "gain", 40.0)
    image, _ = made_image(cell)
    found = comparison.measure(image, STEP, cell, sample, fitting.search(image, STEP, cell, TURN)[1])
    assert max(found.lines.jitter_angstrom) < 0.06
    assert found.noise.gain == pytest.approx(40.0, rel=0.4)


def test_the_window_is_found(cell: fitting.CellSignal, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an image of which only a corner shows the crystal, the corner is chosen."""
    monkeypatch.setattr(fitting, "ANGLES_DEG", np.array([20.0, 25.0]))
    monkeypatch.setattr(fitting, "SCALES", (1.04,))
    image = np.random.default_rng(0).normal(3000, 300, (120, 120))
    image[50:, 50:] = made_image(cell, (70, 70))[0]
    top, left, height, width = comparison.find_region(image, STEP, cell, 48, lambda _: None)
    assert min(top, left) >= 46
    assert (height, width) == (48, 48)


def test_columns_lie_where_the_model_is_bright(cell: fitting.CellSignal, sample: Sample) -> None:
    """The columns of a fit lie on the maxima of its model; the oxygen columns are not asked for."""
    image, _ = made_image(cell)
    fit = fitting.refine(image, STEP, cell, fitting.search(image, STEP, cell, TURN)[1])
    places, species, asked = comparison.columns_in(fit, sample, image.shape, STEP)
    assert set(species[asked]) == {"Sr", "Ti-O"}
    assert set(species[~asked]) == {"O"}
    y, x = np.rint(places[species == "Sr"][:, ::-1]).astype(int).T
    inside = (np.minimum(x, y) > 1) & (np.maximum(x, y) < 62)
    assert fit.model[y[inside], x[inside]].min() > np.quantile(fit.model, 0.9)


def test_what_cannot_be_compared_is_refused(sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A region outside the image, a window too small, regions that are none and a sample that does not repeat: one sentence each."""
    image = np.zeros((40, 40))
    with pytest.raises(DatasetError, match="exceeds the image of 40 x 40 px"):
        comparison.compare(image, STEP, sample, CONDITIONS, region=(10, 10, 40, 10))
    with pytest.raises(SettingsError, match="from 24 to 128 px"):
        comparison.check_window(8)
    with pytest.raises(SettingsError, match="is not periodic"):
        comparison.simulate_cell(dataclasses.replace(sample, periodic=False), CONDITIONS)
    np.save(tmp_path / "image.npy", image)
    for words, said in (
        (["--sample", "srtio3-001", "--region", "1,2,3"], "--region '1,2,3' cannot be read"),
        (["--sample", "srtio3-001", "--region", "0,0,30,30", "--region", "0,0,30,30"], "give a region for each sample"),
    ):
        assert main(["compare", str(tmp_path / "image.npy"), *words, "--output", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_the_twin_is_compared_with_itself(sample: Sample, tmp_path: Path) -> None:
    """A frame of the twin, taken for a measured one: its knobs come back, most numbers agree, and the report has all of it."""
    knobs = {
        "pixel_size_angstrom": STEP,
        "rotation_rad": 0.1,
        "source_size_angstrom": 0.4,
        "electrons_per_pixel": 1e5,
        "dose_e_per_angstrom2": 1e5 / STEP**2,
        "gain_adu": 5.0,
        "offset_adu": 100.0,
        "read_noise_adu": 2.0,
        "lag_us": 0.0,
        "line_jitter_angstrom": 0.05,
        "line_wander_angstrom": 0.0,
        "drift_x_angstrom_per_line": 0.01,
        "drift_y_angstrom_per_line": 0.0,
    }
    still = fitting.CellFit(
        matrix=np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]),
        shift=np.zeros(2),
        blur_angstrom=0.4,
        offset=100.0,
        slope=5e5,
        correlation=1.0,
        model=np.zeros((64, 64)),
    )
    image = comparison.image_again(sample, still, knobs, CONDITIONS, (96, 96), np.zeros(2))
    found = comparison.compare(image, STEP, sample, CONDITIONS, region=(16, 16, 64, 64))
    x, y, shear = found.measured.fit.distortion
    assert (x, y) == pytest.approx((1.0, 1.0), abs=0.01)
    assert shear * STEP == pytest.approx(-0.01, abs=0.002)  # jitter of few lines looks like drift
    assert found.knobs["source_size_angstrom"] == pytest.approx(0.4, abs=0.05)
    assert found.knobs["line_jitter_angstrom"] == pytest.approx(0.05, rel=0.3)
    assert found.knobs["gain_adu"] == pytest.approx(5.0, rel=0.4)
    values = comparison.as_values(found, STEP)
    assert np.mean([row["agrees"] for row in values["quantities"]]) > 0.7
    paths = report.write_report([found], STEP, CONDITIONS, "twin.npy", tmp_path / "out")
    assert all(path.stat().st_size > 500 for path in paths)
    kept = json.loads(paths[0].read_text(encoding="utf-8"))
    answers = kept["samples"][0]["baselines"]
    assert {name.partition("/")[0] for name in answers} == {"atoms-2d", "atoms-2d@2"}
    for name in ("atoms-2d/log", "atoms-2d@2/log"):
        assert answers[name]["measured"]["found"] > 0.9 * answers[name]["columns"]
