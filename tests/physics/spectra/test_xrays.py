"""X-rays: ionisation against the second model, resolution, absorption, bremsstrahlung, Cliff and Lorimer."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.spectra import coreloss, ionisation_edges, xrays
from stemtwin.twin.physics.spectra.coreloss import BARN
from stemtwin.twin.physics.spectra.xrays import Shell, XRayLine


# Each of the two is good to about 10 %, for M shells 15 %.
@pytest.mark.parametrize(("name", "energy", "count", "tolerance"), [
    ("C_K", 284.2, 2, 0.2), ("O_K", 543.1, 2, 0.2), ("Si_K", 1839.0, 2, 0.2), ("Ti_L3", 454.0, 6, 0.2), ("Sr_L3", 1940.0, 6, 0.2),
    ("Au_M5", 2206.0, 10, 0.3),
])  # fmt: skip
@pytest.mark.parametrize("beam", [80e3, 200e3])
def test_ionisation_by_two_models(name, energy, count, tolerance, beam):
    """Casnati's cross-section is the core-loss cross-section integrated over all angles and losses (two independent models)."""
    edge = ionisation_edges.edge(name)
    loss = np.geomspace(edge.onset, min(0.4 * beam, 60 * edge.onset), 3000)
    integral = np.trapezoid(coreloss.differential(edge, loss, beam, 0.5, white_lines=False), loss)
    assert xrays.ionisation_casnati(energy, count, beam) == pytest.approx(integral, rel=tolerance)


@given(energy=st.floats(200, 5000), beam=st.floats(60e3, 300e3))
def test_bethe_and_casnati_agree_for_k_shells(energy, beam):
    """For K shells and fast beams the two formulas agree within 20 %."""
    assert xrays.ionisation_bethe(energy, 2, beam) == pytest.approx(xrays.ionisation_casnati(energy, 2, beam), rel=0.2)


def test_no_ionisation_below_the_threshold():
    """A beam that is too slow ionises nothing."""
    assert xrays.ionisation_casnati(80e3, 2, 60e3) == 0
    assert xrays.ionisation_bethe(80e3, 2, 60e3) == 0


def test_cascade():
    """A photon's cross-section is ionisations, with those that Coster-Kronig transitions bring, times yield times weight."""
    upper = Shell(name="L2", energy=500.0, electrons=2, fluorescence=0.1, lines=(XRayLine(name="Lb1", energy=480.0, weight=1.0),))
    lower = Shell(
        name="L3", energy=490.0, electrons=4, fluorescence=0.2, lines=(XRayLine(name="La", energy=450.0, weight=0.9),), feeding=(("L2", 0.25),)
    )
    found = {line.name: sigma for _, line, sigma in xrays.emissions((upper, lower), 200e3)}
    own, fed = xrays.ionisation_casnati(490.0, 4, 200e3), xrays.ionisation_casnati(500.0, 2, 200e3)
    assert found["La"] == pytest.approx((own + 0.25 * fed) * 0.2 * 0.9)
    assert found["Lb1"] == pytest.approx(fed * 0.1)


def test_resolution():
    """130 eV at Mn K alpha; FWHM^2 is linear in the energy, with silicon's slope 2.3548^2 F eps; better than silicon allows is refused."""
    assert xrays.resolution(5898.75) == pytest.approx(130)
    squares = xrays.resolution(np.array([0.0, 1000.0, 2000.0])) ** 2
    assert squares[2] - squares[1] == pytest.approx(squares[1] - squares[0])
    assert (squares[1] - squares[0]) / 1000 == pytest.approx(5.545 * 0.12 * 3.65, rel=1e-3)
    with pytest.raises(SettingsError, match="silicon"):
        xrays.resolution(1000.0, 100.0)


@given(energy=st.floats(200, 9000), width=st.floats(40, 200))
def test_lines_keep_their_counts(energy, width):
    """A line loses nothing in the bins and has its width at half maximum."""
    bins = np.arange(-2000, 12000, 5.0)
    part = xrays.line_in_bins(bins, energy, width)
    assert part.sum() == pytest.approx(1, abs=1e-9)
    above = (bins[1:] + bins[:-1])[part > part.max() / 2] / 2
    assert above[-1] - above[0] == pytest.approx(width, abs=10)


def test_blur_of_a_smooth_density():
    """A step in a smooth density becomes an error function as wide as the detector's resolution there."""
    bins = np.arange(0, 4000, 10.0)
    centres = (bins[1:] + bins[:-1]) / 2
    out = xrays.blurred(bins, np.where(centres > 2000, 1.0, 0.0), 130.0)
    sigma = xrays.resolution(2000.0) / 2.3548
    inside = (centres > 1000) & (centres < 3000)
    np.testing.assert_allclose(out[inside] / 10, ((1 + erf((centres - 2000) / (sigma * math.sqrt(2)))) / 2)[inside], atol=0.03)


def test_bremsstrahlung_scales():
    """Kramers: Z^2 / E, zero above the beam energy; at 200 kV and 1 keV carbon radiates 0.35 mbarn/eV or so, a thousandth of its K line's."""
    energy = np.array([500.0, 1000.0, 3e5])
    values = xrays.bremsstrahlung(6, energy, 200e3)
    assert values[0] == pytest.approx(2 * values[1])
    assert values[2] == 0
    assert xrays.bremsstrahlung(12, energy, 200e3)[1] == pytest.approx(4 * values[1])
    # 16 pi / (3 sqrt 3) alpha^3 a0^2 Z^2 / (v^2 E) in atomic units, v = 0.6953 c
    hand = 16 * np.pi / (3 * math.sqrt(3)) / 137.036**3 * 0.2800285 * 36 / (0.6953 * 137.036) ** 2 / 1000.0
    assert values[1] == pytest.approx(hand, rel=1e-3)
    assert 1e-5 < values[1] / BARN < 1e-2


@given(depth=st.floats(0, 30))
def test_absorption_is_the_mean_over_depth(depth):
    """(1 - exp(-d)) / d is the mean of exp(-d x) over 0 < x < 1."""
    x = (np.arange(20_000) + 0.5) / 20_000
    assert xrays.absorption(np.array(depth)) == pytest.approx(np.exp(-depth * x).mean(), abs=1e-6)


def test_efficiency():
    """Layers in front absorb, the active volume counts what it absorbs."""
    assert xrays.efficiency([np.array([0.1]), np.array([0.2])], np.array([50.0]))[0] == pytest.approx(math.exp(-0.3))
    assert xrays.efficiency([], np.array([0.5]))[0] == pytest.approx(1 - math.exp(-0.5))


COMPOSITIONS = st.lists(st.floats(0.02, 1), min_size=3, max_size=3)
MASSES = {"Sr": 87.62, "Ti": 47.867, "O": 15.999}


@given(amounts=COMPOSITIONS, sensitivities=COMPOSITIONS)
def test_quantification_returns_the_composition(amounts, sensitivities):
    """Counts in proportion to atoms and sensitivities give the composition back, whatever the k-factors."""
    fractions = dict(zip(MASSES, np.array(amounts) / sum(amounts), strict=True))
    per_atom = dict(zip(MASSES, sensitivities, strict=True))
    counts = {symbol: 1e4 * fractions[symbol] * per_atom[symbol] for symbol in MASSES}
    found = xrays.cliff_lorimer(counts, xrays.k_factors(per_atom, MASSES, "Ti"), MASSES)
    assert found == pytest.approx(fractions, rel=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_quantification_of_counts(seed):
    """With Poisson counts the composition comes back within five standard errors."""
    per_atom, fractions = {"Sr": 0.4, "Ti": 1.0, "O": 0.3}, {"Sr": 0.2, "Ti": 0.2, "O": 0.6}
    rng = np.random.default_rng(seed)
    counts = {symbol: float(rng.poisson(1e5 * fractions[symbol] * per_atom[symbol])) for symbol in MASSES}
    found = xrays.cliff_lorimer(counts, xrays.k_factors(per_atom, MASSES, "Ti"), MASSES)
    for symbol in MASSES:
        assert found[symbol] == pytest.approx(fractions[symbol], rel=5 * math.sqrt(sum(1 / n for n in counts.values())))


def test_bad_quantification():
    """Missing k-factors, missing masses, no counts: refused."""
    with pytest.raises(SettingsError, match="Fe"):
        xrays.cliff_lorimer({"Fe": 10.0}, {"Ti": 1.0}, MASSES)
    with pytest.raises(SettingsError, match="no counts"):
        xrays.cliff_lorimer({"Ti": 0.0}, {"Ti": 1.0}, MASSES)
    with pytest.raises(SettingsError, match="reference"):
        xrays.k_factors({"Ti": 1.0}, MASSES, "O")
