"""Decorated flakes: what is drawn fits, and the atoms are those of the description."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.decorated_flakes import FERRIC, FERROUS, FlakeParticle, FlakeRecipe, draw_flake, flake_atoms, inside

DENSITY = {"gold": 4 / 4.078**3, "silver": 4 / 4.086**3, FERROUS: 8 / 4.307**3, FERRIC: (56 - 16 / 6) / 8.347**3}


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_particles_lie_on_the_flake_and_apart(seed: int) -> None:
    """No particle touches another one or reaches beyond the outline, which lies in the field; equal seeds give equal flakes."""
    flake = draw_flake(128.0, seed)
    outline = np.array(flake.outline_angstrom)
    assert ((outline > 0) & (outline < 128)).all()
    for number, one in enumerate(flake.particles):
        assert inside(np.array([one.centre_angstrom]), outline, one.radius_angstrom)[0]
        for other in flake.particles[:number]:
            assert np.hypot(*np.subtract(one.centre_angstrom, other.centre_angstrom)) > one.radius_angstrom + other.radius_angstrom
    assert {one.kind for one in flake.particles} == {"gold", "silver", FERROUS, FERRIC}
    assert draw_flake(128.0, seed) == flake


def test_atoms_are_those_of_the_description() -> None:
    """Every particle has the atoms that its volume holds, iron where it is an oxide; trivalent iron is in maghemite alone; no two atoms coincide."""
    flake = draw_flake(128.0, 5)
    sample, ferric = flake_atoms(flake)
    sheet = np.isin(sample.numbers, (42, 16))
    for one in flake.particles:
        near = np.hypot(*(sample.positions_angstrom[:, :2] - one.centre_angstrom).T) <= one.radius_angstrom + 0.01
        own = near & ~sheet
        wanted = DENSITY[one.kind] * 4 / 3 * np.pi * one.radius_angstrom**3
        assert own.sum() == pytest.approx(wanted, rel=0.08)
        iron = own & (sample.numbers == 26)
        assert iron.any() == (one.kind in (FERROUS, FERRIC))
        assert ferric[iron].all() if one.kind == FERRIC else not ferric[iron].any()
    assert (sample.numbers[ferric] == 26).all()
    x, y = np.array(flake.outline_angstrom).T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert sheet.sum() == pytest.approx(3 * area / (3.16**2 * 3**0.5 / 2), rel=0.03)


def test_what_finds_no_room_is_refused() -> None:
    """Too small a field, and particles larger than the flake, end in a sentence."""
    with pytest.raises(SettingsError, match="field_angstrom=10"):
        draw_flake(10.0, 1)
    with pytest.raises(SettingsError, match="do not fit on a flake"):
        draw_flake(128.0, 1, FlakeRecipe(counts=(("gold", (1, 1)),), radii=(("gold", (0.6, 0.7)),)))
    assert FlakeParticle(kind="gold", centre_angstrom=(1.0, 1.0), radius_angstrom=1.0).kind == "gold"
