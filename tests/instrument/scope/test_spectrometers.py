"""Spectra with the microscope: one beam, one pass, one clock for images, energy losses and X-rays."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.errors import InstrumentError, SettingsError, StemtwinError, UnknownNameError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.hardware.drift import Instabilities
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import PathScan, RasterScan, SparseScan, SpiralScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import memory
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector, LossModel, expected_edx, expected_eels
from stemtwin.twin.physics import noise
from stemtwin.twin.samples.sample import Sample

SCAN = RasterScan(shape=(3, 4), field_of_view_angstrom=(3.0, 3.9))
LOW = EELSDetector(energy_range_ev=(-20.0, 236.0), dispersion_ev=0.5, collection_mrad=40.0)
CORE = EELSDetector(energy_range_ev=(400.0, 656.0), dispersion_ev=1.0, collection_mrad=40.0)
WIDE = EELSDetector(energy_range_ev=(-20.0, 2028.0), dispersion_ev=1.0, collection_mrad=40.0)
XRAYS = EDXDetector(dispersion_ev=20.0)
IDEAL = PROFILES["ideal"]


@pytest.fixture
def make(make_perovskite: Callable[..., Sample]) -> Callable[..., Microscope]:
    """Return the maker of microscopes with a thin SrTiO3 in them."""
    sample = make_perovskite(1, sigma=None)
    return lambda profile=IDEAL, seed=1, **settings: Microscope(sample, profile, seed=seed, **settings)


def test_one_pass_gives_images_and_spectra(make: Callable[..., Microscope]) -> None:
    """Image, patterns, energy losses and X-rays cost what one pass costs, and the image is that of an acquisition without spectra.

    Each spectrum says whether it has channelling.
    """
    scope, other = make(), make()
    out = scope.acquire(SCAN, dwell_time_us=1e3, frames=2, detectors=("haadf", LOW, XRAYS, "pixelated"))
    assert out.eels.dims == ("frame", "y", "x", "energy_loss_ev")
    assert out.edx.dims == ("frame", "y", "x", "photon_energy_ev")
    assert out.pixelated.dims == ("frame", "y", "x", "ky", "kx")
    alone = other.acquire(SCAN, dwell_time_us=1e3, frames=2, detectors=("haadf",))
    xr.testing.assert_identical(out.haadf, alone.haadf)
    assert scope.spent == other.spent
    incident = noise.electrons_per_point(50.0, 1e-3)
    assert scope.spent["electrons"] == pytest.approx(2 * 12 * incident)
    assert not np.array_equal(out.eels[0], out.eels[1])
    assert out.eels.attrs["engine"] in ("operator", "multislice", "thin")
    assert ("no channelling" in out.edx.attrs["engine_error"]) == (out.edx.attrs["engine"] == "thin")
    assert out.attrs["electrons_per_point"] == pytest.approx(incident)


def test_counts_are_current_times_time_times_what_is_collected(make: Callable[..., Microscope]) -> None:
    """All counts of a spectrum over all losses are current x time / e x the collected part of the beam, times the gain; blanked there are none."""
    scope = make()
    scope.set(current_pa=80.0)
    sample, beam = scope.truth()["sample"], scope.truth()["beam"]
    out = scope.acquire_spectrum(SCAN, detectors=(WIDE,), dwell_time_us=5e3)
    expected = expected_eels(sample, beam, SCAN, replace(WIDE, zero_loss_fwhm_ev=1e-3), phonons="static")
    incident = 80e-12 * 5e-3 / 1.602176634e-19
    np.testing.assert_allclose(out.eels.sum("energy_loss_ev"), incident * expected.collected, rtol=2e-3)
    assert 0.9 < float(expected.collected.mean()) < 0.999
    rays = scope.acquire_spectrum(SCAN, detectors=(XRAYS,), dwell_time_us=1e5).edx.sum()
    mean = 20 * incident * float(expected_edx(sample, beam, SCAN, XRAYS, phonons="static").edx.sum())
    assert abs(float(rays) - mean) < 5 * math.sqrt(mean)
    gained = scope.acquire_spectrum(SCAN, detectors=(replace(WIDE, gain=3.0),), dwell_time_us=5e3)
    assert gained.eels.dtype == np.float32
    assert float(gained.eels.sum() / out.eels.sum()) == pytest.approx(3.0, rel=1e-3)
    scope.set(blanked=True)
    dark = scope.acquire_spectrum(SCAN, detectors=(WIDE, XRAYS), dwell_time_us=5e3)
    assert float(dark.eels.sum()) == float(dark.edx.sum()) == 0


def test_noise_is_poisson(make: Callable[..., Microscope]) -> None:
    """Over frames, the variance of every channel's counts is their mean."""
    counts = make().acquire_spectrum((0.0, 0.0), detectors=(LOW, XRAYS), dwell_time_us=3e6, frames=60)
    for name in ("eels", "edx"):
        values = counts[name].to_numpy().astype(float)
        mean, variance = values.mean(axis=0), values.var(axis=0, ddof=1)
        bright = mean > 2
        assert bright.sum() > 10
        ratio = variance[bright] / mean[bright]
        assert abs(ratio.mean() - 1) < 5 * math.sqrt(2 / 59 / bright.sum())


def test_the_true_beam_at_the_true_places(make: Callable[..., Microscope]) -> None:
    """While the specimen drifts, spectra are those of where the beam truly is, with its true focus, and not of where it was sent."""
    strayed = replace(IDEAL, instabilities=Instabilities(drift_angstrom_per_s=(0.6, 0.15)))
    line = PathScan(positions_angstrom=np.column_stack([np.linspace(0, 1.9, 5), np.zeros(5)]))
    scope = make(strayed)
    scope.set(C10=30.0)
    beam = scope.truth()["beam"]
    counts = scope.acquire_spectrum(line, detectors=(CORE,), dwell_time_us=3e6)
    sample = scope.truth()["sample"]
    times = 1.5 + 3.0 * np.arange(5)
    true = PathScan(positions_angstrom=line.positions_angstrom - times[:, None] * np.array([0.15, 0.6]))
    incident = noise.electrons_per_point(50.0, 3.0)
    camera = replace(CORE, zero_loss_fwhm_ev=1e-3)
    right = incident * expected_eels(sample, beam, true, camera, phonons="static").eels.sum("energy_ev")
    wrong = incident * expected_eels(sample, beam, line, camera, phonons="static").eels.sum("energy_ev")
    measured = counts.eels.sum("energy_loss_ev")
    sigma = math.sqrt(float(right.max()))
    assert float(np.abs(measured - right).max()) < 5 * sigma
    assert float(np.abs(measured - wrong).max()) > 10 * sigma


def test_the_spectrum_drifts_with_the_beams_energy(make: Callable[..., Microscope]) -> None:
    """A beam whose energy has risen by dE shows its zero-loss peak at -dE; nothing of it is lost."""
    moving = replace(IDEAL, energy_width_ev=0.5, instabilities=Instabilities(energy_sigma_ev=2.0, energy_tau_s=1.0))
    scope = make(moving)
    sharp = replace(LOW, energy_range_ev=(-20.0, 20.0), dispersion_ev=0.1, zero_loss_fwhm_ev=None)
    line = PathScan(positions_angstrom=np.zeros((12, 2)))
    out = scope.acquire_spectrum(line, detectors=(sharp,), dwell_time_us=1e6)
    peaks = out.energy_loss_ev.to_numpy()[out.eels.to_numpy().argmax(axis=-1)]
    true = scope._setup.course.energy_shift_ev(np.arange(12) + 0.5)
    np.testing.assert_allclose(peaks, -true, atol=0.11)
    assert np.ptp(true) > 1
    still = make(replace(IDEAL, energy_width_ev=0.5)).acquire_spectrum(
        line, detectors=(replace(sharp, energy_range_ev=(-20.0, 20.0)),), dwell_time_us=1e6
    )
    np.testing.assert_allclose(out.eels.sum("energy_loss_ev"), still.eels.sum("energy_loss_ev"), rtol=2e-3)


def test_the_source_gives_the_zero_loss_its_width(make: Callable[..., Microscope]) -> None:
    """Without a width of its own, the zero-loss peak is as wide as the beam's energies; a narrower one is refused, a wider one blurs."""
    scope = make(replace(IDEAL, energy_width_ev=0.8))
    fine = EELSDetector(energy_range_ev=(-6.0, 6.0), dispersion_ev=0.02, collection_mrad=40, point_spread_channels=0)

    def width(detector: EELSDetector) -> float:
        counts = scope.acquire_spectrum((0.0, 0.0), detectors=(detector,), dwell_time_us=1e6).eels.to_numpy()
        return 0.02 * float((counts > counts.max() / 2).sum())

    assert width(fine) == pytest.approx(0.8, abs=0.05)
    assert width(replace(fine, zero_loss_fwhm_ev=1.2)) == pytest.approx(1.2, abs=0.06)
    with pytest.raises(SettingsError, match=r"less than the energy width of .* 0\.8 eV"):
        scope.acquire_spectrum((0.0, 0.0), detectors=(replace(fine, zero_loss_fwhm_ev=0.3),))


@pytest.mark.parametrize(
    "scan",
    [
        RasterScan(shape=(3, 4), field_of_view_angstrom=(3.0, 3.9), rotation_rad=0.3),
        SparseScan(shape=(4, 4), field_of_view_angstrom=(3.9, 3.9), fraction=0.4, seed=1),
        SpiralScan(shape=(9,), diameter_angstrom=3.9),
        PathScan(positions_angstrom=np.array([[0.0, 0.0], [1.95, 1.95]])),
    ],
    ids=lambda scan: type(scan).__name__,
)
def test_any_scan(make: Callable[..., Microscope], scan: object) -> None:
    """Spectra come along any scan, at its points alone, where an image's counts are."""
    out = make().acquire(scan, dwell_time_us=1e4, detectors=(AnnularDetector(inner_mrad=0, outer_mrad=40, name="disc"), WIDE))  # type: ignore[arg-type]
    total = out.eels.sum("energy_loss_ev").to_numpy().astype(float)
    assert total.shape == out.disc.shape
    np.testing.assert_allclose(total, out.disc.to_numpy().astype(float), rtol=3e-3, atol=1)


def test_the_same_bits_again(make: Callable[..., Microscope]) -> None:
    """A restored snapshot and a second microscope of the same seed give the same counts; another seed, or the next frame, others."""
    profile = replace(IDEAL, instabilities=Instabilities(drift_speed_angstrom_per_s=0.5, energy_sigma_ev=0.5))
    scope = make(profile)
    scope.acquire(SCAN)
    start = scope.snapshot()
    first = scope.acquire_spectrum(SCAN, detectors=(LOW, XRAYS), dwell_time_us=1e4)
    again = scope.acquire_spectrum(SCAN, detectors=(LOW, XRAYS), dwell_time_us=1e4)
    scope.restore(start)
    xr.testing.assert_identical(scope.acquire_spectrum(SCAN, detectors=(LOW, XRAYS), dwell_time_us=1e4), first)
    twin = make(profile)
    twin.acquire(SCAN)
    xr.testing.assert_identical(twin.acquire_spectrum(SCAN, detectors=(LOW, XRAYS), dwell_time_us=1e4), first)
    assert not np.array_equal(first.eels, again.eels)
    xr.testing.assert_identical(
        make(profile).acquire_spectrum(SCAN, detectors=(LOW,)).eels, make(profile).acquire_spectrum(SCAN, detectors=(LOW, XRAYS)).eels
    )


def test_a_point(make: Callable[..., Microscope]) -> None:
    """A spectrum at a point has its energies alone; names have usual settings; what it costs is foretold."""
    scope = make()
    cost = scope.estimate_cost("acquire_spectrum", (1.0, 2.0), dwell_time_us=5e5)
    out = scope.acquire_spectrum((1.0, 2.0), dwell_time_us=5e5, edges=("Ti_L3", "O_K"))
    assert out.eels.dims == ("energy_loss_ev",)
    assert out.edx.dims == ("photon_energy_ev",)
    assert (float(out.x), float(out.y)) == (1.0, 2.0)
    assert cost["time_s"] == pytest.approx(scope.time_s) == 0.5
    assert cost["electrons"] == pytest.approx(scope.spent["electrons"])
    assert float(out.eels.sel(energy_loss_ev=slice(-2, 2)).sum()) > 0.9 * float(out.eels.sum())


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"detectors": (LOW,), "edges": ("Ti_L3",)}, SettingsError, r"does not contain the edge Ti_L3 at 456 eV"),
        ({"detectors": (XRAYS,), "edges": ("Ti_L3",)}, SettingsError, "does not include EELS"),
        ({"detectors": (LOW,), "edges": ("Ti_Q1",)}, UnknownNameError, "no edge named 'Ti_Q1'"),
        ({"detectors": (LOW, CORE)}, SettingsError, "2 EELS detectors"),
        ({"detectors": ("edx", XRAYS)}, SettingsError, "2 EDX detectors"),
        ({"detectors": ("eels", "haadff")}, UnknownNameError, "Did you mean 'haadf'"),
        ({"at": 3.0}, SettingsError, "at=3.0"),
        ({"dwell_time_us": 1e9}, SettingsError, "dwell_time_us"),
        ({"dwell_time_us": 2e7}, InstrumentError, "overflow"),
        ({"at": RasterScan(shape=(16000, 16000), field_of_view_angstrom=(3, 3))}, SettingsError, r"16000 x 16000 spectra of 2048 channels .* GiB"),
    ],
)
def test_what_is_refused_changes_nothing(make: Callable[..., Microscope], asked: dict, error: type[StemtwinError], words: str) -> None:
    """What cannot be done is refused with the numbers, and nothing has happened."""
    scope = make()
    before = scope.snapshot()
    with pytest.raises(error, match=words):
        scope.acquire_spectrum(**{"at": (0.0, 0.0), **asked})
    assert scope.snapshot() is before


def test_elements_and_specimens_without_data(make_atom: Callable[..., Sample], nothing: PotentialSlices) -> None:
    """An element without edges or X-rays, a potential, and losses of something else are refused before any work."""
    heavy = Microscope(make_atom(3.5, 3.5, number=99), IDEAL)
    for detector, words in ((LOW, "Es|99"), (XRAYS, "X-ray data of element 99 are not available")):
        before = heavy.snapshot()
        with pytest.raises(SettingsError, match=words):
            heavy.acquire_spectrum((0.0, 0.0), detectors=(detector,))
        assert heavy.snapshot() is before
    with pytest.raises(SettingsError, match="without atoms"):
        Microscope(nothing, IDEAL).acquire_spectrum((0.0, 0.0))
    with pytest.raises(SettingsError, match="is not a LossModel"):
        Microscope(nothing, IDEAL, losses="gold")  # type: ignore[arg-type]


def test_a_cube_that_does_not_fit_in_memory(make: Callable[..., Microscope], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is counted before any work: expected counts, one pass and all passes, 4 bytes a channel."""
    asked = []
    monkeypatch.setattr(memory, "fits", lambda needed: asked.append(needed - memory.program()) or True)
    make().acquire_spectrum(SCAN, detectors=(LOW,), frames=3)
    assert any(abs(each - 4 * 12 * LOW.channels * 5) < 2**24 for each in asked)


def test_the_specimens_losses_are_settings(make: Callable[..., Microscope]) -> None:
    """What the microscope is told of its specimen's losses reaches its spectra."""
    usual = make().acquire_spectrum((0.0, 0.0), detectors=(CORE,), dwell_time_us=3e6).eels.astype(float)
    trivalent = make(losses=LossModel(valences=(("Ti", 3.0),))).acquire_spectrum((0.0, 0.0), detectors=(CORE,), dwell_time_us=3e6).eels.astype(float)
    assert float(np.abs(usual - trivalent).max()) > 5 * math.sqrt(float(usual.max()))
