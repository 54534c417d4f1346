"""stemtwin/SparseScan: images are those of a dense Gaussian process, scenes those of single scattering, budgets bind, and faults are felt."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.envs import image_trees, sparse_instrument, sparse_paths, sparse_scenes
from stemtwin.twin.envs.families.sparse_scan import SparseSampling, SparseScanning
from stemtwin.twin.envs.functional_env import StemEnv
from stemtwin.twin.envs.image_trees import TreePrior, reconstruct
from stemtwin.twin.envs.sparse_instrument import PRESETS, USUAL_DWELL_US
from stemtwin.twin.envs.sparse_paths import COUNT, KINDS, block
from stemtwin.twin.envs.sparse_scenes import PROFILE, SEMIANGLE_MRAD, Specimen, expected_image
from stemtwin.twin.errors import SettingsError, StemtwinError
from stemtwin.twin.instrument.hardware.profiles import find_profile
from stemtwin.twin.physics import electrons, thermal_scattering
from stemtwin.twin.samples import metals, particles

ID = "stemtwin/SparseScan-v1"
SMALL: dict[str, Any] = {"difficulty": "easy", "points": 64, "randomisation": {"samples": ("au-particle-carbon",)}}
corner = st.floats(0, 1)


def make(**given: Any) -> StemEnv:
    """Return the small environment without Gymnasium's wrappers."""
    env = gym.make(ID, **{**SMALL, **given}).unwrapped
    assert isinstance(env, StemEnv)
    return env


def drawn(**changes: Any) -> dict[str, Any]:
    """Return the small environment's randomisation with changes."""
    return {**SMALL["randomisation"], **changes}


def state_of(env: StemEnv) -> SparseSampling:
    """Return the state of an episode."""
    assert isinstance(env._state, SparseSampling)
    return env._state


def line(y: float, *, dwell: float = 0.0, stop: float = -1.0, kind: float = -1.0) -> np.ndarray:
    """Return the action that scans the field at a height, -1 to 1."""
    return np.array([kind, -1, y, 1, y, stop, dwell], np.float32)


@pytest.mark.parametrize("structured", [False, True])
def test_a_tree_is_a_gaussian_process(structured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and variance of one tree are those of the dense process whose covariance is that of the squares that two pixels share."""
    monkeypatch.setattr(image_trees, "SHIFTS", ((0, 0),))
    n, rng, prior = 16, np.random.default_rng(1), TreePrior()
    seen, value, noise = rng.random((n, n)) < 0.2, rng.normal(size=(n, n)), rng.uniform(0.05, 0.5, (n, n))
    structure = rng.uniform(0.2, 3, (n, n)) if structured else np.ones((n, n))
    (mean,), (variance,) = image_trees._Trees(value, seen, prior).smooth(noise, structure)
    side = 2 * image_trees.BLOCK
    whole = np.full((side, side), structure.min())
    whole[:n, :n] = structure
    y, x = (axis.ravel() for axis in np.mgrid[:n, :n])
    covariance, level = np.ones((n * n, n * n)), whole.mean()
    for number, share in enumerate(prior.shares):
        size = image_trees.BLOCK >> number
        around = np.kron(whole.reshape(side // size // 2, 2 * size, -1, 2 * size).mean(axis=(1, 3)), np.ones((2 * size, 2 * size)))
        part = np.full(n * n, level) if number == 0 else around[:n, :n].ravel()
        same = (y[:, None] // size == y // size) & (x[:, None] // size == x // size)
        covariance = covariance + share * same * part[:, None]
    at = np.flatnonzero(seen.ravel())
    gain = covariance[:, at] @ np.linalg.inv(covariance[np.ix_(at, at)] + np.diag(noise.ravel()[at]))
    np.testing.assert_allclose(mean.ravel(), gain @ value.ravel()[at], atol=1e-4)
    np.testing.assert_allclose(variance.ravel(), np.diag(covariance) - (gain * covariance[:, at]).sum(axis=1), rtol=1e-3)


def test_images_go_with_the_signal() -> None:
    """The same counts of half as many electrons are an image twice as bright, and twice as unsure."""
    rng = np.random.default_rng(2)
    exposure = np.where(rng.random((64, 64)) < 0.1, 2000.0, 0.0)
    counts = rng.poisson(0.005 * exposure).astype(float)
    one, two = reconstruct(counts, exposure, TreePrior()), reconstruct(counts, exposure / 2, TreePrior())
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(2 * a, b, rtol=1e-4, atol=1e-9)


def test_uncertainty_is_honest_where_the_image_is_even() -> None:
    """Of an even image at least 90 % of the points lie within 1.645 standard deviations, and the error falls with the dose."""
    errors = []
    for dose in (500.0, 8000.0):
        rng = np.random.default_rng(3)
        exposure = np.where(rng.random((128, 128)) < 0.15, dose, 0.0)
        mean, deviation = reconstruct(rng.poisson(0.004 * exposure).astype(float), exposure, TreePrior())
        assert (abs(mean - 0.004) < 1.645 * deviation).mean() > 0.9
        errors.append(float(np.sqrt(((mean - 0.004) ** 2).mean())))
    assert errors[1] < errors[0] < 0.05 * 0.004


def test_an_even_layer_scatters_its_cross_section() -> None:
    """A layer of so many atoms for an area scatters that many cross-sections everywhere; an atom's image adds up to one of them."""
    specimen, sigma = Specimen(64), sparse_scenes.rms(metals.GOLD)
    specimen.of(79, sigma)[...] = 0.05 * specimen.cell**2
    profile = find_profile(PROFILE)
    scatterer = thermal_scattering.atom(79, sigma, electrons.interaction_constant(profile.energy_ev))
    radius = SEMIANGLE_MRAD * 1e-3 / electrons.wavelength(profile.energy_ev)
    section = thermal_scattering.into_ring(scatterer, sparse_scenes.detector_ring(profile), radius, np.zeros(1))[0][0]
    np.testing.assert_allclose(specimen.image(), 0.05 * section, rtol=1e-9)
    single = Specimen(64)
    single.add(79, sigma, np.array([[81.0, 71.0]]))
    image = single.image()
    assert image.sum() * sparse_scenes.PITCH_ANGSTROM**2 == pytest.approx(section, rel=0.02)
    assert np.unravel_index(image.argmax(), image.shape) == (27, 32)


@pytest.mark.slow
@pytest.mark.parametrize("diameter", [20.0, 40.0])
def test_a_particle_is_as_bright_as_in_the_engine(diameter: float) -> None:
    """The image of a gold particle is within 15 % of that of the engine ``thermal``, which scatters twice and loses waves, and 30 % at its middle."""
    import stemtwin as st_
    from stemtwin.twin.samples.sample import Sample

    turn = particles.rotation("random", np.random.Generator(np.random.Philox(1)))
    atoms, sigma, side = sparse_scenes.particle(metals.GOLD, diameter) @ turn.T, sparse_scenes.rms(metals.GOLD), 64.0
    ours = Specimen(32)
    ours.add(79, sigma, atoms[:, :2] + ours.side / 2)
    places = atoms + np.array([side / 2, side / 2, 2 - atoms[:, 2].min()])
    height = float(np.ptp(atoms[:, 2])) + 4
    sample = Sample(
        name="particle", numbers=np.full(len(atoms), 79), positions_angstrom=places, size_angstrom=(side, side), thickness_angstrom=height,
        thermal_sigma_angstrom=np.full(len(atoms), sigma),
    )  # fmt: skip
    detector = find_profile(PROFILE).detector("haadf")
    assert detector is not None
    ring = st_.AnnularDetector(inner_mrad=detector.inner_mrad, outer_mrad=detector.outer_mrad)  # type: ignore[attr-defined] - a ring
    scan = st_.RasterScan(shape=(32, 32), field_of_view_angstrom=(side, side), origin_angstrom=(1.0, 1.0))
    beam = st_.Beam(energy_ev=find_profile(PROFILE).energy_ev, semiangle_mrad=SEMIANGLE_MRAD)
    found = st_.simulate(sample, beam, scan, detectors=(ring,), engine="thermal", measure_error=False)
    image = next(iter(found.data_vars.values())).to_numpy()
    assert ours.image().sum() == pytest.approx(image.sum(), rel=0.15)
    assert ours.image().max() == pytest.approx(image.max(), rel=0.3)
    assert np.corrcoef(ours.image().ravel(), image.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("sample", ["au-particle-carbon", "mos2-1h", "al-sigma5-310"])
def test_scenes_are_sparse_and_never_the_same(sample: str) -> None:
    """Most of a field is even, some of it is not, and another number is another scene."""
    preset = PRESETS["easy"]
    one, again, other = (expected_image(sample, number, preset.scene, 64) for number in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.5
    contrast = abs(one - np.median(one))
    assert 0.002 < (contrast > 0.2 * contrast.max()).mean() < 0.35


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(KINDS), corners=st.tuples(corner, corner, corner, corner), dwell=st.floats(2.5, 40.0))
def test_blocks_stay_in_their_rectangle_and_take_their_time(kind: str, corners: tuple[float, float, float, float], dwell: float) -> None:
    """All points lie in the rectangle of the corners; time is 64 dwell times, a flyback, and 40 us for every way beyond three points."""
    way = block(kind, corners, 128, PROFILE)
    ends = np.sort(np.rint(np.array(corners).reshape(2, 2)[:, ::-1] * 127), axis=0)
    assert (way.pixels >= ends[0] - 1).all()
    assert (way.pixels <= ends[1] + 1).all()
    hops = sum(math.dist(a, b) > sparse_paths.REACH for a, b in zip(way.pixels[:-1], way.pixels[1:], strict=True))
    assert way.time_us(dwell) == pytest.approx(COUNT * dwell + 100 + 40 * hops)
    timing = way.timing(dwell)
    assert timing.duration_s == pytest.approx(way.time_us(dwell) * 1e-6)
    assert timing.arrival_s[-1] + timing.dwell_s == pytest.approx(timing.duration_s)


@pytest.mark.parametrize("difficulty", list(PRESETS))
def test_the_budget_is_that_of_the_raster(difficulty: str) -> None:
    """Overview and raster spend dose and path time to the last microsecond."""
    preset = PRESETS[difficulty]
    ways = [sparse_paths.overview(128, PROFILE), *sparse_paths.raster(preset.blocks(128) - 1, 128, PROFILE)]
    dose, time = sparse_instrument.budget(preset, 128)
    assert dose == COUNT * len(ways)
    assert time == pytest.approx(sum(way.time_us(USUAL_DWELL_US) for way in ways))


def test_budgets_bind_and_end_an_episode() -> None:
    """Whatever is asked for, dose and time stay below their budgets; the next action after them is a truncation, or the declaration."""
    env, rng = make(), np.random.default_rng(5)
    for seed in range(2):
        env.reset(seed=seed)
        dose, time = env.task.budget  # type: ignore[attr-defined] - of this family
        over = False
        while not over:
            action = rng.uniform(-1, 1, 7).astype(np.float32)
            action[5] = -1
            before = state_of(env)
            *_, terminated, truncated, _ = env.step(action)
            state, over = state_of(env), terminated or truncated
            assert state.dose <= dose + 1e-9
            assert state.time_us <= time + 1e-6
        assert truncated
        assert not terminated
        assert state.known is before.known
        assert env.task.spent(state) > 0.9  # type: ignore[attr-defined] - of this family


def test_a_declared_end_scans_nothing_and_pays_the_skill() -> None:
    """The stop leaves dose and image; it is worth 1 - r, and nothing where the raster is better."""
    env = make(reward="sparse")
    env.reset(seed=1)
    before = state_of(env)
    _, reward, terminated, *_ = env.step(line(0, stop=1))
    assert terminated
    assert reward == 0
    assert state_of(env).known is before.known
    family = env.task
    assert isinstance(family, SparseScanning)
    better = SparseSampling(**{**{name: getattr(before, name) for name in SparseSampling.__slots__}, "found": (0.4 * before.raster[0], 0.0, 1.0)})
    assert family.achievement(better) == pytest.approx(0.6)
    assert family.potential(better) == pytest.approx(1 / 1.16)


def test_a_raster_is_as_good_as_the_raster() -> None:
    """Lines of the raster, scanned by actions, leave the error of the raster that the score compares with, within its noise."""
    env, skills = make(split="val", observation="state"), []
    lines = PRESETS["easy"].blocks(64) - 1
    for seed in range(4):
        env.reset(seed=1000 + seed)
        for y in (np.arange(lines) + 0.5) / lines:
            env.step(line(float(2 * y - 1)))
        skills.append(env.task.skill(state_of(env)))  # type: ignore[attr-defined] - of this family
    assert abs(np.mean(skills)) < 0.1


def test_faults_are_felt() -> None:
    """A block that is not carried out takes a flyback and no dose, and tells so; behind a closed valve nothing is counted, and the books go on."""
    env = make(randomisation=drawn(failing=0.9))
    env.reset(seed=2)
    failed = 0
    for _ in range(10):
        before = state_of(env)
        observation, *_ = env.step(line(0))
        after = state_of(env)
        assert observation["taken"][0] == (0 if after.known is before.known else COUNT)
        if after.known is before.known:
            failed += 1
            assert not observation["readings"].any()
            assert observation["electrons"][0] == 0
            assert after.dose == before.dose
            assert after.time_us == pytest.approx(before.time_us + 100)
    assert failed >= 5
    env = make(randomisation=drawn(closed_valve=1.0))
    env.reset(seed=2)
    observation, *_, info = env.step(line(0))
    assert observation["readings"].sum() == 0
    assert info["cost"]["dose_e_per_angstrom2"] > before.conditions.electrons_per_point * COUNT / 128**2


def test_wrong_settings_are_refused() -> None:
    """Sizes and samples that there are none of, and conditions that are not drawn, end in a sentence."""
    with pytest.raises(SettingsError, match="points=100 is not a permitted number"):
        make(points=100)
    with pytest.raises(StemtwinError, match="samples='graphene' is unknown"):
        make(randomisation={"samples": ("graphene",)})
    with pytest.raises(StemtwinError, match="does not draw 'drift'"):
        make(randomisation={"drift": (0.0, 1.0)})


def test_readings_are_those_of_the_chain() -> None:
    """Readings in electrons have the mean of the expected signal with and without a chain; with one they are ADU above its offset."""
    even, rng = np.full((64, 64), 0.02), np.random.default_rng(4)
    for faults, least in ((False, 0), (True, 900)):
        chain, way = sparse_instrument.chain_of(PROFILE, faults=faults), sparse_paths.overview(64, PROFILE)
        nothing = sparse_instrument.nothing(64)
        known = sparse_instrument.recorded(nothing, way, even, electrons=4000.0, dwell_us=10.0, chain=chain, rng=rng)
        assert known.readings.min() > least
        assert known.counts.sum() / known.exposure.sum() == pytest.approx(0.02, rel=0.1)
        assert known.visits.sum() == COUNT
