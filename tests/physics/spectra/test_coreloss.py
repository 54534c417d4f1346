"""Core-loss cross-sections: published values, onsets, angles, white lines, delocalisation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.scattering_factors import SYMBOLS
from stemtwin.twin.physics.spectra import coreloss, ionisation_edges, photoabsorption
from stemtwin.twin.physics.spectra.coreloss import BARN
from stemtwin.twin.samples.library import list_samples, load_sample

# Barn over 100 eV, computed with exspy 0.3.2 (Egerton's hydrogenic routines, with his corrections of the L shells).
PUBLISHED = [
    ("C_K", 100e3, 10e-3, 6151),
    ("C_K", 60e3, 30e-3, 12087),
    ("O_K", 100e3, 10e-3, 1482.5),
    ("O_K", 200e3, 20e-3, 1826.6),
    ("Ti_L3", 200e3, 20e-3, 6944),
]


@pytest.mark.parametrize(("name", "energy", "collection", "barn"), PUBLISHED)
def test_published_cross_sections(name, energy, collection, barn):
    """Cross-sections over 100 eV are the published ones within 20 %; hydrogenic K shells within 1 %."""
    ours = coreloss.cross_section(ionisation_edges.edge(name), 100, energy, collection, white_lines=False) / BARN
    assert ours == pytest.approx(barn, rel=0.2)
    if name.endswith("K"):
        assert ours == pytest.approx(barn, rel=0.01)


# Onsets of energy-loss spectra, eV (EELS Atlas, as in exspy's table).
ONSETS = {
    "Li_K": 55, "B_K": 188, "C_K": 284, "N_K": 401, "O_K": 532, "F_K": 685, "Na_K": 1072, "Mg_K": 1305, "Al_K": 1560, "Al_L3": 73, "Si_K": 1839,
    "Si_L3": 99.2, "P_K": 2146, "P_L3": 132, "S_L3": 165, "Cl_L3": 200, "K_L3": 294, "Ca_L3": 346, "Ti_L3": 456, "V_L3": 513, "Cr_L3": 575,
    "Mn_L3": 640, "Fe_L3": 708, "Co_L3": 779, "Ni_L3": 855, "Cu_L3": 931, "Zn_L3": 1020, "Ga_L3": 1115, "Ge_L3": 1217, "Sr_L3": 1940, "Sr_M5": 134,
    "Y_L3": 2080, "Zr_L3": 2222, "Zr_M5": 181, "Nb_L3": 2371, "Nb_M5": 202, "Mo_L3": 2520, "Mo_M5": 227, "Ag_M5": 367, "Ba_M5": 781, "La_M5": 832,
    "Ce_M5": 883, "W_M5": 1809, "Pt_M5": 2122, "Au_M5": 2206,
}  # fmt: skip


@pytest.mark.parametrize("name", ONSETS)
def test_onsets(name):
    """Where the cross-section rises to half of its first maximum lies within 0.5 eV of the onset of energy-loss spectra."""
    edge = ionisation_edges.edge(name)
    loss = ONSETS[name] + np.arange(-5, 8, 0.02)
    values = coreloss.differential(edge, loss, 200e3, 20e-3)
    peak = np.flatnonzero((values[1:-1] >= values[2:]) & (values[1:-1] > values[:-2]))
    first = values[peak[0] + 1] if len(peak) else values.max()
    assert loss[np.flatnonzero(values >= 0.5 * first)[0]] == pytest.approx(ONSETS[name], abs=0.5)


@pytest.mark.slow
def test_every_element_of_the_library_has_an_edge():
    """Whatever a specimen of the library is made of, hydrogen apart, has edges, and they have cross-sections."""
    symbols = {symbol for name in list_samples() for symbol in load_sample(name).symbols}
    symbols |= {"Ba", "Pb", "La", "Fe", "Mn", "Bi", "W", "Se", "Te", "N", "B", "Pt", "Pd", "Ce", "Mg", "Ge", "Ni", "Al", "Li", "Co", "In", "F", "Sn"}
    for symbol in symbols:
        found = ionisation_edges.edges_of(SYMBOLS.index(symbol))
        assert bool(found) is (symbol != "H")
        for edge in found:
            assert coreloss.cross_section(edge, 100, 200e3, 20e-3) > 0


def test_optical_table_belongs_to_the_edges():
    """Every L and M edge has an optical strength, and every strength an edge; all are positive."""
    names = {
        f"{edge.symbol}_{edge.shell}"
        for symbol in ionisation_edges.ONSETS
        for edge in ionisation_edges.edges_of(SYMBOLS.index(symbol))
        if edge.shell != "K"
    }
    assert names == set(photoabsorption.STRENGTH)
    assert min(min(values) for values in photoabsorption.STRENGTH.values()) > 0


@pytest.mark.parametrize("name", ["Fe_L3", "Sr_L3", "Cu_L3"])
def test_optical_strength_is_near_the_hydrogenic_one(name):
    """Measured optical strengths of deep L shells are those of the hydrogenic model within 30 % (screening): an independent check of the table."""
    from stemtwin.twin.physics.spectra import gos

    edge = ionisation_edges.edge(name)
    loss = edge.onset + np.array([150.0, 300.0, 600.0])
    charge = gos.effective_charge("2p", edge.number)
    count = 6 * gos.hydrogenic("2p", charge, loss, np.zeros(1)) + np.where(
        loss > dict(edge.subshells)["L1"], 2 * gos.hydrogenic("2s", charge, loss, np.zeros(1)), 0
    )
    np.testing.assert_allclose(coreloss.optical_strength(edge, loss), count, rtol=0.3)


@given(theta=st.floats(1e-4, 0.08), alpha=st.floats(1e-3, 40e-3), beta=st.floats(1e-3, 40e-3))
def test_accepted_part_of_a_cone(theta, alpha, beta):
    """The overlap of two discs is the share of random rays of the cone that end inside the collection aperture."""
    rng = np.random.default_rng(3)
    r, phi = alpha * np.sqrt(rng.random(40_000)), 2 * np.pi * rng.random(40_000)
    inside = np.hypot(r * np.cos(phi) + theta, r * np.sin(phi)) < beta
    assert coreloss.accepted(np.array(theta), alpha, beta) == pytest.approx(inside.mean(), abs=0.012)


@settings(max_examples=20)
@given(name=st.sampled_from(["C_K", "Ti_L3", "La_M5"]), beta=st.floats(3e-3, 50e-3), alpha=st.floats(0, 50e-3))
def test_more_collection_more_signal(name, beta, alpha):
    """Cross-sections grow with the collection angle, shrink with the convergence; where all is collected, the convergence does not matter."""
    sigma = [coreloss.cross_section(ionisation_edges.edge(name), 50, 200e3, angle, convergence=alpha) for angle in (beta, 1.5 * beta)]
    assert 0 < sigma[0] < sigma[1]
    assert sigma[0] <= coreloss.cross_section(ionisation_edges.edge(name), 50, 200e3, beta) * (1 + 1e-9)
    wide = [coreloss.cross_section(ionisation_edges.edge(name), 50, 200e3, 0.3, convergence=angle) for angle in (0.0, alpha)]
    assert wide[0] == pytest.approx(wide[1], rel=2e-3)


def test_dipole_limit():
    """For small angles dsigma/dE = (4 a0^2 R^2 / E T) pi ln(1 + (beta / theta_E)^2) df/dE: the optical limit (Egerton, eq. 3.151)."""
    from stemtwin.twin.physics.spectra import gos

    edge, loss, beta = ionisation_edges.edge("C_K"), np.array([290.0, 330.0]), 2e-3
    t = coreloss.half_velocity_energy(200e3)
    dipole = 4 * np.pi * gos.BOHR**2 * gos.RYDBERG**2 / (loss * t) * np.log1p((beta / coreloss.characteristic_angle(loss, 200e3)) ** 2)
    np.testing.assert_allclose(coreloss.differential(edge, loss, 200e3, beta), dipole * coreloss.optical_strength(edge, loss), rtol=0.01)


@pytest.mark.parametrize("name", sorted(ionisation_edges.WHITE_LINES))
def test_white_lines(name):
    """The two lines share the strength by the branching ratio, in proportion to the holes; the valence moves lines and onset together."""
    edge, lines = ionisation_edges.edge(f"{name}_{'M5' if SYMBOLS.index(name) >= 55 else 'L3'}"), ionisation_edges.WHITE_LINES[name]
    loss = np.arange(edge.onset - 60, edge.onset + 90, 0.01)
    strength, shift = coreloss.white_line_strength(edge, loss)
    assert shift == 0
    assert np.trapezoid(strength, loss) == pytest.approx(lines.holes * lines.strength, rel=2e-3)
    middle = (edge.subshells[0][1] + edge.subshells[1][1] + lines.splitting + sum(lines.widths) / 2) / 2
    lower = np.trapezoid(strength[loss < middle], loss[loss < middle]) / np.trapezoid(strength, loss)
    assert lower == pytest.approx(lines.branching, abs=0.05)
    less, moved = coreloss.white_line_strength(edge, loss, valence=lines.valence - 1)
    assert moved == pytest.approx(-lines.shift)
    assert np.trapezoid(less, loss) / np.trapezoid(strength, loss) == pytest.approx((lines.holes - 1) / lines.holes, rel=2e-3)
    assert loss[less.argmax()] - loss[strength.argmax()] == pytest.approx(-lines.shift, abs=0.02)


def test_valence_out_of_range():
    """A valence that leaves more holes than states is refused."""
    with pytest.raises(SettingsError, match="valence"):
        coreloss.differential(ionisation_edges.edge("Fe_L3"), np.array([710.0]), 200e3, 20e-3, valence=12)


@given(loss=st.floats(20, 3000), energy=st.floats(60e3, 300e3), collection=st.floats(10e-3, 0.1))
def test_delocalisation(loss, energy, collection):
    """d50 shrinks with the loss as E^(-3/4) until diffraction at the collection aperture takes over (Egerton's two terms)."""
    d50 = coreloss.delocalisation(loss, energy, collection)
    assert d50 > coreloss.delocalisation(2 * loss, energy, collection)
    assert d50 > 0.6 * electrons.wavelength(energy) / collection
    free = [
        math.sqrt(coreloss.delocalisation(e, energy, collection) ** 2 - (0.6 * electrons.wavelength(energy) / collection) ** 2)
        for e in (loss, 16 * loss)
    ]
    assert free[0] / free[1] == pytest.approx(8, rel=1e-6)


def test_bad_names_and_settings():
    """Unknown edges, beams that are too slow, angles in mrad: each is refused with the repair."""
    with pytest.raises(UnknownNameError, match="Ti_L3"):
        ionisation_edges.edge("Ti_K9")
    with pytest.raises(UnknownNameError, match="Qq"):
        ionisation_edges.edge("Qq_K")
    assert ionisation_edges.edge("Ti L").name == "Ti_L3"
    with pytest.raises(SettingsError, match="no ionisation edges of U"):
        ionisation_edges.edges_of(92)
    with pytest.raises(SettingsError, match="mrad"):
        coreloss.differential(ionisation_edges.edge("C_K"), np.array([300.0]), 200e3, 20.0)
    with pytest.raises(SettingsError, match="keV"):
        coreloss.differential(ionisation_edges.edge("C_K"), np.array([300.0]), 200, 20e-3)
    with pytest.raises(SettingsError, match="too slow"):
        coreloss.differential(ionisation_edges.edge("Au_M5"), np.array([2300.0]), 3000, 20e-3)
