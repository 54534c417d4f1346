"""A tilted beam: its pattern moves across detectors that stay, and it meets what is deep elsewhere."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector, SegmentedDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import operator_cache, simulate, slice_stacks
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import electrons, potential, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=Aberrations(C10=-20, C12=10, phi12=0.3, C21=300, phi21=1.0))
POINTS = PathScan(positions_angstrom=np.array([[0.2, 0.1], [1.1, 2.3], [7.5, 1.9]]))
NAMES = ("maadf", "laadf", "bf", "dpc4")
RING = AnnularDetector(inner_mrad=60, outer_mrad=100, name="ring")


@pytest.fixture(scope="module")
def slabs() -> PotentialSlices:
    """Return three planes of random, strong and smooth potential in a cell that holds the probe."""
    rng = np.random.default_rng(5)
    v = np.fft.ifft2(
        np.fft.fft2(rng.gamma(0.3, 900.0, (3, 240, 250))) * np.exp(-np.hypot(np.fft.fftfreq(240)[:, None], np.fft.fftfreq(250)) * 12)
    ).real
    return PotentialSlices(array=v, sampling_angstrom=(0.065, 0.065), z_angstrom=np.array([2.0, 14.0, 30.0]))


def overlap(radius: float, other: float, distance: float) -> float:
    """Return the area that two discs share."""
    if distance >= radius + other:
        return 0.0
    if distance <= abs(radius - other):
        return np.pi * min(radius, other) ** 2
    a, b = ((r**2 + distance**2 - s**2) / (2 * distance * r) for r, s in ((radius, other), (other, radius)))
    kite = (radius + other - distance) * (distance + radius - other) * (distance - radius + other) * (distance + radius + other)
    return radius**2 * np.arccos(a) + other**2 * np.arccos(b) - 0.5 * np.sqrt(kite)


@pytest.mark.parametrize("tilt", [(8.0, -6.0), (0.0, 24.0), (-40.0, 0.0), (48.0, 64.0)])
def test_the_disc_moves_across_the_detectors(tilt: tuple[float, float]) -> None:
    """In vacuum each detector collects the part of the tilted disc that lies on it, to what reciprocal pixels do to edges; far off all or nothing."""
    nothing = PotentialSlices(array=np.zeros((1, 375, 360)), sampling_angstrom=(0.04, 0.045), z_angstrom=np.zeros(1))
    disc = AnnularDetector(inner_mrad=0, outer_mrad=10, name="disc")
    beam, distance = replace(BEAM, beam_tilt_mrad=tilt), float(np.hypot(*tilt))
    ring = AnnularDetector(inner_mrad=55 if distance > 50 else 10, outer_mrad=105 if distance > 50 else 30, name="ring")
    data = simulate.simulate(nothing, beam, POINTS, detectors=(disc, ring), engine="multislice")
    area = np.pi * 20**2
    np.testing.assert_allclose(data["disc"], overlap(10, 20, distance) / area, atol=0.01)
    np.testing.assert_allclose(data["ring"], (overlap(ring.outer_mrad, 20, distance) - overlap(ring.inner_mrad, 20, distance)) / area, atol=0.01)
    if distance > 35:
        assert float(data["disc"].max()) < 1e-7
    if distance > 50:
        np.testing.assert_allclose(data["ring"], 1, rtol=1e-5)


def test_a_beam_that_runs_towards_x_lights_the_side_of_x() -> None:
    """The tilt's order and sign: (x, y), towards +x and +y."""
    nothing = PotentialSlices(array=np.zeros((1, 200, 200)), sampling_angstrom=(0.1, 0.1), z_angstrom=np.zeros(1))
    quarters = SegmentedDetector(inner_mrad=0, outer_mrad=40, segments=4, rotation_rad=0.0, name="dpc")  # +x, +y, -x, -y
    for number, tilt in enumerate([(15, 0), (0, 15), (-15, 0), (0, -15)]):
        data = simulate.simulate(nothing, replace(BEAM, beam_tilt_mrad=tilt), POINTS, detectors=(quarters,))["dpc"].isel(point=0)
        assert int(data.argmax("segment")) == number


def laboratory(slabs: PotentialSlices, beam: Beam, point: np.ndarray, cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the exit wave's Fourier coefficients (ny, nx) and frequencies (ky, kx) of a beam with q = cells / extent, by numpy, at rest."""
    asked = Request(sample=slabs, beam=replace(beam, beam_tilt_mrad=(0, 0)), scan=POINTS, detectors=("bf",), antialias=False, oversampling=1)
    grid = make_plan(asked).grid
    ky, kx = grid.ky[:, None], grid.kx
    a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, beam.wavelength_angstrom, beam.semiangle_rad, beam.aberrations, antialias=False)
    y, x = grid.sampling[0] * np.arange(grid.shape[0])[:, None], grid.sampling[1] * np.arange(grid.shape[1])
    q = cells[0] / grid.extent[0], cells[1] / grid.extent[1]
    wave = np.fft.ifft2(a * np.exp(-2j * np.pi * (kx * point[0] + ky * point[1]))) * np.exp(2j * np.pi * (q[0] * y + q[1] * x))
    inside = np.roll(grid.band, cells, axis=(0, 1))  # the band is centred on the beam
    z, spectrum = 0.0, np.fft.fft2(wave)
    for v, depth in zip(slabs.array, slabs.z_angstrom, strict=True):
        wave = np.fft.ifft2(spectrum * inside * np.exp(-1j * np.pi * beam.wavelength_angstrom * (depth - z) * (ky**2 + kx**2)))
        wave = wave * potential.transmission(v, electrons.interaction_constant(beam.energy_ev), grid)
        z, spectrum = depth, np.fft.fft2(wave) * inside
    return spectrum, ky, kx


@pytest.mark.parametrize("cells", [(5, -9), (-12, 4)])
def test_it_is_the_probe_times_a_phase_ramp(slabs: PotentialSlices, cells: tuple[int, int]) -> None:
    """The probe's wave times exp(2 pi i q.r), through plain numpy's multislice at rest, gives signals and exit waves of the tilted beam."""
    wavelength = BEAM.wavelength_angstrom
    tilt = tuple(1e3 * wavelength * n / side for n, side in zip(cells[::-1], slabs.size_angstrom[::-1], strict=True))
    beam = replace(BEAM, beam_tilt_mrad=tilt)
    asked = Request(sample=slabs, beam=beam, scan=POINTS, detectors=(*NAMES, RING), antialias=False, oversampling=1, engine="multislice")
    plan = make_plan(asked)
    assert plan.blocks == (1, 1)
    ours = simulate.expected(asked, plan)[0]
    for number, point in enumerate(POINTS.positions()):
        spectrum, ky, kx = laboratory(slabs, beam, point, cells)
        pixel = plan.grid.reciprocal_sampling
        weights = np.concatenate([d.weights(ky, kx, pixel, wavelength, antialias=False) for d in plan.detectors])
        np.testing.assert_allclose(ours[:, number], (weights * np.abs(spectrum) ** 2).sum(axis=(1, 2)), rtol=2e-5, atol=1e-7)
    wave = simulate.exit_wave(slabs, beam, position_angstrom=tuple(POINTS.positions()[2]), antialias=False, oversampling=1)
    wave = (wave["wave_real"] + 1j * wave["wave_imag"])[0].to_numpy()
    theirs = np.fft.ifft2(spectrum) * spectrum.size / np.sqrt(np.prod(plan.grid.extent))
    assert np.abs(wave - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_an_atom_at_depth_z_appears_where_the_beam_comes_from() -> None:
    """A beam towards +x meets an atom at depth z when the probe stands at x - z tan t: it appears there."""
    deep = Sample(
        name="deep", numbers=[38], positions_angstrom=[[8, 8, 30.0]], size_angstrom=(16, 16), thickness_angstrom=31, thermal_sigma_angstrom=None
    )
    for axis, tilt in ((0, (20.0, 0.0)), (1, (0.0, 20.0))):
        at = np.full((61, 2), 8.0)
        at[:, axis] = np.linspace(6.5, 9.5, 61)
        beam = Beam(energy_ev=100e3, semiangle_mrad=15, beam_tilt_mrad=tilt)
        signal = simulate.simulate(deep, beam, PathScan(positions_angstrom=at), detectors=(RING,), phonons="static")["ring"].to_numpy()
        assert (at[:, axis] * signal**4).sum() / (signal**4).sum() == pytest.approx(8.0 - 30 * 20e-3, abs=0.05)


def test_it_is_the_opposite_tilt_of_the_specimen_with_detectors_moved_along(slabs: PotentialSlices) -> None:
    """Who turns with the beam sees a specimen tilted the other way, and detectors that have moved by minus the tilt."""
    tilt = (7.0, -18.0)
    beam = replace(BEAM, beam_tilt_mrad=tilt)
    asked = Request(sample=slabs, beam=beam, scan=POINTS, detectors=(*NAMES, RING), engine="multislice")
    plan = make_plan(asked)
    straight = replace(asked, beam=BEAM)
    stack = next(slice_stacks.stacks(straight, plan))
    turned = SliceStack(
        grid=stack.grid, wavelength=stack.wavelength, transmission=stack.transmission, planes=stack.planes, thickness=stack.thickness,
        tilt=(np.arctan(0.018), np.arctan(-0.007)),
    )  # fmt: skip
    fixed = operator_cache.detector_weights(straight, plan)

    def moved(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
        return fixed(ky - 0.018 / stack.wavelength, kx + 0.007 / stack.wavelength, pixel)

    theirs = single_probes.probe_signals(turned, POINTS.positions(), BEAM.aberrations, BEAM.semiangle_rad, moved)
    np.testing.assert_allclose(simulate.expected(asked, plan)[0], theirs, rtol=1e-6)
    assert np.abs(theirs / simulate.expected(straight, make_plan(straight))[0] - 1).max() > 0.05, "the tilt matters here"


def test_a_beam_may_follow_the_specimen(make_perovskite: Callable[..., Sample]) -> None:
    """Beam and specimen turned alike meet as before: the exit wave keeps its modulus everywhere."""
    straight, crystal = replace(BEAM, aberrations=Aberrations()), make_perovskite(4, 3, sigma=None)
    tilted = replace(straight, beam_tilt_mrad=(12, -8))
    at = {"position_angstrom": (7.0, 8.1), "sampling_angstrom": 0.1}
    waves = [
        simulate.exit_wave(crystal, straight, **at),
        simulate.exit_wave(crystal, tilted, tilt_mrad=(-8, 12), **at),
        simulate.exit_wave(crystal, tilted, **at),
    ]
    one, both, alone = (np.hypot(w["wave_real"], w["wave_imag"])[0].to_numpy() for w in waves)
    assert np.abs(both - one).max() < 1e-4 * one.max()
    assert np.abs(alone - one).max() > 0.05 * one.max(), "the tilt matters here"


@pytest.mark.parametrize("cells", [1, 4])
def test_the_operator_of_a_tilted_beam_is_multislice(make_perovskite: Callable[..., Sample], cells: int) -> None:
    """An operator built for a tilt gives what multislice gives, also with offset blocks and partial coherence, and is not that of another tilt."""
    beam = replace(BEAM, focal_spread_angstrom=5, beam_tilt_mrad=(4.3, -11.0))
    few = PathScan(positions_angstrom=POINTS.positions()[:2])
    asked = Request(sample=make_perovskite(cells, 1), beam=beam, scan=few, detectors=("maadf", "dpc4"), phonons=1)
    plan = make_plan(asked)
    assert (plan.blocks == (1, 1)) == (cells == 4)
    one, other = (simulate.expected(replace(asked, engine=engine), plan_of(asked, engine))[0] for engine in ("operator", "multislice"))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-9)
    straight = replace(asked, beam=replace(beam, beam_tilt_mrad=(0, 0)), grid=plan.grid.shape)
    assert operator_cache.physics_key(straight, plan) != operator_cache.physics_key(replace(straight, beam=beam), plan)


def plan_of(asked: Request, engine: str) -> Any:
    """Return the plan of a request with another engine."""
    return make_plan(replace(asked, engine=engine))


def test_prism_of_a_tilted_beam_is_multislice(slabs: PotentialSlices) -> None:
    """PRISM with f = 1 gives what multislice gives for a tilted beam."""
    asked = Request(sample=slabs, beam=replace(BEAM, beam_tilt_mrad=(4.3, -11.0)), scan=POINTS, detectors=NAMES, interpolation=1)
    one, other = (simulate.expected(replace(asked, engine=engine), plan_of(asked, engine))[0] for engine in ("prism", "multislice"))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


def test_the_local_operator_of_a_tilted_beam_is_checked() -> None:
    """The local operator of a tilted beam keeps its tolerance against multislice; a disc that a tilt brings onto the detector is refused."""
    rng = np.random.default_rng(3)
    at = np.column_stack([rng.uniform(2, 18, 40), rng.uniform(2, 18, 40), rng.uniform(0, 8, 40)])
    thin = Sample(
        name="thin", numbers=np.full(40, 42), positions_angstrom=at, size_angstrom=(20, 20), thickness_angstrom=8, thermal_sigma_angstrom=None
    )
    beam = Beam(energy_ev=100e3, semiangle_mrad=25, beam_tilt_mrad=(6, -9))
    scan = PathScan(positions_angstrom=rng.uniform(5, 15, (24, 2)))
    asked = Request(sample=thin, beam=beam, scan=scan, detectors=(RING,), phonons="static", slice_thickness_angstrom=2.1)
    near = simulate.simulate(replace(asked, engine="local", tolerance=0.02))["ring"].to_numpy()
    exact = simulate.simulate(replace(asked, engine="multislice"))["ring"].to_numpy()
    assert np.sqrt(((near - exact) ** 2).mean()) / exact.mean() < 0.02
    with pytest.raises(SamplingError, match="dark field"):
        simulate.simulate(replace(asked, beam=replace(beam, beam_tilt_mrad=(40, 0)), engine="local"))


def test_no_tilt_changes_no_bit(slabs: PotentialSlices) -> None:
    """A tilt of zero is no tilt: the specimen's tilt reaches the engine as it is, and detectors are where they were."""
    asked = Request(sample=slabs, beam=BEAM, scan=POINTS, detectors=NAMES, tilt_mrad=(3.0, -4.0))
    assert next(slice_stacks.stacks(asked, make_plan(asked))).tilt == (3e-3, -4e-3)
    plan, k = make_plan(asked), np.linspace(-1, 1, 101)
    direct = np.concatenate([d.weights(k[:, None], k, (0.1, 0.1), BEAM.wavelength_angstrom, antialias=True) for d in plan.detectors])
    assert np.array_equal(operator_cache.detector_weights(asked, plan)(k[:, None], k, (0.1, 0.1)), direct)


def test_what_a_grid_must_hold_grows_by_the_tilt(static: Sample) -> None:
    """Detectors stay on the axis, waves are centred on the beam: grids are chosen, and detectors refused, with the tilt added."""
    beam = replace(BEAM, beam_tilt_mrad=(30, 40))
    straight, tilted = (make_plan(Request(sample=static, beam=b, scan=POINTS, detectors=(RING,))) for b in (BEAM, beam))
    assert tilted.grid.max_angle(BEAM.wavelength_angstrom) >= 150e-3 * (1 - 1e-6)
    with pytest.raises(SamplingError, match="50 mrad of beam tilt"):
        make_plan(Request(sample=static, beam=beam, scan=POINTS, detectors=(RING,), grid=straight.grid.shape))
    coarse = PotentialSlices(array=np.zeros((1, 96, 96)), sampling_angstrom=(0.2, 0.2), z_angstrom=[0])
    with pytest.raises(SamplingError, match="Use sampling_angstrom"):
        simulate.exit_wave(coarse, beam)


def test_files_and_attributes_have_the_tilt(static: Sample, tmp_path: Path) -> None:
    """A tilt survives TOML and stands in a result's settings; one beyond small angles, or no pair, is refused."""
    asked = Request(sample=static, beam=replace(BEAM, beam_tilt_mrad=[1.5, -2]), scan=POINTS, detectors=("bf",), phonons="static")
    asked.save(tmp_path / "a.toml")
    read = Request.load(tmp_path / "a.toml")
    assert read.beam == asked.beam
    assert json.loads(simulate.simulate(read).attrs["stemtwin_settings"])["beam"]["beam_tilt_mrad"] == [1.5, -2.0]
    with pytest.raises(SettingsError, match="small-angle limit of 100 mrad"):
        replace(BEAM, beam_tilt_mrad=(0, 2000))
    with pytest.raises(SettingsError, match="pair of numbers"):
        replace(BEAM, beam_tilt_mrad=3.0)
