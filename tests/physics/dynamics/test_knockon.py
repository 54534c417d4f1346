"""Knock-on cross-sections (row 16): closed forms, Mott's series, thermal velocities, kinematics."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics import electrons, phonons
from stemtwin.twin.physics.dynamics import knockon, mott
from stemtwin.twin.physics.dynamics.isotopes import _TABLE, isotopes, number_of

BARN = knockon.BARN
M2 = 1e20  # (A/s)^2 in 1 m^2/s^2


def closed_form(number, energy, excess):
    """McKinley and Feshbach's cross-section for x = Tmax / Td, A^2 (eq. 5 of Banhart, Rep. Prog. Phys. 62 (1999) 1181)."""
    beta, x = electrons.velocity_ratio(energy), np.maximum(excess, 1)
    size = 4 * math.pi * (number * electrons.COULOMB_CONSTANT / (2 * electrons.REST_ENERGY)) ** 2 * (1 - beta**2) / beta**4
    spin = math.pi * number * mott.FINE_STRUCTURE * beta
    return size * (x - 1 - beta**2 * np.log(x) + spin * (2 * np.sqrt(x) - 2 - np.log(x)))


def test_published_cross_section_of_carbon():
    """C at 100 kV with Td = 15 eV: 17.5554685 barn with the short form of Tmax (12 u); the exact Tmax, 1e-4 lower, gives 17.5475."""
    short = 2 * 100e3 * (100e3 + 2 * electrons.REST_ENERGY) / (12.0 * electrons.UNIFIED_MASS_ENERGY)
    exact = electrons.max_transfer(100e3, 12.0)
    assert short / exact == pytest.approx(1 + 1e-4, rel=5e-5)
    assert knockon.cross_section("C", 100e3, 15.0 * exact / short, mass=12.0) / BARN == pytest.approx(17.555468506666667, rel=1e-8)
    assert knockon.cross_section("C", 100e3, 15.0, mass=12.0) / BARN == pytest.approx(17.5475, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(number=st.integers(1, 27), energy=st.floats(3e4, 1e6), excess=st.floats(1.001, 100))
def test_the_cross_section_is_the_integral_and_the_closed_form(number, energy, excess):
    """The cross-section above a threshold is the integral of the differential one, and McKinley and Feshbach's closed form."""
    expected = integrate.quad(lambda u: 2 * u * float(knockon.differential(number, energy, np.array(u * u))), excess**-0.5, 1, epsrel=1e-11)[0]
    found = knockon.cross_section(number, energy, electrons.max_transfer(energy, 12.0) / excess, mass=12.0)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == pytest.approx(float(closed_form(number, energy, excess)), rel=1e-9)


# Tmax in eV at 30, 60, 80, 100, 200, 300 kV for 12C, 28Si, 32S, 98Mo, 197Au: independent computation with CODATA constants
TRANSFERS = {
    (12.0, 5.646, 11.615, 15.772, 20.073, 43.723, 70.951),
    (27.97693, 2.422, 4.982, 6.765, 8.610, 18.755, 30.435),
    (31.97207, 2.119, 4.360, 5.920, 7.534, 16.412, 26.632),
    (97.90540, 0.692, 1.424, 1.933, 2.461, 5.360, 8.697),
    (196.96657, 0.344, 0.708, 0.961, 1.223, 2.664, 4.323),
}


@pytest.mark.parametrize("row", sorted(TRANSFERS))
def test_largest_transfer(row):
    """A nucleus at rest takes over the published Tmax (three decimals); the collision with a moving one reduces to that."""
    mass, *transfers = row
    for energy, expected in zip((30e3, 60e3, 80e3, 100e3, 200e3, 300e3), transfers, strict=True):
        assert electrons.max_transfer(energy, mass) == pytest.approx(expected, abs=6e-4)
        assert float(knockon.max_transfer_moving(energy, mass, 0.0)) == pytest.approx(electrons.max_transfer(energy, mass), rel=1e-12)


@given(energy=st.floats(1e4, 1e6), mass=st.floats(1, 240), part=st.floats(-1, 1))
def test_transfer_to_a_moving_nucleus(energy, mass, part):
    """Energy and momentum are conserved in the head-on collision; Meyer's (r + t)^2 / (2 M) agrees within a few m / M where it is printed."""
    rest, electron = mass * electrons.UNIFIED_MASS_ENERGY, electrons.REST_ENERGY
    p = math.sqrt(energy * (energy + 2 * electron))
    velocity = part * p / rest * knockon.LIGHT  # up to where the nucleus has the electron's momentum
    gained = float(knockon.max_transfer_moving(energy, mass, velocity))
    before = rest * velocity / knockon.LIGHT
    start = before**2 / (math.sqrt(before**2 + rest**2) + rest)
    after = math.sqrt(gained * (gained + 2 * rest))
    left = energy + start - gained
    back = -math.sqrt(left * (left + 2 * electron))
    assert p + before == pytest.approx(after + back, abs=1e-5 * p)
    thermal = rest * (velocity / knockon.LIGHT) ** 2 / 2
    t = math.sqrt((energy + thermal) * (energy + 2 * electron + thermal))
    assert gained == pytest.approx((p + before + t) ** 2 / (2 * rest), rel=6 * (electron + energy) / rest + 1e-6)


def test_thresholds_of_the_beam():
    """At the threshold energy Tmax equals the displacement threshold: within 0.05 kV of the published ones (row 16)."""
    for element, displacement, mass in (("C", 21.14, 12.0), ("C", 14.8, 12.0), ("Mo", 20.0, 97.9054), ("Au", 34.0, 196.96657)):
        energy = knockon.threshold_energy(element, displacement, mass=mass)
        assert electrons.max_transfer(energy, mass) == pytest.approx(displacement, rel=1e-12)
        assert knockon.cross_section(element, energy - 50, displacement, mass=mass) == 0
        assert knockon.cross_section(element, energy + 50, displacement, mass=mass) > 0
    assert knockon.threshold_energy("C", 21.14, mass=12.0) == pytest.approx(104.86e3, abs=50)
    # bulk gold with 34 eV and molybdenum: about 1300 kV and 810 kV (globalsino.com, table 4663)
    assert knockon.threshold_energy("Au", 34.0) == pytest.approx(1.3e6, rel=0.03)


@pytest.mark.parametrize(("energy", "barn"), [(60e3, 2.6e-3), (70e3, 0.58), (80e3, 6.0)])
def test_silicons_neighbour_in_graphene(energy, barn):
    """Td = 14.8 eV with <v^2> of graphene: 2.6e-3, 0.58 and 6.0 barn at 60, 70 and 80 kV, where a static lattice has none below 75.4 kV."""
    assert knockon.cross_section("C", energy, 14.8, mass=12.0, velocity2=3.17e5 * M2) / BARN == pytest.approx(barn, rel=0.01)
    assert (knockon.cross_section("C", energy, 14.8, mass=12.0) > 0) is (energy > 75.4e3)


def test_edges_of_graphene():
    """With the velocities of graphene, 80 kV: 26 barn at Td = 12 eV, 0.39 at 17 eV."""
    for displacement, barn in ((12.0, 26.0), (17.0, 0.39)):
        assert knockon.cross_section("C", 80e3, displacement, mass=12.0, velocity2=3.17e5 * M2) / BARN == pytest.approx(barn, rel=0.01)


@settings(max_examples=15, deadline=None)
@given(energy=st.floats(5e4, 3e5), displacement=st.floats(8, 25), spread=st.floats(1e4, 1e6))
def test_thermal_average_against_many_velocities(energy, displacement, spread):
    """The quadrature over velocities equals a plain sum over a fine grid of them."""
    v = np.linspace(-9, 9, 40_001) * math.sqrt(spread * M2)
    weight = np.exp(-(v**2) / (2 * spread * M2))
    x = knockon.max_transfer_moving(energy, 12.0, v) / displacement
    expected = float((weight * closed_form(6, energy, x)).sum() / weight.sum())
    assert knockon.cross_section("C", energy, displacement, mass=12.0, velocity2=spread * M2) == pytest.approx(expected, rel=1e-5, abs=1e-24)


def test_the_table_has_each_element_once():
    """A symbol that stands twice would hide its first entry without a word."""
    symbols = [entry.split()[0] for entry in _TABLE.split("|") if entry.strip()]
    assert len(symbols) == len(set(symbols))
    assert isotopes("Th") == ((230.033132, 0.0002), (232.038054, 0.9998))


def test_heavier_isotopes_are_harder_to_displace():
    """Natural carbon is the mixture of its isotopes; 13C has the smaller cross-section near the threshold (Meyer et al., PRL 108, 196102)."""
    light, heavy = (knockon.cross_section("C", 95e3, 21.14, mass=mass, velocity2=3.17e25 * 12 / mass) for mass in (12.0, 13.003355))
    assert 0 < heavy < 0.2 * light
    mean = sum(mass * part for mass, part in isotopes("C"))
    mixed = sum(part * knockon.cross_section("C", 95e3, 21.14, mass=mass, velocity2=3.17e25 * mean / mass) for mass, part in isotopes("C"))
    assert knockon.cross_section("C", 95e3, 21.14, velocity2=3.17e25) == pytest.approx(mixed, rel=1e-12)


def test_isotopes():
    """Abundances add up to 1, and the mean masses are the standard atomic weights (IUPAC): C 12.011, Si 28.085, S 32.06, Mo 95.95, W 183.84."""
    for symbol, weight in (("H", 1.008), ("C", 12.011), ("Si", 28.085), ("S", 32.06), ("Mo", 95.95), ("Se", 78.971), ("W", 183.84), ("Au", 196.967)):
        assert sum(part for _, part in isotopes(symbol)) == pytest.approx(1, abs=1e-4)
        assert sum(mass * part for mass, part in isotopes(symbol)) == pytest.approx(weight, rel=3e-4)
    for number in range(1, 93):
        if number not in {43, 61, *range(84, 90)}:  # Tc, Pm, Po to Ac
            assert sum(part for _, part in isotopes(number)) == pytest.approx(1, abs=1e-4)


# ---- Mott's series -----------------------------------------------------------------------------------------------------------------------

# Coefficients b[j][k] of the fit R = sum_j (1 - cos theta)^(j/2) sum_k b_jk (beta - 0.7181287)^k to Mott's ratio, as published by Lijian, Quing and
# Zhengming, Radiat. Phys. Chem. 45 (1995) 235 and Boschini et al., Radiat. Phys. Chem. 90 (2013) 39 (better than 1 % of the ratio's scale).
LIJIAN = {
    79: (
        (1.00043, -1.06114e-3, -4.7734e-3, 1.25001e-2, 2.40713e-2, -1.65728e-2),
        (-3.80207e-1, 9.40778e-1, 1.13464e1, -3.34423, -6.89259e1, -5.00549e1),
        (3.07493, 4.26732, -5.06567e1, -1.47102e1, 3.67721e2, 3.45521e2),
        (-2.0297, -4.13334, 6.10696e1, 4.02298e1, -4.99399e2, -5.35495e2),
        (1.06694e-1, -4.80932e-1, -2.28393e1, -2.00106e1, 1.95512e2, 2.27574e2),
    ),
    74: (
        (1.00025, -1.12974e-3, 3.25083e-4, 1.46196e-2, -1.49818e-2, -6.15916e-2),
        (-2.31499e-1, 1.42403, 6.68301, -8.72894, -3.12005e1, 8.13039e-2),
        (2.84004, 2.04799, -3.40292e1, 1.28426e1, 2.14035e2, 1.24907e2),
        (-2.24701, -2.76343, 4.3216e1, 4.91177, -3.2188e2, -2.66423e2),
        (2.87708e-1, -4.13579e-1, -1.67235e1, -6.90724, 1.33305e2, 1.29426e2),
    ),
}


@pytest.mark.parametrize("number", sorted(LIJIAN))
@pytest.mark.parametrize("energy", [100e3, 300e3, 1e6])
def test_mott_ratio_of_heavy_atoms(number, energy):
    """The series gives the published ratio to Rutherford of W and Au within the fit's own error, 2 % of the largest ratio."""
    sine = np.linspace(0.15, 0.999, 60)
    beta = electrons.velocity_ratio(energy)
    fit = sum((2 * sine**2) ** (j / 2) * np.polynomial.polynomial.polyval(beta - 0.7181287, row) for j, row in enumerate(LIJIAN[number]))
    ratio = mott.ratio(number, energy, sine)
    assert np.abs(ratio - fit).max() < 0.02 * ratio.max()


@pytest.mark.parametrize(("number", "energy"), [(29, 60e3), (47, 300e3), (79, 200e3), (92, 1e6)])
def test_mott_series_against_the_unreduced_sum(number, energy):
    """The accelerated series equals the plain partial-wave sum of f and g, averaged over its oscillating tail (Cesaro)."""
    beta, strength = electrons.velocity_ratio(energy), number * mott.FINE_STRUCTURE
    q, waves = strength / beta, 6000
    kappa = np.arange(1, waves + 1)
    rho = np.sqrt(kappa**2 - strength**2)
    q_prime = strength * math.sqrt(1 - beta**2) / beta
    shared = np.exp(special.loggamma(rho - 1j * q) - special.loggamma(rho + 1j * q) + 1j * np.pi * (kappa - rho)) / (rho + 1j * q)
    up, down = (kappa + 1j * q_prime) * shared, (-kappa + 1j * q_prime) * shared  # exp(2 i delta) of l = k - 1 and (negative) of l = k
    angle = np.array([1.0, 1.6, 2.4, 3.0])
    x = np.cos(angle)
    legendre = special.eval_legendre(np.arange(waves + 1)[:, None], x[None])
    ell = np.arange(waves)
    s_plus, s_minus = up, np.concatenate([[0], -down[:-1]])  # j = l + 1/2 has k = l + 1; j = l - 1/2 has k = l
    first = ((ell + 1) * s_plus + ell * s_minus)[:, None] * legendre[:waves]
    derivative = ell[:, None] * (legendre[np.maximum(ell - 1, 0)] - x * legendre[:waves]) / (1 - x**2)
    second = (s_plus - s_minus)[:, None] * derivative * np.sin(angle)
    f, g = (0.5 * _cesaro(terms) for terms in (first, second))
    ratio = (np.abs(f) ** 2 + np.abs(g) ** 2) * 4 * np.sin(angle / 2) ** 4 / q**2
    assert ratio == pytest.approx(mott.ratio(number, energy, np.sin(angle / 2)), rel=2e-3)


def _cesaro(terms: np.ndarray) -> np.ndarray:
    """Return the (C, 3) sum of a series along its first axis."""
    n = len(terms)
    k = np.arange(n)
    weight = (n - k) * (n - k + 1.0) * (n - k + 2.0) / (n * (n + 1.0) * (n + 2.0))
    return (weight[:, None] * terms).sum(axis=0)


@pytest.mark.parametrize(("number", "limit"), [(1, 1e-3), (6, 5e-3), (14, 0.025), (20, 0.052)])
def test_mckinley_feshbach_is_the_light_limit_of_mott(number, limit):
    """McKinley and Feshbach's formula is Mott's to the next order in Z alpha: 0.4 % for C, 2 % for Si, 5 % for Ca."""
    sine = np.linspace(0.15, 0.999, 30)
    for energy in (60e3, 300e3):
        series = np.polynomial.polynomial.polyval(sine, knockon.ratio_coefficients(number, energy, "mckinley-feshbach"))
        assert series == pytest.approx(mott.ratio(number, energy, sine), rel=limit)


@pytest.mark.parametrize("number", [29, 47, 79, 92])
def test_the_polynomial_holds_the_series(number):
    """The polynomial that is integrated is the series, to 1e-3 of its largest value."""
    sine = np.linspace(0.1, 0.9995, 200)
    for energy in (30e3, 200e3, 2e6):
        exact = mott.ratio(number, energy, sine)
        fit = np.polynomial.polynomial.polyval(sine, mott.ratio_polynomial(number, energy))
        assert np.abs(fit - exact).max() < 1e-3 * exact.max()


# ---- thermal velocities, and what is refused ---------------------------------------------------------------------------------------------


def test_debye_velocity():
    """Graphene with 1287 K: 3.68e5 and 3.39e5 m^2/s^2 for 12C and 13C at 300 K; kT / M when hot; 3 k theta / (8 M) at 0 K."""
    assert phonons.debye_velocity2(12.0, 1287, 300) / M2 == pytest.approx(3.68e5, rel=5e-3)
    assert phonons.debye_velocity2(13.003355, 1287, 300) / M2 == pytest.approx(3.39e5, rel=5e-3)
    assert phonons.debye_velocity2(63.5, 343, 2e4) == pytest.approx(phonons.BOLTZMANN * 2e4 / 63.5 * phonons.EV_PER_U, rel=1e-3)
    assert phonons.debye_velocity2(12.0, 1000, 0) == pytest.approx(0.375 * phonons.BOLTZMANN * 1000 / 12.0 * phonons.EV_PER_U)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"energy": 100.0}, "beam energy in eV"),
        ({"energy": 5e6}, "beam energy in eV"),
        ({"energy": math.nan}, "finite"),
        ({"displacement": -15.0}, "between about 1 eV"),
        ({"displacement": 0.0}, "between about 1 eV"),
        ({"displacement": 1e4}, "between about 1 eV"),
        ({"velocity2": -1.0}, "velocity2"),
        ({"mass": 0.0}, "mass"),
        ({"model": "thomson"}, "mckinley-feshbach"),
        ({"element": "Tc"}, "isotopic"),
    ],
)
def test_what_makes_no_sense_is_refused(change, words):
    """Energies outside the models, thresholds that are none, unknown models: one sentence with value and repair."""
    good = {"element": "C", "energy": 80e3, "displacement": 15.0}
    with pytest.raises(SettingsError, match=words):
        knockon.cross_section(**(good | change))


@pytest.mark.parametrize("element", ["Xx", "c", 0, 93, "", True, 6.5])
def test_unknown_elements(element):
    """What is no element is named, with the symbol that was probably meant."""
    with pytest.raises(UnknownNameError, match="There is no element"):
        number_of(element)
