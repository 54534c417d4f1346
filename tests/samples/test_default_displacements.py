"""Thermal motion for files that give none."""

import numpy as np
import pytest

from stemtwin.twin.physics.phonons import debye_sigma
from stemtwin.twin.samples.default_displacements import COMPOUND_SIGMA, DEBYE, ROOM, default_note, default_sigmas
from stemtwin.twin.samples.library import load_sample


@pytest.mark.parametrize(("number", "symbol", "mass"), [(79, "Au", 196.967), (13, "Al", 26.982), (14, "Si", 28.085), (82, "Pb", 207.2)])
def test_elements_move_by_debyes_model(number: int, symbol: str, mass: float) -> None:
    """A crystal of one element has Debye's displacement at the element's Debye temperature."""
    assert default_sigmas(np.array([number, number])) == pytest.approx(debye_sigma(mass, DEBYE[symbol], ROOM), rel=1e-4)


@pytest.mark.parametrize("name", ["srtio3-001", "gaas-110", "mos2-1h"])
def test_compounds_come_near_measured_values(name: str) -> None:
    """The rule is within 35 % of the measured displacements that the library's compounds have."""
    sample = load_sample(name)
    assert sample.thermal_sigma_angstrom is not None
    assert default_sigmas(sample.numbers) == pytest.approx(sample.thermal_sigma_angstrom, rel=0.35)


def test_soft_and_unknown_elements_are_held_in_compounds() -> None:
    """Caesium and oxygen in a compound have the rule's 0.085 A; caesium alone moves by several times that; tungsten stays as stiff as it is."""
    assert default_sigmas(np.array([55, 8])) == pytest.approx(COMPOUND_SIGMA)
    assert default_sigmas(np.array([55]))[0] > 4 * COMPOUND_SIGMA
    assert default_sigmas(np.array([74, 8]))[0] < 0.06
    assert np.all(default_sigmas(np.arange(1, 100)) <= COMPOUND_SIGMA)
    assert all(20 < value < 2300 for value in DEBYE.values())


def test_the_note_says_what_was_taken() -> None:
    """Each element has its value in the note."""
    assert "Ti 0.073, Sr 0.085" in default_note("x", np.array([22, 38]))
