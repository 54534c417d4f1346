"""X-ray spectra of samples: counts follow current, thickness and solid angle; quantification returns the composition."""

from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.spectra import EDXDetector, edx, expected_edx, fit_lines, quantify, xray_data
from stemtwin.twin.physics import overlayer
from stemtwin.twin.physics.spectra import xrays
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=200e3, semiangle_mrad=20)
IDEAL = EDXDetector(absorption=False)
PLACE = PathScan(positions_angstrom=np.array([[1.0, 1.3]]))


def titanate(thickness):
    """Return one cell of SrTiO3."""
    return load_sample("srtio3-001", size_angstrom=(3.9, 3.9), thickness_angstrom=thickness)


def mean_spectrum(sample, detector):
    """Return the mean spectrum over a cell in the thin limit, (channels,)."""
    scan = RasterScan(shape=(8, 8), field_of_view_angstrom=sample.size_angstrom)
    return expected_edx(sample, BEAM, scan, detector, engine="thin").edx.mean(("y", "x")).values.astype(float)


# Energies, eV, from xraydb: O Ka 524.9, Al 1486.5, Si 1739.8, S 2309.5, Ti 4512.2, Sr La 1805.8, Au Ma 2118.4.
@pytest.mark.parametrize(("number", "name", "energy"), [
    (8, "Ka1", 524.9), (13, "Ka1", 1486.5), (14, "Ka1", 1739.8), (16, "Ka1", 2309.5), (22, "Ka1", 4512.2), (38, "La1", 1805.8), (79, "Ma", 2118.4),
])  # fmt: skip
def test_lines(number, name, energy):
    """Lines lie where tables have them, yields are between 0 and 1, and a shell's weights add up to no more than 1."""
    found = {line.name: line.energy for shell in xray_data.shells(number) for line in shell.lines}
    assert found[name] == pytest.approx(energy, abs=0.5)
    for shell in xray_data.shells(number):
        assert 0 < shell.fluorescence < 1
        assert sum(line.weight for line in shell.lines) <= 1.001


def test_counts_are_the_formula():
    """N = (I t / e) n Q omega a (Omega / 4 pi) epsilon, for a slab of known density."""
    sample = titanate(100)
    detector = replace(IDEAL, bremsstrahlung=False, energy_range_ev=(4200.0, 4800.0), dispersion_ev=5.0)
    counted = mean_spectrum(sample, detector).sum()
    areal = (sample.numbers == 22).sum() / np.prod(sample.size_angstrom)
    shell = next(each for each in xray_data.shells(22) if each.name == "K")
    weight = sum(line.weight for line in shell.lines if line.name.startswith("Ka"))
    sigma = xrays.ionisation_casnati(shell.energy, 2, 200e3)
    seen = xrays.efficiency([xray_data.silicon_depth(np.array([4510.0]), 300.0)], xray_data.silicon_depth(np.array([4510.0]), 450e4))[0]
    wanted = areal * sigma * shell.fluorescence * weight * 0.7 / (4 * np.pi) * seen
    assert counted == pytest.approx(wanted, rel=0.01)


def test_a_film_emits_carbon():
    """No film: the same bits. A film of carbon gives C K in proportion to its height, by the formula of any element, and absorbs a little of O K."""
    place = PathScan(positions_angstrom=np.full((3, 2), 1.0))
    detector = EDXDetector(energy_range_ev=(100.0, 1000.0), dispersion_ev=5.0, bremsstrahlung=False)

    def taken(heights, **settings):
        return expected_edx(titanate(8), BEAM, place, replace(detector, **settings), engine="thin", film_angstrom=heights).edx.to_numpy()

    heights = np.array([2.0, 4.0, 8.0])
    clean, filmed = taken(None), taken(heights)
    np.testing.assert_array_equal(clean, taken(np.zeros(3)))
    carbon = slice(0, 70)  # up to 450 eV
    counts = (filmed - clean)[:, carbon].sum(axis=1)
    assert counts / counts[0] == pytest.approx(heights / heights[0], rel=5e-3)
    (lines,) = edx.lines_of(6, BEAM.energy_ev, detector)
    expected = overlayer.CARBON_DENSITY * heights * lines.sensitivity
    assert (taken(heights, absorption=False) - taken(None, absorption=False)).sum(axis=1) == pytest.approx(expected, rel=5e-3)
    oxygen = slice(75, 95)
    assert 0.995 < filmed[2, oxygen].sum() / clean[2, oxygen].sum() < 1


def test_counts_follow_thickness_and_solid_angle():
    """Twice the thickness, twice the counts; twice the solid angle, twice the counts."""
    thin, thick = (mean_spectrum(titanate(t), IDEAL) for t in (78.1, 156.2))
    np.testing.assert_allclose(thick.sum() / thin.sum(), 2, rtol=1e-3)
    wide = mean_spectrum(titanate(78.1), replace(IDEAL, solid_angle_sr=1.4))
    np.testing.assert_allclose(wide, 2 * thin, rtol=1e-5)


def test_composition_comes_back():
    """Cliff and Lorimer return SrTiO3, noise-free within 0.5 %, counted within five standard errors."""
    spectrum = mean_spectrum(titanate(100), IDEAL)
    wanted = {"Sr": 0.2, "Ti": 0.2, "O": 0.6}
    found = quantify(spectrum, ("Sr_L", "Ti_K", "O_K"), BEAM, IDEAL)
    assert found == pytest.approx(wanted, rel=5e-3)
    counts = np.random.default_rng(4).poisson(spectrum / spectrum.sum() * 3e5)
    lines = fit_lines(counts, ("Sr", "Ti", "O"), BEAM, IDEAL)
    noisy = quantify(counts, ("Sr_L", "Ti_K", "O_K"), BEAM, IDEAL)
    for symbol, line in (("Sr", "Sr_L"), ("Ti", "Ti_K"), ("O", "O_K")):
        assert noisy[symbol] == pytest.approx(wanted[symbol], rel=10 / np.sqrt(lines[line]))


def test_absorption_can_be_switched():
    """Absorption takes more of the soft lines, more in thick specimens, nothing in thin ones; with the electrons known it is added back."""
    ratio, lines, wanted = {}, ("Sr_L", "Ti_K", "O_K"), {"Sr": 0.2, "Ti": 0.2, "O": 0.6}
    for thickness in (4, 2000):
        sample = titanate(thickness)
        with_absorption = mean_spectrum(sample, EDXDetector())
        ratio[thickness] = with_absorption / np.maximum(mean_spectrum(sample, IDEAL), 1e-300)
        assert quantify(with_absorption, lines, BEAM, EDXDetector(), electrons=1.0) == pytest.approx(wanted, rel=0.03)
        bare = quantify(with_absorption, lines, BEAM, EDXDetector())
        assert (bare["O"] == pytest.approx(0.6, rel=0.01)) if thickness == 4 else (bare["O"] < 0.4)
        with pytest.raises(SettingsError, match="electrons=0"):
            quantify(with_absorption, lines, BEAM, EDXDetector(), electrons=0.0)
    energies = IDEAL.energies()
    oxygen, titanium = np.abs(energies - 525).argmin(), np.abs(energies - 4510).argmin()
    assert ratio[4][oxygen] == pytest.approx(1, abs=0.01)
    assert ratio[2000][oxygen] < 0.9
    assert ratio[2000][oxygen] < ratio[2000][titanium] < 1


def test_heavy_atoms_radiate_more_background():
    """Bremsstrahlung goes as Z^2 per atom: gold's is (79/13)^2 of aluminium's."""
    gold, aluminium = (edx._bremsstrahlung((z,), 200e3, IDEAL)[0] for z in (79, 13))
    np.testing.assert_allclose(gold[300:1000] / aluminium[300:1000], (79 / 13) ** 2, rtol=1e-6)


def test_channelling_changes_what_is_seen():
    """On its columns an element is seen more than beside them, and more sharply than in the low loss."""
    at = PathScan(positions_angstrom=np.array([[0.0, 0.0], [1.9525, 1.9525]]))
    result = expected_edx(titanate(8), BEAM, at, IDEAL, engine="operator", phonons="static")
    strontium, titanium = result["density_Sr_L"].values, result["density_Ti_K"].values
    assert strontium[0] > 5 * strontium[1]
    assert titanium[1] > 5 * titanium[0]
    assert result.edx.dims == ("point", "energy_ev")


def test_errors():
    """Elements without X-ray data, spectra of another detector, lines that are not seen: refused."""
    heavy = Sample(name="es", numbers=[99], positions_angstrom=[[1, 1, 1]], size_angstrom=(8, 8), thickness_angstrom=3)
    with pytest.raises(SettingsError, match="element 99"):
        expected_edx(heavy, BEAM, PLACE, IDEAL)
    with pytest.raises(SettingsError, match="channels"):
        fit_lines(np.ones(5), ("Ti",), BEAM, IDEAL)
    with pytest.raises(SettingsError, match="Xx"):
        fit_lines(np.ones(IDEAL.channels), ("Xx",), BEAM, IDEAL)
    with pytest.raises(SettingsError, match="Ti_M"):
        quantify(np.ones(IDEAL.channels), ("Ti_M", "O_K"), BEAM, IDEAL)
    for wrong in ({"resolution_ev": 100.0}, {"solid_angle_sr": 20.0}, {"take_off_deg": 0.0}, {"energy_range_ev": (-5.0, 10.0)}):
        with pytest.raises(SettingsError):
            EDXDetector(**wrong)


def test_few_counts_do_not_pull_the_fit_down():
    """The mean of many fits of few counts is what was put in, within its error: no bias by weights that follow the noise."""
    detector = EDXDetector(energy_range_ev=(200, 6200), dispersion_ev=20)
    groups = [group for symbol in ("Ti", "O") for group in edx.lines_of(edx.NUMBERS[symbol], BEAM.energy_ev, detector)]
    put_in = {group.name: 60.0 for group in groups}
    mean = sum(60.0 * group.counts @ group.shapes / group.sensitivity for group in groups) + 0.05
    rng = np.random.default_rng(3)
    fits = [edx.fit_lines(rng.poisson(mean), ("Ti", "O"), BEAM, detector) for _ in range(60)]
    for name in ("Ti_K", "O_K"):
        found = np.array([fit[name] for fit in fits])
        assert abs(found.mean() - put_in[name]) < 4 * found.std() / np.sqrt(len(fits)) + 0.03 * put_in[name]
