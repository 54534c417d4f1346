"""What the seeds of a card say."""

import numpy as np
import pytest

from stemtwin.datasets import cards
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.generate import specimens
from stemtwin.datasets.generators.atoms_2d import draw_condition
from stemtwin.datasets.kinds import find_generator

ELECTRON_C = 1.602176634e-19


@pytest.fixture(scope="module")
def released() -> cards.Card:
    """The released card."""
    return cards.read_card(cards.CARDS / "atoms-2d-1.0.0.toml")


def test_conditions_stay_in_the_ranges_of_the_card(released):
    """Every drawn number lies in the range that the card states, and dose = current x dwell time / (e x pixel area)."""
    g = released.generator
    drawn = [draw_condition(released, seed, image) for seed in range(40) for image in range(10)]
    for name in ("C10_angstrom", "C12_angstrom", "field_of_view_angstrom", "dwell_time_us", "current_pa"):
        low, high = getattr(g, name)
        values = np.array([getattr(c, name) for c in drawn])
        assert (values >= low * (1 - 1e-12) - 1e-12).all(), name
        assert (values <= high * (1 + 1e-12)).all(), name
    for number, c in enumerate(drawn):
        low, high = g.material_of(number // 10).dose_e_per_angstrom2
        assert low <= c.dose_e_per_angstrom2 <= high
        area = (c.field_of_view_angstrom / 128) ** 2
        assert c.current_pa * 1e-12 * c.dwell_time_us * 1e-6 / ELECTRON_C / area == pytest.approx(c.dose_e_per_angstrom2, rel=1e-12)
        assert 0 <= c.phi12_rad < np.pi


def test_images_of_a_specimen_go_through_the_decades_of_dose(released):
    """Of 4 consecutive images, each has its own decade."""
    assert released.generator.material_of(4).dose_e_per_angstrom2 == (1e2, 1e6)
    doses = [draw_condition(released, 4, image).dose_e_per_angstrom2 for image in range(4)]
    assert sorted(int(np.floor(np.log10(dose))) for dose in doses) == [2, 3, 4, 5]


def test_specimens_take_the_materials_in_turn_and_stay_in_their_ranges(released):
    """In every split of tiny each material occurs once; thickness and instrument are among those that the card gives it."""
    drawn = list(specimens(released, "tiny"))
    for split in released.splits:
        assert sorted(s.material for s in drawn if s.split == split) == sorted(m.name for m in released.generator.materials)
    materials = {m.name: m for m in released.generator.materials}
    for specimen in specimens(released, "std"):
        material = materials[specimen.material]
        assert specimen.setup in [released.generator.setups[name] for name in material.setups]
        if material.thickness_angstrom is None:
            assert specimen.thickness_angstrom is None
        else:
            assert material.thickness_angstrom[0] <= specimen.thickness_angstrom <= material.thickness_angstrom[1]


def test_a_size_may_limit_the_thickness(released):
    """Where a size states a largest thickness, no specimen asks for more."""
    limit = released.sizes["tiny"].thickness_at_most_angstrom
    wanted = [s.thickness_angstrom for s in specimens(released, "tiny") if s.thickness_angstrom is not None]
    assert limit is None or max(wanted) <= limit


def test_streams_are_independent_and_repeatable(released):
    """Same seeds, same numbers; another stream, seed or image, other numbers."""
    seeds = [stream_seed(released, s, stream, *more) for s in (0, 1, 2_000_000) for stream in Stream for more in ((), (0,), (1,))]
    assert len(set(seeds)) == len(seeds)
    assert draw_condition(released, 3, 2) == draw_condition(released, 3, 2)
    assert find_generator("atoms-2d").specimen(released, "tiny", "val", 1_000_000) == list(specimens(released, "tiny"))[6]
    a, b = (random_generator(stream_seed(released, 0, stream)).normal(size=4000) for stream in (Stream.CONDITIONS, Stream.MICROSCOPE))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.06
