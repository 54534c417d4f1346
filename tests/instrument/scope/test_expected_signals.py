"""Expected signals of the last pass, a part of the truth: the true positions, beam, specimen and configurations, without noise and electronics."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector
from stemtwin.twin.instrument.hardware import drift, stage
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.scan import PathScan, RasterScan, SparseScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.scope.recorders import patterns
from stemtwin.twin.instrument.scope.specimen_state import Damage
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import serialisation
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector, expected_edx, expected_eels
from stemtwin.twin.physics.dynamics.contamination import Contamination
from stemtwin.twin.physics.dynamics.processes import Process
from stemtwin.twin.samples.sample import Sample

SCAN = RasterScan(shape=(6, 7), field_of_view_angstrom=(3.0, 3.9), rotation_rad=0.2)
SPARSE = SparseScan(shape=(5, 5), field_of_view_angstrom=(3.9, 3.9), fraction=0.4, seed=1)
IMAGES = ("haadf", "bf", "dpc4")
CAMERA = PixelatedDetector(shape=(16, 16), outer_mrad=40.0)
LOSSES = EELSDetector(energy_range_ev=(-20.0, 108.0), dispersion_ev=1.0, collection_mrad=40.0, zero_loss_fwhm_ev=1.0)
XRAYS = EDXDetector(dispersion_ev=40.0, solid_angle_sr=12.0)
SHAKY = replace(
    PROFILES["ideal"],
    imperfections=ScanImperfections(line_jitter_angstrom=0.1, hum_angstrom=(0.1, 0.2), settling_fraction=0.02, hysteresis_fraction=0.01),
    instabilities=replace(drift.TYPICAL, drift_speed_angstrom_per_s=0.5, flicker=0.05),
    stage=stage.PIEZO,
    flyback_us=100.0,
)
"""An instrument with every fault but those of its detectors."""


@pytest.fixture
def make(thermal: Sample) -> Callable[..., Microscope]:
    """Return the maker of microscopes with one cell of SrTiO3 in them, in two configurations."""
    return lambda profile=SHAKY, **options: Microscope(thermal, profile, **{"seed": 1, "phonons": 2, **options})


def true_path(expected: xr.Dataset) -> PathScan:
    """Return the positions on the specimen where the beam truly was, in visiting order of a raster or of what a sparse scan visits."""
    at = np.stack([expected.specimen_x.to_numpy().ravel(), expected.specimen_y.to_numpy().ravel()], axis=1)
    return PathScan(positions_angstrom=at[np.isfinite(at[:, 0])])


def true_beam(expected: xr.Dataset) -> Beam:
    """Return the beam of the pass."""
    return serialisation.beam_from_dict(json.loads(expected.attrs["stemtwin_settings"])["beam"])


def test_there_is_none_before_the_first_pass(make: Callable[..., Microscope]) -> None:
    """Before the first frame nothing is expected; turning knobs and waiting do not change what the last pass expected."""
    scope = make()
    assert scope.truth()["expected"] is None
    scope.acquire(SCAN)
    first = scope.truth()["expected"]
    scope.set(C10=300.0, current_pa=10.0)
    scope.advance_time(100.0)
    scope.move_stage(x_angstrom=1.0)
    xr.testing.assert_identical(scope.truth()["expected"], first)


@pytest.mark.parametrize("scan", [SCAN, SPARSE], ids=["raster", "sparse"])
def test_images_are_simulated_ones_at_the_true_positions(make: Callable[..., Microscope], thermal: Sample, scan: RasterScan) -> None:
    """The expected images are, to the last bit, `simulate`'s on a path through the true positions with the true beam and the same configurations."""
    scope = make()
    scope.acquire(scan, detectors=IMAGES)
    frame = scope.acquire(scan, dwell_time_us=1e3, detectors=IMAGES)
    expected = scope.truth()["expected"]
    alone = simulate(
        thermal,
        true_beam(expected),
        true_path(expected),
        detectors=IMAGES,
        phonons=2,
        engine="operator",
        seed=scope._setup.thermal_seed,
    )
    for name in IMAGES:
        assert expected[name].dims == frame[name].dims
        values = expected[name].to_numpy()
        values = values.reshape(*values.shape[:-2], -1)[..., np.isfinite(expected.specimen_x.to_numpy().ravel())]
        np.testing.assert_array_equal(values, alone[name])
        assert expected[name].attrs["units"] == "1"
    moved = np.hypot(*(true_path(expected).positions_angstrom - scan.points()).T)
    assert moved.max() > 0.1, "drift and distortion were there"


@pytest.mark.parametrize("profile", [SHAKY, PROFILES["corrected-200kv"], PROFILES["schottky-200kv"]], ids=lambda profile: profile.name)
def test_counts_converge_to_the_expected_signal(make: Callable[..., Microscope], profile: Profile) -> None:
    """At a large dose, counts over incident electrons are the expected signal within Poisson's error, and the nominal positions' are not."""
    scope = make(replace(profile, chains=(), max_dwell_time_us=1e6))
    disc = AnnularDetector(inner_mrad=0, outer_mrad=8, name="disc")
    detectors = (disc, AnnularDetector(inner_mrad=40, outer_mrad=90, name="ring"))
    frames = scope.acquire(SCAN, dwell_time_us=2e5, frames=2, detectors=detectors)
    expected, nominal = scope.truth()["expected"], 50e-12 if profile.current_pa == 50 else 20e-12
    assert float(expected.incident_electrons.max()) == pytest.approx(nominal * 0.2 / 1.602176634e-19, rel=0.3)
    for name in ("disc", "ring"):
        counts = frames[name][-1].to_numpy().astype(float)
        mean = expected[name].to_numpy() * expected.incident_electrons.to_numpy()
        score = (counts - mean) / np.sqrt(mean)
        assert np.abs(score).max() < 5
        assert score.std() == pytest.approx(1, abs=0.4)
        before = frames[name][0].to_numpy().astype(float)
        assert np.abs((before - mean) / np.sqrt(mean)).max() > 10, "the pass before had other positions"


@pytest.mark.slow
def test_patterns_and_spectra_are_those_of_the_true_path(make: Callable[..., Microscope], thermal: Sample) -> None:
    """Expected patterns and spectra are, to the last bit, those of a path through the true positions with the true beam."""
    scope = make(replace(SHAKY, instabilities=replace(SHAKY.instabilities, energy_sigma_ev=0.0)))
    frame = scope.acquire(SCAN, dwell_time_us=1e4, detectors=("haadf", CAMERA, LOSSES, XRAYS))
    expected, seed = scope.truth()["expected"], scope._setup.thermal_seed
    assert list(expected.data_vars) == list(frame.data_vars)
    assert all(expected[name].shape == frame[name].shape for name in frame.data_vars)
    path, beam = true_path(expected), true_beam(expected)
    cube = simulate(thermal, beam, path, detectors=CAMERA, phonons=2, seed=seed).pixelated
    np.testing.assert_array_equal(expected.pixelated.to_numpy().reshape(cube.shape), cube)
    losses = expected_eels(thermal, beam, path, LOSSES, phonons=2, seed=seed, engine="operator", window_angstrom=14.0)
    np.testing.assert_array_equal(expected.eels.to_numpy().reshape(losses.eels.shape), losses.eels)
    rays = expected_edx(thermal, beam, path, XRAYS, phonons=2, seed=seed, engine="operator", window_angstrom=14.0)
    np.testing.assert_array_equal(expected.edx.to_numpy().reshape(rays.edx.shape), rays.edx)


@pytest.mark.parametrize("energy_sigma_ev", [0.0, 3.0])
def test_counts_of_patterns_and_spectra_scatter_about_what_is_expected(make: Callable[..., Microscope], energy_sigma_ev: float) -> None:
    """The variance of counts about the expected ones is Poisson's, also while the spectrum drifts with the beam's energy."""
    scope = make(replace(SHAKY, instabilities=replace(SHAKY.instabilities, energy_sigma_ev=energy_sigma_ev, energy_tau_s=1.0)))
    frame = scope.acquire(SCAN, dwell_time_us=1e4, detectors=(CAMERA, LOSSES))
    expected = scope.truth()["expected"]
    for name in ("pixelated", "eels"):
        mean = expected[name].to_numpy() * expected.incident_electrons.to_numpy().reshape(*SCAN.shape, *[1] * (frame[name].ndim - 2))
        bright = mean > 20
        assert ((frame[name].to_numpy() - mean)[bright] ** 2 / mean[bright]).mean() == pytest.approx(1, abs=6 * np.sqrt(2 / bright.sum()))


def test_sparse_scans_expect_nothing_where_the_beam_was_not(make: Callable[..., Microscope]) -> None:
    """In every signal, points are NaN exactly where the scan did not go."""
    scope = make()
    scope.acquire(SPARSE, dwell_time_us=1e3, detectors=("haadf", "dpc4", CAMERA, LOSSES))
    expected = scope.truth()["expected"]
    for name, rest in (
        ("haadf", ()),
        ("dpc4", ("segment",)),
        ("pixelated", ("ky", "kx")),
        ("eels", ("energy_loss_ev",)),
        ("specimen_x", ()),
    ):
        np.testing.assert_array_equal(np.isfinite(expected[name]).any(rest) if rest else np.isfinite(expected[name]), SPARSE.visited)


def test_a_restored_state_expects_what_it_expected(make: Callable[..., Microscope]) -> None:
    """After a restore, and through pickle, the expected signals are those of the restored state, to the last bit."""
    scope = make()
    scope.acquire(SCAN, dwell_time_us=1e3, detectors=("haadf", CAMERA, LOSSES))
    kept, first = scope.snapshot(), scope.truth()["expected"]
    scope.set(C10=50.0)
    scope.acquire(SCAN, dwell_time_us=1e3, detectors=("bf",), frames=2)
    assert list(scope.truth()["expected"].data_vars) == ["bf"]
    for state in (kept, pickle.loads(pickle.dumps(kept))):
        scope.restore(state)
        xr.testing.assert_identical(scope.truth()["expected"], first)


def test_acquisitions_compute_nothing_more(make: Callable[..., Microscope], monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are kept as they were computed; patterns are computed once in an acquisition, and once more only where the truth of them is read."""
    calls = []
    compute = patterns.diffraction_patterns.expected_patterns
    monkeypatch.setattr(patterns.diffraction_patterns, "expected_patterns", lambda *a, **k: calls.append(1) or compute(*a, **k))
    scope = make()
    scope.acquire(SCAN, detectors=("haadf", CAMERA))
    assert len(calls) == 1
    truth = scope.truth()
    assert truth["beam"].energy_ev == 200e3
    assert len(calls) == 1
    for _ in range(2):
        assert truth["expected"].pixelated.shape == (*SCAN.shape, 16, 16)
    assert len(calls) == 2
    last = scope.snapshot().last
    assert last is not None
    (image, camera) = last.signals
    assert image.values is image.bare  # type: ignore[attr-defined] - images of scanned detectors
    assert not any(isinstance(getattr(camera, name), np.ndarray) and getattr(camera, name).ndim > 2 for name in ("found", "points", "height"))


@pytest.mark.slow
def test_the_specimen_is_that_of_the_pass(make_perovskite: Callable[..., Sample]) -> None:
    """Where the pass itself has knocked atoms out, its expected image shows the specimen that it saw, and the next one's the specimen after."""
    sample = make_perovskite(3, sigma=None)
    lossy = Damage(processes=(Process(name="lose", element="Sr", action="eject", cross_section=1e-3),), relax=False)
    scope = Microscope(sample, PROFILES["ideal"], seed=1, damage=lossy)
    field = RasterScan(shape=(8, 8), field_of_view_angstrom=(7.8, 7.8))
    for frames in (1, 1):
        before, beam = scope.truth()["sample"], scope.truth()["beam"]
        scope.acquire(field, dwell_time_us=300.0, frames=frames, detectors=("haadf", "bf"))
        alone = simulate(before, beam, field, detectors=("haadf", "bf"), engine="operator")
        for name in ("haadf", "bf"):
            np.testing.assert_array_equal(scope.truth()["expected"][name], alone[name])
    assert len(scope.truth()["sample"]) < len(sample)


def test_films_are_seen_by_every_signal(make_atom: Callable[..., Sample]) -> None:
    """Under a growing film the expected signals are those of the film at the time of the pass: counts scatter about them, the first pass's do not."""
    grow = Damage(processes=(), contamination=Contamination(growth=3e-3, halo_length=100.0))
    scope = Microscope(make_atom(3.5, 3.5, number=14), PROFILES["ideal"], seed=1, damage=grow)
    scan = RasterScan(shape=(3, 3), field_of_view_angstrom=(2.0, 2.0), origin_angstrom=(3.0, 3.0))
    ring = AnnularDetector(inner_mrad=30, outer_mrad=58, name="ring")
    frames = scope.acquire(scan, dwell_time_us=3e4, frames=2, detectors=(ring, CAMERA, LOSSES))
    expected = scope.truth()["expected"]
    for name in ("ring", "pixelated", "eels"):
        incident = expected.incident_electrons.to_numpy().reshape(3, 3, *[1] * (expected[name].ndim - 2))
        mean = expected[name].to_numpy() * incident
        bright = mean > 5
        spread = [((frames[name][i].to_numpy() - mean)[bright] ** 2 / mean[bright]).mean() for i in (0, 1)]
        assert spread[1] == pytest.approx(1, abs=5 * np.sqrt(2 / bright.sum()))
        assert spread[0] > 1.5 + 5 * np.sqrt(2 / bright.sum())


def test_a_blanked_beam_leaves_the_signal_and_no_electrons(make: Callable[..., Microscope]) -> None:
    """With the beam blanked no electrons arrive; the fraction that a beam would give is what it was."""
    scope = make(PROFILES["ideal"])
    scope.acquire(SCAN)
    lit = scope.truth()["expected"]
    scope.set(blanked=True)
    scope.acquire(SCAN)
    dark = scope.truth()["expected"]
    assert float(dark.incident_electrons.max()) == 0
    np.testing.assert_array_equal(dark.haadf, lit.haadf)
