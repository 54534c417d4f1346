"""The probe's current density, and the dose that a path leaves."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import j1

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.dynamics import kinetics_kernels
from stemtwin.twin.physics.dynamics.current_density import Density, gaussian_density, probe_density
from stemtwin.twin.physics.dynamics.exposure import Exposure, parked, waited

CURRENT = 1e3 / electrons.ELECTRONS_PER_PICOAMPERE_SECOND  # pA: 1000 electrons per second


def exposure(points, dwell, density, **more):
    """Return an exposure of 1000 electrons per second."""
    return Exposure(points=points, dwell=dwell, density=density, **({"current": CURRENT, "energy": 60e3} | more))


@pytest.mark.parametrize(("energy", "semiangle"), [(60e3, 0.03), (200e3, 0.02)])
def test_airy_pattern(energy, semiangle):
    """Without aberrations the density is the Airy pattern (pi k0^2)(2 J1(v) / v)^2, to 1e-3 of its peak, and its tail is what is beyond."""
    k0 = semiangle / electrons.wavelength(energy)
    r = np.linspace(0.01, 7 / k0, 300)
    v = 2 * math.pi * k0 * r
    density = probe_density(energy, semiangle)
    expected = math.pi * k0**2 * (2 * j1(v) / v) ** 2
    for angle in (0.0, 0.7):
        got = density.at(r[:, None] * [math.cos(angle), math.sin(angle)])
        assert np.abs(got - expected).max() < 1e-3 * expected.max()
    assert density.tail == pytest.approx(1 / (math.pi**2 * k0 * density.radius), rel=0.3)  # 2 / (pi v): Born and Wolf, section 8.5.2
    assert (density.at(np.array([[density.radius * 3, 0.0]])) > 0).all()


@pytest.mark.parametrize(
    "density",
    [probe_density(60e3, 0.03), probe_density(60e3, 0.03, Aberrations(C12=30.0, C21=500.0), 0.3), probe_density(200e3, 0.02, None, 0.2, 30.0)],
    ids=["plain", "aberrated", "blurred"],
)
def test_all_current_arrives(density):
    """The density integrates to 1 with its tail; it is nowhere negative."""
    axis = density.step * np.arange(-int(density.radius / density.step), int(density.radius / density.step) + 1)
    x, y = np.meshgrid(axis, axis)
    inside = np.hypot(x, y) <= density.radius
    values = density.at(np.column_stack([x[inside], y[inside]]))
    assert (values >= 0).all()
    assert values.sum() * density.step**2 + density.tail == pytest.approx(1, abs=1e-4)
    r = np.linspace(density.radius, 50 * density.radius, 200_001)
    tail = (density.at(np.column_stack([r, 0 * r])) * 2 * math.pi * r).mean() * (r[-1] - r[0])
    assert tail == pytest.approx(density.tail * (1 - 1 / 50), rel=1e-2)


def test_a_wide_source_makes_a_gaussian():
    """Far wider than the probe, the source's image is the density: a Gaussian of its standard deviation, wider by the probe's own."""
    density = probe_density(200e3, 0.03, None, 3.0)
    r = np.linspace(0, 9, 40)
    got, expected = (some.at(np.column_stack([r, 0 * r])) for some in (density, gaussian_density(3.0)))
    assert np.abs(got - expected).max() < 0.04 * expected.max()
    assert got[0] < expected[0]


def test_focal_spread_is_the_mean_over_focus():
    """The blurred density is the mean of those at many values of C10."""
    blurred = probe_density(60e3, 0.03, None, 0.0, 40.0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    r = np.linspace(0, 4, 30)
    xy = np.column_stack([r * 0.6, r * 0.8])
    mean = sum(w * probe_density(60e3, 0.03, Aberrations(C10=float(40 * z))).at(xy) for z, w in zip(nodes, weights / weights.sum(), strict=True))
    assert np.abs(blurred.at(xy) - mean).max() < 2e-3 * mean.max()


def test_astigmatism_points_the_way_it_should():
    """With C12 and C10 of one sign the probe is a line focus: C12 along phi = 0 with C10 = -C12 leaves x sharp and y blurred."""
    density = probe_density(60e3, 0.03, Aberrations(C10=-100.0, C12=100.0))
    along = density.at(np.array([[2.0, 0.0], [0.0, 2.0]]))
    assert along[1] > 20 * along[0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), periodic=st.booleans(), count=st.integers(1, 200), kind=st.sampled_from(["scan", "sparse"]))
def test_dose_against_the_plain_sum(seed, periodic, count, kind):
    """The tree of the path gives the sum over all points: exactly for scattered points but for far leaves, within 1e-3 of the mean dose."""
    rng = np.random.default_rng(seed)
    size = (40.0, 30.0) if periodic else None
    points = rng.random((count, 2)) * [30, 40]
    if kind == "scan":
        points = np.column_stack([np.linspace(0, 30, count), np.full(count, 11.0)])
    dwell, beam = rng.random(count), rng.random(count)
    density = probe_density(60e3, 0.03, None, 0.2)
    made = exposure(points, dwell, density, beam=beam, repeats=3)
    places = rng.random((10, 2)) * [30, 40]
    offsets = places[:, None] - points[None]
    if periodic:
        offsets -= np.array([30.0, 40.0]) * np.round(offsets / [30.0, 40.0])
    expected = 3e3 * (density.at(offsets.reshape(-1, 2)).reshape(10, count) * dwell * beam).sum(axis=1)
    near = pytest.approx(expected, abs=1e-3 * 3e3 * float((dwell * beam).sum()) * density.at(np.zeros((1, 2)))[0] / 50)
    assert made.dose_at(places, size) == near
    path, tree = made.by_place
    assert sorted(map(tuple, path)) == sorted(map(tuple, made.path))
    lengths = np.array([30.0, 40.0]) if periodic else np.zeros(2)
    assert 3 * kinetics_kernels.doses(places, path, tree, density.table, density.law, lengths) == near


@pytest.mark.parametrize("periodic", [False, True])
def test_the_dose_of_a_raster_against_the_plain_sum(periodic):
    """In time or by place, within a repeating cell or not: within 1e-3 of the dose in its middle, the sum over all points of a raster."""
    x, y = np.meshgrid(np.arange(0, 60, 0.8), np.arange(0, 50, 0.8))
    density = probe_density(80e3, 0.025, None, 0.3)
    made = exposure(np.column_stack([x.ravel(), y.ravel()]), np.full(x.size, 1e-5), density)
    places = np.array([[30.0, 25.0], [0.3, 0.2], [59.0, 30.0], [10.0, 45.0], [61.0, 20.0]])
    offsets = places[:, None] - made.points[None]
    if periodic:
        offsets -= np.array([60.0, 50.0]) * np.round(offsets / [60.0, 50.0])
    expected = (density.at(offsets.reshape(-1, 2)).reshape(len(places), -1) * made.path[:, 2]).sum(axis=1)
    lengths = np.array([60.0, 50.0]) if periodic else np.zeros(2)
    for path, tree in ((made.path, made.tree), made.by_place):
        assert kinetics_kernels.doses(places, path, tree, density.table, density.law, lengths) == pytest.approx(expected, abs=1e-3 * expected[0])


def test_a_fine_scan_leaves_the_mean_dose():
    """In the middle of a wide, fine scan every place receives electrons per area, tails included: 1 %."""
    density = probe_density(60e3, 0.03, None, 0.3)
    x, y = np.meshgrid(np.arange(-30, 30, 0.25), np.arange(-30, 30, 0.25))
    made = exposure(np.column_stack([x.ravel(), y.ravel()]), np.full(x.size, 1e-4), density)
    places = np.random.default_rng(2).random((20, 2)) * 4
    assert made.dose_at(places) == pytest.approx(1e3 * 1e-4 / 0.25**2, rel=0.01)


def test_a_parked_beam():
    """A parked beam leaves current x time x density; a blanked one, or none, leaves nothing."""
    density = gaussian_density(0.5)
    one = parked((1.0, 2.0), 2.0, current=CURRENT, energy=60e3, density=density)
    assert one.dose_at(np.array([[1.0, 2.0, 7.0]]))[0] == pytest.approx(2e3 / (2 * math.pi * 0.25), rel=1e-12)
    assert dataclasses.replace(one, beam=[0.0]).dose_at(np.zeros((1, 2)))[0] == 0
    idle = waited(3.0, energy=60e3, density=density)
    assert (idle.duration, idle.dose_at(np.zeros((1, 2)))[0]) == (3.0, 0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), part=st.floats(0, 1), repeats=st.integers(1, 5))
def test_an_exposure_can_be_cut_anywhere(seed, part, repeats):
    """Before and after a cut last as long, and leave the same dose together, as the whole."""
    rng = np.random.default_rng(seed)
    made = exposure(rng.random((9, 2)) * 5, rng.random(9) * (rng.random(9) > 0.2), gaussian_density(0.7), repeats=repeats, beam=rng.random(9))
    before, after = made.split(part * made.duration)
    assert sum(one.duration for one in before) == pytest.approx(part * made.duration, abs=1e-9)
    assert sum(one.duration for one in (*before, *after)) == pytest.approx(made.duration, abs=1e-9)
    places = rng.random((4, 2)) * 5
    total = sum((one.dose_at(places) for one in (*before, *after)), np.zeros(4))
    whole = made.dose_at(places)
    assert np.abs(total - whole).max() <= 1e-3 * whole.max() + 1e-9


def test_densities_are_pickled_whole():
    """A density goes through pickle as it was, its table still read-only."""
    density = probe_density(60e3, 0.03)
    again = pickle.loads(pickle.dumps(density))
    assert isinstance(again, Density)
    assert (again.table == density.table).all()
    assert not again.table.flags.writeable


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": np.zeros((2, 2))}, "do not match"),
        ({"points": np.zeros((0, 2)), "dwell": []}, "do not match"),
        ({"dwell": [-1.0]}, "not negative"),
        ({"dwell": [math.inf]}, "finite"),
        ({"points": [[math.nan, 0]]}, "finite"),
        ({"beam": [1.5]}, "between 0 and 1"),
        ({"current": -1.0}, "current"),
        ({"energy": 60.0}, "beam energy in eV"),
        ({"density": 1.0}, "probe_density"),
        ({"repeats": 0}, "repeats"),
    ],
)
def test_bad_exposures_are_refused(change, words):
    """What cannot be an exposure is one clear sentence."""
    good = {"points": [[0.0, 0.0]], "dwell": [1.0], "current": 10.0, "energy": 60e3, "density": gaussian_density(1.0)}
    with pytest.raises(SettingsError, match=words):
        Exposure(**(good | change))
    assert Exposure(**good).duration == 1.0


def test_bad_densities_are_refused():
    """Widths and angles that cannot be, and probes too wide for a table, are one clear sentence."""
    for arguments, words in (((0.0,), "sigma"), ((math.nan,), "sigma")):
        with pytest.raises(SettingsError, match=words):
            gaussian_density(*arguments)
    for arguments, words in (
        ((60e3, 30.0), "semiangle"),
        ((60e3, 0.03, None, -1.0), "source_size"),
        ((60e3, 0.03, Aberrations(C10=1e5)), "Correct the aberrations"),
    ):
        with pytest.raises(SettingsError, match=words):
            probe_density(*arguments)
