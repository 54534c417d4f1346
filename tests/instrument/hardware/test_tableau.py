"""C1A1 and tableaus: from true aberrations through images to estimates."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import InstrumentError, SettingsError, UnknownNameError
from stemtwin.twin.instrument.hardware.corrector import TYPICAL_CORRECTOR, CorrectorProfile, corrected
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.hardware.tableau import C1A1, QUANTILE_95, TABLEAUS, Measurement, ProbeImages, duration_s, measure, tableau
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations

WAVELENGTH = electrons.wavelength(200e3)
FULL = ProbeImages()
SMALL = replace(FULL, size=64, current_pa=800.0)  # as many electrons on a quarter of the field
RESIDUAL = PROFILES["corrected-200kv"].residual


def take(state: Aberrations, kind, setting: ProbeImages = SMALL, seed: int = 0, **more) -> Measurement:
    """Return a measurement."""
    return measure(state, WAVELENGTH, kind, setting, np.random.default_rng(seed), **more)


def scores(state: Aberrations, found: Measurement) -> np.ndarray:
    """Return errors in stated standard deviations."""
    true, seen = state.cartesian(), found.aberrations.cartesian()
    return np.array([(seen[name] - true[name]) / (found.confidence[name] / QUANTILE_95) for name in found.confidence])


@pytest.mark.parametrize("setting", [SMALL, pytest.param(FULL, marks=pytest.mark.slow)])
def test_intervals_are_as_wide_as_on_real_correctors(setting: ProbeImages) -> None:
    """95 %: C10 and C12 0.7 to 2 nm, C21 and C23 10 to 30 nm (Fast), C30 0.3 to 1 um, C32 and C34 below 1 um (Standard), as correctors state them."""
    first, fast, standard = (take(RESIDUAL, kind, setting) for kind in (C1A1, tableau("Fast"), tableau("Standard")))
    for name in ("C10", "C12a", "C12b"):
        assert 7 < first.confidence[name] < 20
    for name in ("C21a", "C21b", "C23a", "C23b"):
        assert 100 < fast.confidence[name] < 310
    assert 3e3 < standard.confidence["C30"] < 1e4
    assert max(standard.confidence[name] for name in ("C32a", "C32b", "C34a", "C34b")) < 1e4
    for found in (first, fast, standard):
        assert np.abs(scores(RESIDUAL, found)).max() < 4.5


def test_the_truth_lies_in_the_intervals_as_often_as_stated() -> None:
    """Over many C1A1 of random states the squared scores average 1, and 95 % of the intervals hold the truth."""
    rng, found = np.random.default_rng(1), []
    for seed in range(40):
        state = Aberrations(C10=rng.normal() * 200, C12=abs(rng.normal()) * 150, phi12=rng.uniform(0, 3), C21=500.0, C23=500.0)
        found.append(scores(state, take(state, C1A1, seed=seed)))
    values = np.array(found).reshape(-1)
    assert abs((values**2).mean() - 1) < 4.5 * math.sqrt(2 / values.size)
    assert abs((np.abs(values) < QUANTILE_95).mean() - 0.95) < 4.5 * math.sqrt(0.95 * 0.05 / values.size)


@pytest.mark.parametrize("name", list(TABLEAUS))
def test_a_tableau_finds_every_aberration_that_it_fits(name: str) -> None:
    """Aberrations up to the tableau's order, each far larger than its interval, come out within their errors, and the misfit is that of noise."""
    kind = tableau(name)
    values = {"C10": 150.0, "C12": 100.0, "phi12": 0.4, "C21": 3000.0, "phi21": 1.0, "C23": 2000.0, "phi23": -0.5}
    if kind.order >= 4:
        values |= {"C30": -2e4, "C32": 2e4, "phi32": 1.0, "C34": 1.5e4, "phi34": 0.3, "C41": 2e5, "phi41": 2.0, "C43": 2e5, "C45": 2e5, "phi45": 0.2}
    if kind.order == 5:
        values |= {"C50": 2e7, "C52": -1e7, "C54": 1e7, "phi54": 0.1, "C56": 8e6, "phi56": 0.3}
    state = Aberrations(**values)
    found = take(state, kind)
    assert set(found.confidence) == {item for item in state.cartesian() if int(item[1]) <= kind.order}
    assert np.abs(scores(state, found)).max() < 4.5
    freedom = 3 * len(kind.tilts_mrad()) - len(found.confidence)
    assert abs(found.misfit - 1) < 4.5 * math.sqrt(2 / freedom)


@settings(max_examples=12, deadline=None)
@given(st.floats(-2000, 2000), st.floats(0, 1500), st.floats(0, 3.1))
def test_the_capture_range_is_what_it_is_said_to_be(c10: float, c12: float, phi12: float) -> None:
    """Within a quarter of the defocus the answer is right; outside, the corrector says so with the diameter that it measured."""
    state, limit = Aberrations(C10=c10, C12=c12, phi12=phi12), SMALL.tolerance * SMALL.defocus_angstrom
    if abs(c10) < limit - 30 and c12 < limit - 30:
        assert np.abs(scores(state, take(state, C1A1))).max() < 5
    elif abs(c10) > limit + 30 or c12 > limit + 30:
        with pytest.raises(InstrumentError, match=r"out of range|No probe fits"):
            take(state, C1A1)


@pytest.mark.parametrize(("c10", "diameter"), [(900.0, 26.0), (-825.0, 25.5)])
def test_the_error_is_that_of_a_real_corrector(c10: float, diameter: float) -> None:
    """Target and measured diameter stand in the message, the latter 2 alpha (defocus + C10) in points."""
    with pytest.raises(InstrumentError, match=r"measured probe diameter is out of range: .* px, too far from 20\.0 px") as raised:
        take(Aberrations(C10=c10), C1A1)
    measured = float(str(raised.value).split("out of range: ")[1].split(" ")[0])
    assert measured == pytest.approx(diameter, abs=0.3)
    with pytest.raises(InstrumentError, match=r"measured diameters of an elliptical probe are out of range: .* px, too far from 20\.0 px"):
        take(Aberrations(C12=900.0), C1A1)
    with pytest.raises(InstrumentError, match=r"(out of range|fits the images) at tilt \("):
        take(Aberrations(C30=1.2e6), tableau("standard"))


def test_images_without_a_film_or_without_a_probe_are_refused() -> None:
    """Where there is nothing to see, or no probe of first order explains it, the corrector does not invent an answer."""
    with pytest.raises(InstrumentError, match=r"No probe fits|out of range"):
        take(Aberrations(), C1A1, replace(SMALL, cluster_angstrom2=1e-6))
    with pytest.raises(InstrumentError, match=r"No probe fits the images: chi-square"):
        take(Aberrations(C23=6e5), C1A1, FULL)


def test_images_are_counts_of_a_given_dose() -> None:
    """Whole electrons; their mean is current times dwell time times what the film scatters, the dose that over the points' area, three times over."""
    found = take(Aberrations(), tableau("Fast"))
    assert found.images.shape == (9, 3, 64, 64)
    assert found.images.dtype == np.uint16
    incident = 800 * 20e-6 * 6241509.0744607626
    assert found.images.mean() == pytest.approx(incident * (0.01 + 0.003), rel=0.25)  # some 70 clusters
    assert found.dose_e_per_angstrom2 == pytest.approx(9 * 3 * incident / 2.4**2)
    assert found.duration_s == pytest.approx(9 * 3 * (64**2 * 20e-6 + 0.1)) == duration_s(tableau("Fast"), SMALL)


def test_a_seed_gives_the_same_images_and_every_setting_reaches_them() -> None:
    """Equal seeds, equal bits; another seed, aberration, source, wavelength or setting gives other images."""
    first = take(RESIDUAL, C1A1)
    again = take(RESIDUAL, C1A1)
    assert np.array_equal(first.images, again.images)
    assert first.aberrations == again.aberrations
    for name in ("sampling_angstrom", "semiangle_mrad", "defocus_angstrom", "current_pa", "background", "cluster_angstrom2", "density_per_angstrom2",
                 "cluster_sigma_angstrom", "jitter_angstrom"):  # fmt: skip
        factor = 0.9 if name == "sampling_angstrom" else 1.1
        assert not np.array_equal(first.images, take(RESIDUAL, C1A1, replace(SMALL, **{name: factor * getattr(SMALL, name)})).images), name
    for other in (take(RESIDUAL, C1A1, seed=1), take(Aberrations(C56=1e9), C1A1), take(RESIDUAL, C1A1, source_size_angstrom=3.0)):
        assert not np.array_equal(first.images, other.images)
    assert not np.array_equal(first.images, measure(RESIDUAL, electrons.wavelength(60e3), C1A1, SMALL, np.random.default_rng(0)).images)


def test_a_large_source_blurs_the_images_and_not_the_answer() -> None:
    """The source is common to all images: they lose contrast, the estimate stays right."""
    state = Aberrations(C10=200, C12=150, phi12=0.2)
    sharp, blurred = take(state, C1A1), take(state, C1A1, source_size_angstrom=3.0)
    assert blurred.images[0, 2].std() < 0.9 * sharp.images[0, 2].std()
    assert np.abs(scores(state, blurred)).max() < 4.5


def test_measurements_become_datasets(tmp_path: Path) -> None:
    """A Dataset with coordinates and units that netCDF brings back unchanged, and nothing of the truth in it."""
    found = take(RESIDUAL, tableau("Fast"))
    data = found.dataset()
    data.to_netcdf(tmp_path / "tableau.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "tableau.nc", engine="h5netcdf") as back:
        xr.testing.assert_identical(data, back.load())
    assert data.sizes == {"tilt": 9, "focus": 3, "y": 64, "x": 64, "side": 2, "probe_y": 48, "probe_x": 48, "component": 3, "name": 7}
    assert float(data.coefficient.sel(name="C21a")) == found.aberrations.cartesian()["C21a"]


def test_tableaus_by_name() -> None:
    """Any case, an angle and a highest aberration of one's own, in either notation."""
    assert tableau("fast") is TABLEAUS["Fast"]
    assert tableau("ENHANCED", angle_mrad=30).angle_mrad == 30
    assert tableau("standard", max_fit="A2").order == tableau("Standard", max_fit="C23").order == 2
    tilts = tableau("standard").tilts_mrad()
    assert np.hypot(*tilts.T).max() == pytest.approx(18)
    assert len(np.unique(tilts.round(6), axis=0)) == len(tilts) == 19


@pytest.mark.parametrize(
    ("name", "more", "error", "match"),
    [
        ("Fastest", {}, UnknownNameError, "Did you mean 'Fast'"),
        ("Fast", {"angle_mrad": 200}, SettingsError, "angle_mrad=200"),
        ("Fast", {"angle_mrad": 0}, SettingsError, "angle_mrad=0"),
        ("Fast", {"max_fit": "A9"}, SettingsError, "max_fit='A9'"),
    ],
)
def test_tableaus_that_make_no_sense_are_refused(name: str, more: dict, error: type, match: str) -> None:
    """Unknown names, and tilts that the deflectors do not reach."""
    with pytest.raises(error, match=match):
        tableau(name, **more)


@pytest.mark.parametrize(
    "wrong",
    [{"size": 8}, {"sampling_angstrom": 0.0}, {"current_pa": -1.0}, {"tolerance": 2.0}, {"background": -0.1}, {"cluster_sigma_angstrom": 1.0}],
)
def test_images_that_make_no_sense_are_refused(wrong: dict) -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ProbeImages(**wrong)


def is_flat(state: Aberrations, semiangle: float) -> bool:
    """Whether the aberration phase stays within pi/4 up to an angle, at every azimuth."""
    k, phi = semiangle / WAVELENGTH * np.linspace(0, 1, 101)[:, None], 2 * np.pi * np.arange(96) / 96
    return bool(np.abs(optics.chi(state, k * np.sin(phi), k * np.cos(phi), WAVELENGTH)).max() <= np.pi / 4)


def tuned_after(seed: int, setting: ProbeImages, profile: CorrectorProfile, semiangle: float, most: int) -> int:
    """Return after how many measurements and corrections the phase is flat to pi/4 over the aperture.

    C1A1 and Fast tableau take turns, and what is significant at 95 % is corrected, as a careful operator does.
    """
    rng = np.random.default_rng(seed)
    state = optics.add(RESIDUAL, Aberrations(C10=500, C12=300, phi12=0.3, C21=3000, phi21=1.0, C23=2000, phi23=-0.4))
    assert not is_flat(state, 0.5 * semiangle)
    for done in range(1, most + 1):
        found = measure(state, WAVELENGTH, C1A1 if done % 2 else tableau("Fast"), setting, rng)
        seen = found.aberrations.cartesian()
        change = {name: -seen[name] for name, half in found.confidence.items() if abs(seen[name]) > half}
        state = corrected(state, Aberrations.from_cartesian(**change), profile, rng)
        if is_flat(state, semiangle):
            return done
    return most + 1


@pytest.mark.parametrize("seed", range(3))
def test_measuring_and_correcting_tunes_the_instrument(seed: int) -> None:
    """From 50 nm of defocus, 30 nm of astigmatism, 300 nm of coma and 200 nm of A2 to the pi/4 limit at 25 mrad, with an imperfect corrector."""
    assert tuned_after(seed, SMALL, TYPICAL_CORRECTOR, PROFILES["corrected-200kv"].semiangle_mrad * 1e-3, most=14) <= 14


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_measuring_and_correcting_tunes_the_instrument_with_full_images(seed: int) -> None:
    """The same with images of the usual size."""
    assert tuned_after(seed, FULL, TYPICAL_CORRECTOR, PROFILES["corrected-200kv"].semiangle_mrad * 1e-3, most=14) <= 14
