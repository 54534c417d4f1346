"""Multislice agrees with its slow twin, obeys its laws, and gives the same bits whoever calls it and however."""

import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.physics.engine.multislice import multislice
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, collect, exit_coefficients, working_memory
from stemtwin.twin.physics.grids import Grid
from tests.physics.engine import reference

SIDES = st.sampled_from([2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 18, 20, 24, 25, 27, 30, 32, 36, 40, 45, 48, 60, 64])


def make_stack(rng, shape, planes, *, thickness=None, tilt=(0.0, 0.0), sampling=(0.11, 0.09)):
    """Return a stack of random phase objects."""
    planes = np.asarray(planes, float)
    transmission = np.exp(1j * rng.uniform(-1, 1, (len(planes), *shape))).astype(np.complex64)
    grid = Grid(shape=shape, extent=(shape[0] * sampling[0], shape[1] * sampling[1]))
    thickness = planes[-1] + 0.7 if thickness is None else thickness
    return SliceStack(grid=grid, wavelength=0.0251, transmission=transmission, planes=planes, thickness=thickness, tilt=tilt)


def make_waves(rng, shape, waves, beams):
    """Return random beams (possibly repeated, possibly beyond the band) and coefficients."""
    coefficients = rng.standard_normal((waves, beams)) + 1j * rng.standard_normal((waves, beams))
    return rng.integers(0, shape[0] * shape[1], beams), coefficients.astype(np.complex64)


def vacuum(shape, planes, thickness, tilt=(0.0, 0.0)):
    """Return a stack of vacuum."""
    grid = Grid(shape=shape, extent=(shape[0] * 0.1, shape[1] * 0.1))
    ones = np.ones((len(planes), *shape), np.complex64)
    return SliceStack(grid=grid, wavelength=0.0251, transmission=ones, planes=np.array(planes), thickness=thickness, tilt=tilt)


def close(ours, theirs, tolerance=1e-5, scale=None):
    """Whether two arrays agree within a fraction of the largest element (of ``theirs``, or of ``scale``)."""
    largest = np.abs(theirs if scale is None else scale).max(initial=0.0)
    return np.abs(ours - theirs).max(initial=0.0) <= tolerance * largest + 1e-30


@given(
    shape=st.tuples(SIDES, SIDES),
    gaps=st.lists(st.sampled_from([0.3, 1.0, 1.0, 2.5]), min_size=0, max_size=5),
    first=st.sampled_from([0.0, 0.4]),
    offset=st.tuples(st.floats(-0.99, 0.99), st.floats(-0.99, 0.99)),
    tilt=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
    waves=st.integers(1, 35),
    beams=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_twin(shape, gaps, first, offset, tilt, waves, beams, seed):
    """Exit coefficients and collected signals equal the slow twin's, for any grid, planes, offset, tilt and number of waves."""
    rng = np.random.default_rng(seed)
    stack = make_stack(rng, shape, first + np.concatenate(([0.0], np.cumsum(gaps))), tilt=tilt)
    beams, coefficients = make_waves(rng, shape, waves, beams)
    weights = (rng.random((2, *shape)) * (rng.random((2, *shape)) < 0.7)).astype(np.float32)
    select = rng.integers(0, shape[0] * shape[1], 50)
    expected = reference.multislice(stack, beams, coefficients, offset).reshape(waves, -1)
    assert close(exit_coefficients(stack, beams, coefficients, select, offset=offset), expected[:, select], scale=expected)
    expected = np.einsum("dq,pq->dp", weights.reshape(2, -1), np.abs(expected) ** 2)
    assert close(collect(stack, beams, coefficients, weights, offset=offset), expected)


def test_depths():
    """A depth series equals the signals of stacks cut at those depths, in any order, repeated, and before the first plane."""
    rng = np.random.default_rng(3)
    shape = (24, 30)
    stack = make_stack(rng, shape, [0.5, 1.5, 3.0, 4.0])
    beams, coefficients = make_waves(rng, shape, 18, 12)
    weights = rng.random((3, *shape)).astype(np.float32)
    depths = (4.7, 0.2, 1.5, 3.9, 1.5)
    series = collect(stack, beams, coefficients, weights, depths=iter(depths), offset=(0.2, 0.1))
    assert series.shape == (5, 3, 18)
    for signals, planes in zip(series, (4, 0, 2, 3, 2), strict=True):
        waves = reference.multislice(stack, beams, coefficients, (0.2, 0.1), planes)
        assert close(signals, np.einsum("dyx,pyx->dp", weights, np.abs(waves) ** 2))
    assert np.array_equal(series[0], collect(stack, beams, coefficients, weights, offset=(0.2, 0.1)))


def test_waves_at_depths():
    """Waves at a depth are the twin's behind the planes above it, propagated to it, in any order, repeated, and before the first plane."""
    rng = np.random.default_rng(8)
    shape, offset = (24, 30), (0.2, 0.1)
    stack = make_stack(rng, shape, [0.5, 1.5, 3.0, 4.0], thickness=5.0, tilt=(0.05, -0.1))
    beams, coefficients = make_waves(rng, shape, 18, 12)
    select = np.arange(24 * 30)
    depths, behind = (4.7, 0.2, 1.5, 3.9, 1.6, 0.0), ((4, 4.0), (0, 0.0), (2, 1.5), (3, 3.0), (2, 1.5), (0, 0.0))
    series = exit_coefficients(stack, beams, coefficients, select, depths=iter(depths), offset=offset)
    for waves, depth, (planes, last) in zip(series, depths, behind, strict=True):
        expected = reference.multislice(stack, beams, coefficients, offset, planes) * reference.propagator(stack, depth - last, offset)
        assert close(waves, expected.reshape(18, -1))
    at_the_end = exit_coefficients(stack, beams, coefficients, select, depths=(5.0,), offset=offset)[0]
    assert close(at_the_end, exit_coefficients(stack, beams, coefficients, select, offset=offset))


@pytest.mark.parametrize("shape", [(128, 96), (60, 100)])
def test_vacuum_conserves_the_norm(shape):
    """In vacuum the wave inside the band keeps its norm over 200 planes, to 5e-7 per plane (float32 FFTs of any library drift as much)."""
    stack = vacuum(shape, np.arange(200) * 1.3, 300.0)
    rng = np.random.default_rng(4)
    beams = rng.choice(np.flatnonzero(stack.grid.band), 40, replace=False)
    coefficients = make_waves(rng, shape, 16, 40)[1]
    norm = collect(stack, beams, coefficients, np.ones((1, *shape), np.float32))[0]
    np.testing.assert_allclose(norm, (np.abs(coefficients) ** 2).sum(axis=1), rtol=1e-4)


def test_propagations_add_up():
    """Propagating over a, then over b, is propagating over a + b, with tilt and offset, and gives the analytic phase."""
    shape, offset, tilt = (40, 48), (0.3, -0.4), (0.02, -0.03)
    rng = np.random.default_rng(5)
    grid = Grid(shape=shape, extent=(4.0, 4.8))
    beams = rng.choice(np.flatnonzero(grid.k < 0.8 * grid.band_limit), 20, replace=False)
    coefficients = make_waves(rng, shape, 5, 20)[1]
    once = exit_coefficients(vacuum(shape, [0.0], 30.0, tilt), beams, coefficients, beams, offset=offset)
    halfway = exit_coefficients(vacuum(shape, [3.0], 13.0, tilt), beams, coefficients, beams, offset=offset)
    twice = exit_coefficients(vacuum(shape, [11.0], 17.0, tilt), beams, halfway, beams, offset=offset)
    assert close(twice, once, 2e-6)
    steps = exit_coefficients(vacuum(shape, [0.5, 3.0, 3.5, 29.0], 30.0, tilt), beams, coefficients, beams, offset=offset)
    assert close(steps, once, 2e-6)
    phase = reference.propagator(vacuum(shape, [0.0], 30.0, tilt), 30.0, offset).flat[beams]
    assert close(once, coefficients * phase, 1e-6)


def test_offset_moves_a_wave_by_a_reciprocal_pixel_fraction():
    """A plane wave at beam b with offset j is the plane wave of a cell twice as wide at 2 b + 2 j."""
    rng = np.random.default_rng(6)
    stack = make_stack(rng, (30, 32), [0.5, 2.0, 3.0])
    grid = stack.grid
    wide = SliceStack(
        grid=Grid(shape=(30, 64), extent=(grid.extent[0], 2 * grid.extent[1])),
        wavelength=stack.wavelength,
        transmission=np.tile(stack.transmission, (1, 1, 2)),
        planes=stack.planes,
        thickness=stack.thickness,
    )
    beam, one = np.array([2 * 32 + 3]), np.ones((1, 1), np.complex64)
    everywhere = np.arange(30 * 32)
    narrow = exit_coefficients(stack, beam, one, everywhere, offset=(0.0, 0.5))[0]
    iy, ix = np.divmod(everywhere, 32)
    ix = np.where(ix < 16, ix, ix - 32)
    full = exit_coefficients(wide, np.array([2 * 64 + 7]), one, iy * 64 + (2 * ix + 1) % 64)[0]
    assert close(narrow, full)


def test_band_limit_is_strict():
    """Incident beams beyond the band limit are dropped, exit coefficients there are zero."""
    rng = np.random.default_rng(7)
    stack = make_stack(rng, (32, 32), [0.0, 1.0])
    outside = np.flatnonzero(~stack.grid.band)
    ones = np.ones((1, outside.size), np.complex64)
    assert not exit_coefficients(stack, outside, ones, np.arange(1024)).any()
    assert exit_coefficients(stack, np.array([0]), ones[:, :1], np.arange(1024)).any()
    assert not exit_coefficients(stack, np.array([0]), ones[:, :1], outside).any()


def test_a_wave_does_not_see_its_batch():
    """Each wave's result has the same bits alone, in a batch, and in another place of it."""
    rng = np.random.default_rng(8)
    stack = make_stack(rng, (48, 40), [0.4, 1.0, 2.0])
    beams, coefficients = make_waves(rng, (48, 40), 21, 15)
    weights = rng.random((2, 48, 40)).astype(np.float32)
    together = collect(stack, beams, coefficients, weights)
    assert np.array_equal(together[:, ::-1], collect(stack, beams, coefficients[::-1], weights))
    assert np.array_equal(together[:, 19:20], collect(stack, beams, coefficients[19:20], weights))


def test_threads_do_not_change_a_bit(monkeypatch):
    """1, 2 and 5 threads give the same bits."""
    rng = np.random.default_rng(9)
    stack = make_stack(rng, (60, 64), [0.4, 1.0, 2.0])
    beams, coefficients = make_waves(rng, (60, 64), 130, 15)
    weights = rng.random((2, 60, 64)).astype(np.float32)
    results = []
    for count in ("1", "2", "5"):
        monkeypatch.setenv("STEMTWIN_THREADS", count)
        results.append((collect(stack, beams, coefficients, weights), exit_coefficients(stack, beams, coefficients, np.arange(99))))
    for signals, waves in results[1:]:
        assert np.array_equal(signals, results[0][0])
        assert np.array_equal(waves, results[0][1])


def test_scratch_of_an_earlier_call_does_not_change_a_bit():
    """Contents left in scratch memory, except the zero points, do not affect the next call on a grid of that size."""
    rng = np.random.default_rng(12)
    stack = make_stack(rng, (48, 60), [0.5, 1.5, 3.0])
    beams, waves = make_waves(rng, (48, 60), 21, 5)
    select = np.arange(48 * 60)
    multislice._spare.forget()
    true = exit_coefficients(stack, beams, waves, select)
    setup = multislice._Setup(stack, (0.0, 0.0))
    for _ in range(2):
        buffers = setup.buffers()
        zeros = buffers.wave.reshape(48, setup.pitch, -1)[:, setup.kept.size].copy()
        for array in buffers:
            array.fill(np.nan)
        buffers.wave.reshape(48, setup.pitch, -1)[:, setup.kept.size] = zeros
        multislice._spare.put(setup.size, buffers, buffers.wave.nbytes)
    assert np.isfinite(true).all()
    np.testing.assert_array_equal(exit_coefficients(stack, beams, waves, select), true)


def test_two_callers_at_once():
    """Two threads that run multislice at the same time each get what they get alone."""
    rng = np.random.default_rng(10)
    jobs = []
    for shape in ((64, 60), (50, 48)):
        stack = make_stack(rng, shape, [0.4, 1.0, 2.0])
        jobs.append((stack, *make_waves(rng, shape, 40, 15), rng.random((2, *shape)).astype(np.float32)))
    alone = [collect(*job) for job in jobs]
    results = {}

    def call(number):
        results[number] = [collect(*jobs[number]) for _ in range(10)]

    callers = [threading.Thread(target=call, args=(number,)) for number in (0, 1)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    for number in (0, 1):
        assert all(np.array_equal(signals, alone[number]) for signals in results[number])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork():
    """A child forked after the parent has used the engine (AsyncVectorEnv) computes the same bits, on threads of its own."""
    program = """
import os, sys
import numpy as np
from tests.physics.engine.multislice.test_multislice import make_stack, make_waves
from stemtwin.twin.physics.engine.multislice.multislice import collect
os.environ["STEMTWIN_THREADS"] = "3"
rng = np.random.default_rng(11)
stack = make_stack(rng, (64, 60), [0.4, 1.0, 2.0])
job = (stack, *make_waves(rng, (64, 60), 70, 15), np.ones((1, 64, 60), np.float32))
before = collect(*job)
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(collect(*job), before) else 3)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert np.array_equal(collect(*job), before)
sys.exit(max(codes))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=120, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_progress_counts_finished_waves():
    """Progress is told the number of finished waves, once per batch, up to all of them."""
    rng = np.random.default_rng(12)
    stack = make_stack(rng, (16, 16), [0.0])
    seen = []
    collect(stack, *make_waves(rng, (16, 16), 40, 3), np.ones((1, 16, 16)), progress=seen.append)
    assert len(seen) == 3
    assert sorted(seen) == seen
    assert seen[-1] == 40


def test_nothing_in_nothing_out():
    """No waves, no beams, no detectors and no chosen coefficients give empty or zero results."""
    stack = make_stack(np.random.default_rng(13), (16, 18), [0.0])
    none = np.zeros(0, np.int64)
    weights = np.ones((1, 16, 18), np.float32)
    assert exit_coefficients(stack, np.array([0]), np.ones((0, 1)), np.array([0])).shape == (0, 1)
    assert exit_coefficients(stack, np.array([0]), np.ones((2, 1)), none).shape == (2, 0)
    assert not exit_coefficients(stack, none, np.ones((2, 0)), np.array([0])).any()
    assert collect(stack, np.array([0]), np.ones((2, 1)), weights[:0]).shape == (0, 2)
    assert not collect(stack, none, np.ones((2, 0)), weights).any()
    assert collect(stack, np.array([0]), np.ones((2, 1)), weights, depths=()).shape == (0, 1, 2)


def test_working_memory(monkeypatch):
    """The stated memory is what the buffers of a 512 x 512 batch take: about 2/3 of 16 complex64 waves per thread."""
    grid = Grid(shape=(512, 512), extent=(31.0, 31.0))
    monkeypatch.setenv("STEMTWIN_THREADS", "1")
    assert working_memory(grid) == pytest.approx(2 / 3 * 512 * 512 * 16 * 8, rel=0.02)
    monkeypatch.setenv("STEMTWIN_THREADS", "3")
    assert working_memory(grid) == pytest.approx(3 * 2 / 3 * 512 * 512 * 16 * 8, rel=0.02)
    one, two, three, most = (working_memory(grid, waves) for waves in (16, 17, 33, 512))  # a thread without a batch has no buffers
    assert (2 * one, 3 * one, most) == (two, three, working_memory(grid))


GOOD = {"wavelength": 0.02, "planes": [0.5], "thickness": 1.0, "tilt": (0.0, 0.0)}


@pytest.mark.parametrize(
    ("shape", "change", "error", "words"),
    [
        ((16, 14), {}, SamplingError, "14 points.*Use 16 points"),
        ((22, 16), {}, SamplingError, "22 points.*Use 24 points"),
        ((16, 16), {"planes": [0.5, 0.7]}, SettingsError, "shape"),
        ((16, 16), {"planes": [1.5]}, SettingsError, "thickness=1"),
        ((16, 16), {"planes": [-0.1]}, SettingsError, "z=-0.1"),
        ((16, 16), {"planes": [math.nan]}, SettingsError, "nan"),
        ((16, 16), {"wavelength": 0.0}, SettingsError, "wavelength=0"),
        ((16, 16), {"tilt": (0.0, 1.6)}, SettingsError, "pi/2"),
    ],
)
def test_bad_stacks(shape, change, error, words):
    """An invalid stack is refused with the numbers and the repair."""
    grid = Grid(shape=shape, extent=(2.0, 2.0))
    with pytest.raises(error, match=words):
        SliceStack(grid=grid, transmission=np.ones((1, *shape), np.complex64), **(GOOD | change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"beams": np.array([256])}, "beams.*below 256"),
        ({"beams": np.array([0.5])}, "beams.*integers"),
        ({"beams": np.array([[0]])}, "beams"),
        ({"coefficients": np.ones((1, 2))}, "1 beams"),
        ({"coefficients": np.ones(1)}, "1 beams"),
        ({"offset": (1.0, 0.0)}, "offset"),
        ({"offset": (math.nan, 0.0)}, "offset"),
        ({"weights": np.ones((16, 16))}, "weights"),
        ({"weights": np.ones((1, 16, 16), complex)}, "weights"),
        ({"depths": (0.5, 1.5)}, "depths.*exit face at 1 A"),
        ({"depths": (math.nan,)}, "depths"),
    ],
)
def test_bad_arguments(change, words):
    """Arguments that do not fit the stack are refused with the numbers and the repair."""
    stack = SliceStack(grid=Grid(shape=(16, 16), extent=(2.0, 2.0)), transmission=np.ones((1, 16, 16)), **GOOD)
    arguments = {"beams": np.array([0]), "coefficients": np.ones((1, 1)), "weights": np.ones((1, 16, 16))} | change
    with pytest.raises(SettingsError, match=words):
        collect(stack, **arguments)


def test_bad_selection():
    """A selected coefficient beyond the grid is refused."""
    stack = SliceStack(grid=Grid(shape=(16, 16), extent=(2.0, 2.0)), transmission=np.ones((1, 16, 16)), **GOOD)
    with pytest.raises(SettingsError, match="select"):
        exit_coefficients(stack, np.array([0]), np.ones((1, 1)), np.array([-1]))
