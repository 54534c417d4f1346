"""Fast electrons: row 1 of the acceptance table, and the kinematics of one collision."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants

from stemtwin.twin.physics import electrons

ENERGIES = st.floats(30e3, 300e3)
REST = constants.m_e * constants.c**2 / constants.e


@given(energy=ENERGIES)
def test_wavelength_is_planck_over_momentum(energy):
    """Lambda = h / p with the relativistic momentum of SI constants, within 1e-5 at any voltage."""
    momentum = math.sqrt((energy + REST) ** 2 - REST**2) * constants.e / constants.c
    assert electrons.wavelength(energy) == pytest.approx(constants.h / momentum * 1e10, rel=1e-5)


@given(energy=ENERGIES)
def test_interaction_constant_is_moving_mass(energy):
    """Sigma = 2 pi gamma m e lambda / h^2 (the mass enters once), within 1e-5 at any voltage."""
    assert electrons.velocity_ratio(energy) == pytest.approx(math.sqrt((energy + REST) ** 2 - REST**2) / (energy + REST), rel=1e-6)  # p c / E
    moving = electrons.lorentz_factor(energy) * constants.m_e
    sigma = 2 * math.pi * moving * constants.e * electrons.wavelength(energy) * 1e-10 / constants.h**2  # rad/(V m)
    assert electrons.interaction_constant(energy) == pytest.approx(sigma * 1e-10, rel=1e-5)


# Kirkland, Advanced Computing in Electron Microscopy, table 5.1 (0.9244, 0.7288, 0.6526 mrad/(V A)) and the values that py_multislice's tests
# quote from it: https://github.com/HamishGBrown/py_multislice, pyms/Test.py
@pytest.mark.parametrize(("kilovolts", "sigma"), [(10, 2.599), (60, 1.1356), (100, 0.9244), (200, 0.7288), (300, 0.6526), (800, 0.5503)])
def test_interaction_constant_published(kilovolts, sigma):
    """Sigma has the values printed in Kirkland's book."""
    assert electrons.interaction_constant(kilovolts * 1e3) * 1e3 == pytest.approx(sigma, abs=1.01e-4 if kilovolts > 10 else 1e-3)


# Williams and Carter, Transmission Electron Microscopy, table 1.2: relativistic wavelength and mass ratio
@pytest.mark.parametrize(("kilovolts", "picometre", "gamma"), [(100, 3.70, 1.196), (200, 2.51, 1.391), (300, 1.97, 1.587), (400, 1.64, 1.783)])
def test_textbook_table(kilovolts, picometre, gamma):
    """Wavelength and mass ratio agree with the textbook's table to its printed digits."""
    energy = kilovolts * 1e3
    assert electrons.wavelength(energy) * 100 == pytest.approx(picometre, abs=0.0051)
    assert electrons.lorentz_factor(energy) == pytest.approx(gamma, abs=5.1e-4)


@given(energy=ENERGIES, mass=st.floats(1, 240))
def test_max_transfer_is_a_head_on_collision(energy, mass):
    """The largest transfer is that of a head-on elastic collision: nucleus at rest, boosted to the centre of mass, reversed, boosted back."""
    nucleus, momentum = mass * electrons.UNIFIED_MASS_ENERGY, math.sqrt((energy + REST) ** 2 - REST**2)
    beta = momentum / (energy + REST + nucleus)  # of the centre of mass; there the nucleus only turns round
    recoil = nucleus * 2 * beta**2 / (1 - beta**2)  # its energy (1 + beta^2) / (1 - beta^2) less its rest energy
    assert electrons.max_transfer(energy, mass) == pytest.approx(recoil, rel=1e-5)


@pytest.mark.parametrize(
    ("ours", "si"),
    [
        (electrons.REST_ENERGY, REST),
        (electrons.PLANCK_C, constants.h * constants.c / constants.e * 1e10),
        (electrons.POTENTIAL_CONSTANT, constants.h**2 / (2 * math.pi * constants.m_e * constants.e) * 1e20),
        (electrons.COULOMB_CONSTANT, constants.e / (4 * math.pi * constants.epsilon_0) * 1e10),
        (electrons.UNIFIED_MASS_ENERGY, constants.u * constants.c**2 / constants.e),
        (electrons.ELECTRONS_PER_PICOAMPERE_SECOND, 1e-12 / constants.e),
    ],
)
def test_constants_follow_from_si(ours, si):
    """The constants in A, eV, u and pA are those of CODATA."""
    assert ours == pytest.approx(si, rel=1e-7)
