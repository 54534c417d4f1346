"""Thresholds by element and site, terms of electronic excitation, and tables made of them."""

import dataclasses

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.dynamics import knockon, process_library
from stemtwin.twin.physics.dynamics.current_density import gaussian_density
from stemtwin.twin.physics.dynamics.displacement_thresholds import SITES, Site, cross_sections, find_site, surface_displacement
from stemtwin.twin.physics.dynamics.electronic_excitation import ExcitedState, Radiolysis

BARN = knockon.BARN


def test_every_site_has_a_source_and_a_mark():
    """Names are unique within an element; every threshold says where it comes from and how sure it is; every velocity too."""
    assert len({(site.element, site.name) for site in SITES}) == len(SITES)
    for site in SITES:
        assert len(site.source) > 10
        assert site.mark in {"V", "M", "A"}
        assert (site.velocity2 is None and site.debye is None) or site.velocity_source


def test_loosely_bound_atoms_go_first():
    """Edges and neighbours of a vacancy or of Si are displaced more easily than bulk graphene, surfaces more easily than the bulk."""
    bulk = find_site("C", "graphene").displacement
    assert all(find_site("C", f"graphene-{name}").displacement < bulk for name in ("edge", "vacancy", "si"))
    for site in SITES:
        if site.name == "surface":
            assert site.displacement < find_site(site.element, "bulk").displacement


def test_parts_of_a_cross_section():
    """The total is the sum of its parts; thermal motion opens the channel below the static threshold."""
    rows = [cross_sections(find_site("C", "graphene-si"), energy) for energy in (60e3, 70e3, 80e3, 300e3)]
    assert [row.energy for row in rows] == [60e3, 70e3, 80e3, 300e3]
    assert rows[0].static == 0 < rows[0].knock_on
    assert rows[3].knock_on == pytest.approx(rows[3].static, rel=0.02)
    for row in rows:
        assert row.total == row.knock_on + row.excited + row.radiolysis


def test_silicon_hops_as_often_as_is_observed():
    """At 60 kV a C atom beside Si has the cross-section that was measured for P, 0.05 +- 0.02 barn (Su et al., Sci. Adv. 5 (2019) eaav2252, table 1).

    A second source: of 60 to 100 pA in a probe 1 A wide it makes the largest rate of putting-dune, ln 2 / 3 per second, but for a factor of 1.5. The
    computed threshold, 14.8 eV, gives 2.6e-3 barn.
    """
    seen, computed = (cross_sections(find_site("C", name), 60e3).total / BARN for name in ("graphene-si", "graphene-si-computed"))
    assert seen == pytest.approx(0.05, rel=0.02)
    assert computed == pytest.approx(2.6e-3, rel=0.01)
    peak = gaussian_density(1.0 / 2.3548).at(np.zeros((1, 2)))[0] * electrons.ELECTRONS_PER_PICOAMPERE_SECOND
    low, high = (seen * BARN * current * peak for current in (60.0, 100.0))
    assert process_library.DUNE_RATE / 1.5 < low < high < 1.5 * process_library.DUNE_RATE


def test_a_site_of_ones_own():
    """A changed threshold changes the cross-section; cold graphene is displaced less, hot graphene more."""
    site = find_site("C", "graphene")
    harder = dataclasses.replace(site, displacement=25.0)
    assert cross_sections(harder, 100e3).total < cross_sections(site, 100e3).total
    cold, room, hot = (cross_sections(site, 100e3, temperature=t).total for t in (80, 300, 900))
    assert cold < room < hot
    table = (dataclasses.replace(site, name="mine"),)
    assert cross_sections(find_site("C", "mine", table), 100e3).total == cross_sections(site, 100e3).total


def test_isotopes_of_a_site():
    """Graphene of 13C is displaced less than that of 12C (Meyer et al., PRL 108, 196102)."""
    site = find_site("C", "graphene")
    assert cross_sections(site, 95e3, mass=13.003355).total < 0.2 * cross_sections(site, 95e3, mass=12.0).total


def test_radiolysis_falls_as_one_over_v_squared():
    """Radiolysis goes as 1 / v^2 while knock-on grows with the voltage; it is proportional to its efficiency, and 0 without it."""
    one = Radiolysis(loss=10.0, electrons=6.0, efficiency=1e-3)
    ratio = one.cross_section(60e3) / one.cross_section(300e3)
    assert ratio == pytest.approx((electrons.velocity_ratio(300e3) / electrons.velocity_ratio(60e3)) ** 2, rel=1e-12)
    assert dataclasses.replace(one, efficiency=2e-3).cross_section(60e3) == pytest.approx(2 * one.cross_section(60e3))
    assert dataclasses.replace(one, efficiency=0.0).cross_section(60e3) == 0
    # Thomson: pi a0^2 (Ry / E)(Ry / loss) 4 at low energy, per electron; m v^2 / 2 = E
    classical = 4 * 3.14159265 * 0.529177**2 * 13.605693**2 / (2e3 * 10.0)
    assert Radiolysis(loss=10.0, electrons=1.0, efficiency=1.0).cross_section(2e3) == pytest.approx(classical, rel=0.01)


def test_excited_states_add_what_the_lower_threshold_gives():
    """With probability 1 the cross-section is that of the lowered threshold; with 0 it is plain knock-on."""
    site = dataclasses.replace(find_site("S", "mos2"), excited=None)
    plain = cross_sections(site, 80e3).total
    lowered = cross_sections(dataclasses.replace(site, displacement=site.displacement - 2), 80e3).total
    for probability, expected in ((0.0, plain), (1.0, lowered), (0.25, 0.75 * plain + 0.25 * lowered)):
        term = ExcitedState(lowering=2.0, probability=probability)
        assert cross_sections(dataclasses.replace(site, excited=term), 80e3).total == pytest.approx(expected, rel=1e-12)


def test_surface_rule():
    """A surface atom's threshold is 5/3 of its sublimation energy (Egerton et al., Ultramicroscopy 110 (2010) 991)."""
    assert surface_displacement(3.81) == pytest.approx(6.35)


def test_unknown_sites_are_refused_with_a_hint():
    """The message names the site that was probably meant, or those that there are."""
    with pytest.raises(UnknownNameError, match="Did you mean 'graphene'"):
        find_site("C", "graphen")
    with pytest.raises(UnknownNameError, match="Known sites of Au: bulk, surface"):
        find_site("Au", "tip")
    with pytest.raises(UnknownNameError, match="no element"):
        find_site("Qq", "bulk")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"displacement": -1.0}, "displacement"),
        ({"displacement": 1e5}, "displacement"),
        ({"mark": "?"}, "mark"),
        ({"debye": 2.0}, "debye"),
        ({"excited": ExcitedState(lowering=30.0, probability=0.1)}, "lowering"),
    ],
)
def test_absurd_sites_are_refused(change, words):
    """Thresholds and temperatures that cannot be are one clear sentence."""
    with pytest.raises(SettingsError, match=words):
        Site(**({"element": "C", "name": "mine", "displacement": 20.0, "mark": "A", "source": "measured here"} | change))


def test_a_velocity_of_one_temperature():
    """A velocity that is known at 300 K alone is not used at another temperature."""
    site = Site(element="C", name="mine", displacement=20.0, mark="A", source="measured here", velocity2=3e25)
    assert site.velocity2_at() == 3e25
    with pytest.raises(SettingsError, match="known at 300 K only"):
        site.velocity2_at(400)
