"""Low loss: row 15 of the acceptance table, dielectric models, surfaces, plural scattering."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.spectra import coreloss, dielectric, gos, lowloss
from stemtwin.twin.physics.spectra.dielectric import MATERIALS, Material
from stemtwin.twin.physics.spectra.zeroloss import zero_loss

BEAM, BETA = 200e3, 20e-3

# Mean free paths in nm by Iakoubovskii for 200 and 300 kV; recomputed by hand from the printed formula. Densities of C, Si, Al, Cu, Au, SrTiO3, MgO
# and ice, g/cm^3.
PATHS = [
    (1.9, (156.6, 188.3)), (2.33, (148.8, 178.9)), (2.70, (143.5, 172.4)), (8.96, (106.7, 127.9)),
    (19.3, (88.5, 105.9)), (5.12, (122.5, 147.0)), (3.58, (133.8, 160.7)), (0.92, (187.8, 226.0)),
]  # fmt: skip


@pytest.mark.parametrize(("density", "paths"), PATHS)
def test_mean_free_paths(density, paths):
    """Mean free paths are those of the published parametrisation, within 1 %."""
    for energy, path in zip((200e3, 300e3), paths, strict=True):
        assert lowloss.mean_free_path(density, energy) == pytest.approx(10 * path, rel=0.01)


@given(density=st.floats(0.5, 20), energy=st.floats(60e3, 300e3), alpha=st.floats(0, 30e-3))
def test_mean_free_path_with_angles(density, energy, alpha):
    """A larger collection angle takes in more losses, up to the cut-off; a wide aperture gives the path of all losses."""
    paths = [lowloss.mean_free_path(density, energy, beta, alpha) for beta in (5e-3, 10e-3, 40e-3, 0.5)]
    assert np.diff(paths).max() <= 1e-12 * paths[0]  # equal below the convergence
    assert paths[-1] == pytest.approx(lowloss.mean_free_path(density, energy), rel=5e-3)


# Free-electron plasmon energies of the valence electrons, eV: Al 15.79, Si 16.60 from 28.816 sqrt(z rho / A).
def test_plasmon_energies():
    """The plasmon energy is 28.816 eV sqrt(z rho / A), rho in g/cm^3."""
    assert dielectric.plasmon_energy(3 * MATERIALS["aluminium"].density) == pytest.approx(28.816 * math.sqrt(3 * 2.70 / 26.98), rel=2e-3)
    assert dielectric.plasmon_energy(4 * MATERIALS["silicon"].density) == pytest.approx(16.60, rel=2e-3)


def test_one_loss_oscillator_is_drude():
    """A metal with one oscillator has eps = 1 - Ep^2 / (E^2 + i E G), and its loss function is E G Ep^2 / ((E^2 - Ep^2)^2 + (E G)^2)."""
    loss = np.linspace(0.5, 60, 500)
    aluminium = MATERIALS["aluminium"]
    np.testing.assert_allclose(dielectric.permittivity(aluminium, loss), 1 - 15.0**2 / (loss**2 + 1j * loss * 0.53), rtol=1e-10)
    drude = loss * 0.53 * 15.0**2 / ((loss**2 - 15.0**2) ** 2 + (loss * 0.53) ** 2)
    np.testing.assert_allclose(dielectric.loss_function(aluminium, loss), drude, rtol=1e-10)


@pytest.mark.parametrize("name", MATERIALS)
def test_materials_are_passive_and_sum_up(name):
    """Im eps > 0 everywhere (no gain), the loss function obeys Kramers and Kronig's relation at E = 0, 2/pi int Im(-1/eps) / E dE = 1 - 1/eps(0)."""
    material = MATERIALS[name]
    loss = np.concatenate([np.linspace(1e-4, 100, 400_001), np.geomspace(100, 1e5, 20_001)[1:]])
    assert dielectric.permittivity(material, loss).imag.min() > 0
    bare = -dielectric.inverse_permittivity(material, loss).imag
    assert 2 / np.pi * np.trapezoid(bare / loss, loss) == pytest.approx(1 - 1 / material.static, abs=1e-3)
    assert material.source


def test_plasmon_of_the_table_is_where_spectra_have_it():
    """The loss function's main maximum lies at the measured plasmon energies: aluminium 15.0, silicon 16.7 eV (Egerton's table)."""
    loss = np.linspace(1, 60, 5901)
    for name, energy in (("aluminium", 15.0), ("silicon", 16.7)):
        assert loss[dielectric.loss_function(MATERIALS[name], loss).argmax()] == pytest.approx(energy, abs=0.2)


@pytest.mark.parametrize("name", ["aluminium", "srtio3", "gold"])
@pytest.mark.parametrize("exponent", [None, 2.5, 4.0])
def test_single_scattering(name, exponent):
    """The single-scattering distribution has area 1, is 0 below the gap, and beyond the plasmons falls as E^-r without a step."""
    material = MATERIALS[name]
    loss = np.concatenate([np.linspace(0, 200, 200_001), np.geomspace(200, 20e3, 20_001)[1:]])
    s = lowloss.single_scattering(material, loss, BEAM, BETA, exponent=exponent)
    assert np.trapezoid(s, loss) == pytest.approx(1, abs=1e-4)
    assert s[loss < material.gap].max(initial=0) == 0
    slope = np.log(np.interp(600, loss, s) / np.interp(300, loss, s)) / math.log(2)
    assert slope == pytest.approx(-(exponent or 3.3), abs=1e-3 if exponent else 0.4)
    jump = np.abs(np.diff(s[(loss > 40) & (loss < 200)]))
    assert jump.max() < 2e-3 * s.max()


def test_surface_probability():
    """Of free electrons, one surface's positive term holds (pi/2) e^2 / (hbar v) (Ritchie 1957), half of which the bulk plasmon loses."""
    drude = Material(name="test", formula=(("Al", 1),), density=0.06, losses=((15.0, 0.05, 1.0),))
    loss = np.concatenate([np.linspace(1e-3, 30, 300_001), np.geomspace(30, 2000, 4001)[1:]])
    density = lowloss.surface_loss(drude, loss, BEAM, 0.3)
    unit = electrons.COULOMB_CONSTANT / (electrons.PLANCK_C / (2 * np.pi) * electrons.velocity_ratio(BEAM))
    surface = (loss > 8) & (loss < 12.5)
    assert np.trapezoid(density[surface], loss[surface]) == pytest.approx(np.pi / 2 * unit, rel=0.02)
    bulk = (loss > 13) & (loss < 17)
    assert np.trapezoid(density[bulk], loss[bulk]) == pytest.approx(-np.pi / 4 * unit, rel=0.02)
    assert loss[density.argmax()] == pytest.approx(15 / math.sqrt(2), abs=0.05)


@pytest.mark.parametrize("name", ["aluminium", "mos2", "srtio3"])
def test_slabs(name):
    """A thick slab has two independent surfaces; a thin one loses as Im eps, and no slab gains: bulk and surfaces together are never negative."""
    material, loss = MATERIALS[name], np.linspace(4.0, 60, 800)
    thick = lowloss.slab_surfaces(material, loss, BEAM, BETA, 3000.0)
    single = lowloss.surface_loss(material, loss, BEAM, BETA)
    np.testing.assert_allclose(thick, 2 * single, atol=0.03 * np.abs(single).max())
    rate = lowloss.bulk_rate(material, loss, BEAM, BETA)
    for thickness in (0.5, 3.0, 20.0, 100.0, 1000.0):
        both = thickness * rate + lowloss.slab_surfaces(material, loss, BEAM, BETA, thickness)
        assert both.min() > -1e-3 * both.max()
    thin = 2e-4 * rate + lowloss.slab_surfaces(material, loss, BEAM, BETA, 2e-4)
    # t Im[-theta_E^2 / eps + theta^2 eps] / (theta^2 + theta_E^2)^2, integrated over angles up to beta
    theta_e = coreloss.characteristic_angle(loss, BEAM)
    x = (BETA / theta_e) ** 2
    eps = 1 / dielectric.inverse_permittivity(material, loss)
    gap = np.sqrt(np.clip(1 - material.gap / loss, 0, 1))
    wanted = (-1 / eps).imag * x / (1 + x) + eps.imag * (np.log1p(x) - x / (1 + x))
    scale = 2e-4 * gap / (np.pi * gos.BOHR * 2 * coreloss.half_velocity_energy(BEAM))
    np.testing.assert_allclose(thin, scale * wanted, rtol=0.03, atol=2e-3 * (scale * wanted).max())


@pytest.mark.parametrize("thickness", [0.1, 0.5, 1.0, 2.0])
def test_log_ratio_is_the_thickness(thickness):
    """ln(I_total / I_0) = t / lambda within 1e-3 over the full loss range."""
    axis = lowloss.LossAxis(0.2, 2000.0)
    edges = 0.2 * (np.arange(-100, 102) - 0.5)
    peak = axis.zero_loss(zero_loss(edges, 0.6), -100)
    s = axis.transform(lowloss.single_scattering(MATERIALS["srtio3"], axis.loss, BEAM, BETA))
    spectrum = axis.back(lowloss.plural(peak, s[None], np.array([thickness])))
    none = axis.back(peak) * math.exp(-thickness)
    assert math.log(spectrum.sum() / none.sum()) == pytest.approx(thickness, abs=1e-3)
    # the zero loss as one measures it: 1.5 eV around 0, where SrTiO3 loses nothing
    window = np.r_[0:8, -8:0]
    assert math.log(spectrum.sum() / spectrum[window].sum()) == pytest.approx(thickness, abs=2e-3)


def test_plural_terms_are_poisson():
    """Plural scattering is the sum of Poisson-weighted, repeated, direct convolutions, each with the zero-loss peak."""
    axis, step, tau = lowloss.LossAxis(0.25, 250.0), 0.25, 0.5
    edges = step * (np.arange(-60, 62) - 0.5)
    fractions = zero_loss(edges, 1.0, asymmetry=0.3, lorentz=0.1)
    density = lowloss.single_scattering(MATERIALS["aluminium"], axis.loss, BEAM, BETA)
    fast = axis.back(lowloss.plural(axis.zero_loss(fractions, -60), axis.transform(density)[None], np.array([tau])))
    single, term, slow = density * step, np.zeros(axis.kept), np.zeros(axis.kept)
    term[0] = 1.0
    for n in range(12):
        slow += math.exp(-tau) * tau**n / math.factorial(n) * term
        term = np.convolve(term, single)[: axis.kept]
    slow = np.convolve(slow, fractions)[60 : 60 + axis.kept]
    np.testing.assert_allclose(fast[:900], slow[:900], atol=2e-9)
    weights = [math.exp(-tau) * tau**n / math.factorial(n) for n in range(4)]
    np.testing.assert_allclose(weights, [0.606531, 0.303265, 0.075816, 0.012636], atol=1e-6)


@given(amounts=st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_kinds_of_loss_are_independent(amounts):
    """Two kinds of loss give the convolution of each one's spectrum: probabilities of independent events multiply in Fourier space."""
    axis = lowloss.LossAxis(0.5, 150.0)
    kinds = np.stack([axis.transform(lowloss.single_scattering(MATERIALS[name], axis.loss, BEAM, BETA)) for name in ("silicon", "gold")])
    one = np.ones(kinds.shape[1], complex)
    both = lowloss.plural(one, kinds, np.array(amounts))
    apart = [lowloss.plural(one, kinds[i : i + 1], np.array(amounts[i : i + 1])) for i in range(2)]
    np.testing.assert_allclose(both, apart[0] * apart[1], rtol=1e-10)


def test_elastic_cross_section_falls_with_the_angle():
    """Born's cross-section beyond an angle: less for larger angles, more for heavier atoms; far out Rutherford's Z^2 / theta^2."""
    carbon = [lowloss.elastic_cross_section(6, BEAM, angle) for angle in (1e-3, 10e-3, 50e-3)]
    assert carbon == sorted(carbon, reverse=True)
    assert lowloss.elastic_cross_section(79, BEAM, 10e-3) > 10 * carbon[1]
    wave = electrons.wavelength(BEAM) / (2 * np.pi)
    rutherford = 4 * np.pi * 36 * electrons.lorentz_factor(BEAM) ** 2 * wave**4 / (gos.BOHR * 0.3) ** 2
    assert lowloss.elastic_cross_section(6, BEAM, 0.3) == pytest.approx(rutherford, rel=0.1)
    survival = lowloss.elastic_survival({79: np.array([0.0, 0.1])}, BEAM, 10e-3)
    assert survival[0] == 1
    assert survival[1] == pytest.approx(math.exp(-0.1 * lowloss.elastic_cross_section(79, BEAM, 10e-3)))


def test_free_electrons_for_what_the_table_lacks():
    """A composition without a table entry gets the plasmon of its valence electrons; an element without a number of them is refused."""
    magnesium = dielectric.free_electron_material({"Mg": 1.0}, 0.0431)
    assert magnesium.losses[0][0] == pytest.approx(10.9, abs=0.1)  # measured: 10.3 eV
    assert dielectric.find(frozenset({"Sr", "Ti", "O"})) is MATERIALS["srtio3"]
    assert dielectric.find(frozenset({"Mg"})) is None
    with pytest.raises(SettingsError, match="U"):
        dielectric.free_electron_material({"U": 1.0}, 0.048)
    with pytest.raises(UnknownNameError, match="unobtainium"):
        dielectric.material("unobtainium")


def test_bad_settings():
    """Numbers without meaning are refused with a sentence."""
    with pytest.raises(SettingsError, match="mass_density"):
        lowloss.mean_free_path(0.0, BEAM)
    with pytest.raises(SettingsError, match="exponent"):
        lowloss.single_scattering(MATERIALS["gold"], np.ones(1), BEAM, BETA, exponent=1.0)
    with pytest.raises(SettingsError, match="dispersion"):
        lowloss.LossAxis(1e-4, 2000.0)
