"""Energy-loss spectra of samples: conservation, thickness, edges, channelling, plasmons that no image shows."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.instrument.scan import PathScan, RasterScan, SerpentineScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.spectra import EELSDetector, LossModel, Particle, areal_densities, eels, expected_eels, read_out
from stemtwin.twin.instrument.spectra.areal_densities import LossChannel, densities
from stemtwin.twin.instrument.spectra.materials import islands, regions
from stemtwin.twin.physics import noise, overlayer
from stemtwin.twin.physics.spectra import coreloss, lowloss
from stemtwin.twin.physics.spectra import ionisation_edges as edge_table
from stemtwin.twin.physics.spectra.dielectric import MATERIALS
from stemtwin.twin.physics.spectra.plasmons import FlakeModes
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=200e3, semiangle_mrad=20, source_size_angstrom=0.3)
LOW = EELSDetector(energy_range_ev=(-20, 492), dispersion_ev=0.5, collection_mrad=40, zero_loss_fwhm_ev=1.2, zero_loss_lorentz=0.0)
CORE = EELSDetector(energy_range_ev=(400, 656), dispersion_ev=0.5, collection_mrad=40)
COLUMNS = PathScan(positions_angstrom=np.array([[0.0, 0.0], [1.9525, 1.9525], [1.9525, 0.0]]))  # Sr, Ti and O, O


@pytest.fixture(scope="module")
def titanate():
    """Return one cell of SrTiO3, thin."""
    return load_sample("srtio3-001", size_angstrom=(3.9, 3.9), thickness_angstrom=4)


@pytest.fixture(scope="module")
def film():
    """Return one cell of SrTiO3, 200 A thick."""
    return load_sample("srtio3-001", size_angstrom=(3.9, 3.9), thickness_angstrom=200)


@pytest.fixture(scope="module")
def particle():
    """Return an aluminium particle, alone in its box."""
    from ase.cluster import Octahedron

    atoms = Octahedron("Al", 9, 2)
    atoms.center(vacuum=30)
    return Sample.from_ase(atoms, name="particle", periodic=False)


def test_a_film_adds_its_thickness_and_its_carbon(titanate):
    """No film: the same bits. A film of carbon adds h / lambda to ln(I_total / I_0), C K in proportion to h, by its cross-section.

    The core loss above its onset is the difference of spectra with the edge and without, of films so thin that no electron loses energy twice.
    """
    place = PathScan(positions_angstrom=np.full((3, 2), 1.0))

    def taken(heights, edges=None):
        return expected_eels(titanate, BEAM, place, LOW, engine="thin", edges=edges, film_angstrom=heights)

    clean, bare, thick = taken(None), taken(np.zeros(3)), taken(np.full(3, 60.0))
    np.testing.assert_array_equal(clean.eels, bare.eels)
    path = lowloss.mean_free_path(eels.FILM.mass_density, 200e3, 40e-3, 20e-3)
    np.testing.assert_allclose(thick.t_over_lambda - clean.t_over_lambda, 60.0 / path, rtol=1e-9)
    zero = [float(d.eels[0].sel(energy_ev=slice(-20, 4)).sum() / d.collected[0]) for d in (clean, thick)]
    assert math.log(zero[0] / zero[1]) == pytest.approx(60.0 / path, rel=0.03)
    assert (thick.collected < clean.collected).all()
    heights = np.array([1.0, 2.0, 4.0])
    with_edge, without = (taken(heights, edges).eels.sel(energy_ev=slice(284, 440)).sum("energy_ev") for edges in (("C_K",), ()))
    counted = (with_edge - without).to_numpy()
    assert counted / counted[0] == pytest.approx(heights, rel=0.02)
    edge = coreloss.differential(edge_table.edge("C_K"), 0.5 * np.arange(881), 200e3, 40e-3, convergence=20e-3)
    assert counted[0] == pytest.approx(overlayer.CARBON_DENSITY * 0.5 * edge[568:].sum() * float(clean.collected[0]), rel=0.05)


def test_total_is_what_is_collected(film):
    """Over all losses a spectrum holds the collected part of the beam: counts = current x time / e x that part, also after the camera."""
    result = expected_eels(film, BEAM, COLUMNS, LOW, engine="thin")
    np.testing.assert_allclose(result.eels.sum("energy_ev"), result.collected, rtol=2e-3)
    assert (result.collected < 1).all()
    incident = noise.electrons_per_point(50.0, 0.01)  # 50 pA for 10 ms
    camera = replace(LOW, gain=3.0, read_noise=2.0)
    counts = read_out(result.eels.values, incident, camera, np.random.default_rng(1)).sum(axis=-1)
    np.testing.assert_allclose(counts / 3.0, incident * result.collected, rtol=3e-3)


@pytest.mark.parametrize("thickness", [100, 800])
def test_log_ratio_is_the_thickness(thickness):
    """ln(I_total / I_0) = t / lambda within 1e-3: what goes in as atoms comes out as a thickness."""
    sample = load_sample("srtio3-001", size_angstrom=(3.9, 3.9), thickness_angstrom=thickness)
    wide = EELSDetector(
        energy_range_ev=(-10, 2038), dispersion_ev=0.5, collection_mrad=40, zero_loss_fwhm_ev=1.0, zero_loss_lorentz=0, point_spread_channels=0
    )
    result = expected_eels(sample, BEAM, COLUMNS, wide, model=LossModel(surfaces=False), engine="thin")
    zero = result.eels.sel(energy_ev=slice(-9, 2.5)).sum("energy_ev")
    np.testing.assert_allclose(np.log(result.eels.sum("energy_ev") / zero), result.t_over_lambda, atol=1.5e-3)
    path = lowloss.mean_free_path(MATERIALS["srtio3"].mass_density, 200e3, 40e-3, 20e-3)
    assert float(result.t_over_lambda.mean()) == pytest.approx(sample.thickness_angstrom / path, rel=0.01)


def test_edges_are_where_the_atoms_are(titanate):
    """Titanium and oxygen are seen on their columns, each edge from its onset on, as many electrons as n sigma over the window."""
    result = expected_eels(titanate, BEAM, COLUMNS, CORE, engine="thin", edges=("Ti_L3", "O_K"))
    seen = result["density_Ti_L3"].values
    assert seen[1] > 3 * seen[0]
    assert result["density_O_K"].values[0] < result["density_O_K"].values[2]
    none = expected_eels(titanate, BEAM, COLUMNS, CORE, engine="thin", edges=())
    titanium = (result.eels - none.eels).sel(energy_ev=slice(440, 500)).sum("energy_ev").values
    np.testing.assert_allclose(titanium / titanium[1], seen / seen[1], rtol=0.02)
    first = float(result.energy_ev[np.flatnonzero((result.eels - none.eels).values[1] > 0.1 * (result.eels - none.eels).values[1].max())[0]])
    assert first == pytest.approx(456, abs=1.0)


def test_operator_is_multislice_and_differs_from_the_thin_limit(titanate):
    """The inelastic form gives what multislice of each probe gives, also with focal spread; channelling is not nothing."""
    channels = (LossChannel(name="Ti", numbers=(22,), d50=1.5), LossChannel(name="Sr", numbers=(38,), d50=0.5))
    beam = replace(BEAM, semiangle_mrad=12.0, focal_spread_angstrom=20.0, source_size_angstrom=0.0)
    at = PathScan(positions_angstrom=COLUMNS.positions_angstrom[:2])
    found = {
        engine: densities(titanate, beam, at, channels, collection_mrad=40, engine=engine, phonons=1, seed=2) for engine in ("operator", "multislice")
    }
    np.testing.assert_allclose(found["operator"].values, found["multislice"].values, rtol=3e-4)
    np.testing.assert_allclose(found["operator"].collected, found["multislice"].collected, rtol=1e-4)
    thin = densities(titanate, beam, at, channels, collection_mrad=40, engine="thin")
    assert np.abs(thin.values / found["operator"].values - 1).max() > 0.02
    np.testing.assert_allclose(thin.values, found["operator"].values, rtol=0.35)


def test_single_probes_take_rasters(titanate):
    """By multislice, a serpentine raster has the same spectra at the same places as a path through its points in any order."""
    scan = SerpentineScan(shape=(2, 2), field_of_view_angstrom=(3.0, 3.0))
    beam = replace(BEAM, source_size_angstrom=0.0)
    frame = expected_eels(titanate, beam, scan, CORE, engine="multislice", phonons=1, seed=2).eels
    path = PathScan(positions_angstrom=scan.positions().reshape(-1, 2))
    line = expected_eels(titanate, beam, path, CORE, engine="multislice", phonons=1, seed=2).eels
    assert frame.dims[:2] == ("y", "x")
    np.testing.assert_allclose(frame.to_numpy().reshape(4, -1), line.to_numpy(), rtol=1e-5)


def test_thin_limit_counts_the_atoms(film):
    """Without elastic scattering the mean over the cell is atoms per area, whatever the delocalisation and the optics."""
    scan = RasterScan(shape=(16, 16), field_of_view_angstrom=film.size_angstrom)
    channels = [LossChannel(name=f"{number}-{d50}", numbers=(number,), d50=d50) for number in (38, 8) for d50 in (0.2, 5.0)]
    beam = replace(BEAM, aberrations=type(BEAM.aberrations)(C10=-80.0, C12=20.0), focal_spread_angstrom=30.0)
    found = densities(film, beam, scan, channels, engine="thin")
    counted = found.values.mean(axis=(1, 2)) * np.prod(film.size_angstrom)
    np.testing.assert_allclose(counted, [(film.numbers == c.numbers[0]).sum() for c in channels], rtol=1e-4)
    assert (found.collected == 1).all()


def test_thin_limit_is_the_form_where_atoms_scatter_little():
    """One sheet of carbon: the convolution is the exact form within 2 %."""
    sheet = load_sample("graphene", size_angstrom=(8, 8))
    at = PathScan(positions_angstrom=np.array([[0.3, 0.4], [2.0, 3.0]]))
    channels = (LossChannel(name="C", numbers=(6,), d50=1.0),)
    exact = densities(sheet, BEAM, at, channels, engine="operator", phonons="static")
    thin = densities(sheet, BEAM, at, channels, engine="thin")
    np.testing.assert_allclose(thin.values, exact.values, rtol=0.02)


def test_drift_and_resolution(film):
    """The zero-loss peak stands where the drift puts it, as wide as asked."""
    fine = EELSDetector(
        energy_range_ev=(-4, 6), dispersion_ev=0.02, collection_mrad=40, zero_loss_fwhm_ev=0.4, energy_shift_ev=0.7, point_spread_channels=0
    )
    spectrum = expected_eels(film, BEAM, COLUMNS, fine, engine="thin", edges=()).eels[0]
    above = spectrum.energy_ev[spectrum > spectrum.max() / 2]
    assert float(spectrum.energy_ev[spectrum.values.argmax()]) == pytest.approx(0.7, abs=0.03)
    assert float(above[-1] - above[0]) == pytest.approx(0.4, abs=0.05)


def test_a_range_of_gains_alone(film):
    """Far on the side of gains there is nothing; the tail of the peak goes on without a step where the losses begin and end."""
    sides = EELSDetector(energy_range_ev=(-300, 40), dispersion_ev=0.25, collection_mrad=40, zero_loss_fwhm_ev=0.3)
    spectrum = expected_eels(film, BEAM, COLUMNS, sides, engine="thin", edges=()).eels[0]
    assert float(spectrum.energy_ev[spectrum.values.argmax()]) == pytest.approx(0, abs=0.3)
    assert float(spectrum.sel(energy_ev=slice(-300, -100)).max()) < 1e-6
    empty = Sample(name="vacuum", numbers=[], positions_angstrom=[], size_angstrom=(8, 8), thickness_angstrom=5)
    wide = EELSDetector(energy_range_ev=(-5, 100), dispersion_ev=0.1, collection_mrad=40, zero_loss_fwhm_ev=0.3)
    tail = expected_eels(empty, BEAM, COLUMNS, wide).eels[0].sel(energy_ev=slice(2, 100)).values
    assert (np.diff(tail) < 0).all()


def test_valence_moves_the_edge():
    """Another valence of iron moves onset and white lines, and changes their height."""
    sample = load_sample("fe-001", size_angstrom=(2.9, 2.9), thickness_angstrom=50)
    detector = EELSDetector(energy_range_ev=(690, 760), dispersion_ev=0.1, collection_mrad=40)
    at = PathScan(positions_angstrom=np.array([[0.0, 0.0]]))
    spectra = [
        expected_eels(sample, BEAM, at, detector, model=LossModel(valences=(("Fe", valence),)), engine="thin").eels[0] for valence in (3.0, 2.0)
    ]
    third, second = (float(s.energy_ev[s.values.argmax()]) for s in spectra)
    assert third - second == pytest.approx(1.5, abs=0.15)
    assert float(spectra[0].max()) > float(spectra[1].max())


def test_background_is_a_power_law(film):
    """Before the edges the spectrum is A E^-r, with the exponent asked for."""
    model = LossModel(background_exponent=3.5, surfaces=False)
    detector = EELSDetector(energy_range_ev=(300, 440), dispersion_ev=0.5, collection_mrad=40)
    thin = load_sample("srtio3-001", size_angstrom=(3.9, 3.9), thickness_angstrom=4)
    spectrum = expected_eels(thin, BEAM, COLUMNS, detector, model=model, edges=(), engine="thin").eels[0]
    slope = np.polyfit(np.log(spectrum.energy_ev), np.log(spectrum), 1)[0]
    assert slope == pytest.approx(-3.5, abs=0.03)


def test_plasmons_are_no_function_of_the_mass(particle):
    """Where the beam meets no atom, the image is dark; the particle's plasmon is there, and falls off with the distance."""
    middle = particle.size_angstrom[0] / 2
    at = PathScan(positions_angstrom=np.array([[middle + b, middle] for b in (0.0, 22.0, 30.0, 40.0)]))
    detector = EELSDetector(energy_range_ev=(-2, 30), dispersion_ev=0.05, collection_mrad=20)
    (sphere,) = islands(particle, LossModel())
    assert sphere.radius_angstrom == pytest.approx((3 * len(particle) / (4 * math.pi * 0.0602)) ** (1 / 3), rel=1e-6)
    assert sphere.centre_angstrom == pytest.approx((middle, middle), abs=0.5)
    lit = expected_eels(particle, BEAM, at, detector, model=LossModel(particles="auto"), engine="thin", edges=())
    dark = expected_eels(particle, BEAM, at, detector, model=LossModel(surfaces=False), engine="thin", edges=())
    dipole = (lit.eels - dark.eels).sel(energy_ev=slice(7, 10.5)).sum("energy_ev").values
    assert (dipole[1:] > 1e-5).all()
    assert dipole[1] > dipole[2] > dipole[3]
    peak = (lit.eels - dark.eels)[2].sel(energy_ev=slice(4, 14))
    assert float(peak.energy_ev[peak.values.argmax()]) == pytest.approx(8.66, abs=0.1)
    # a particle twice as heavy elsewhere changes the signal here, not the atoms that the beam meets
    other = Particle(centre_angstrom=(middle, middle), radius_angstrom=1.26 * sphere.radius_angstrom, material="aluminium")
    moved = expected_eels(particle, BEAM, at, detector, model=LossModel(particles=(other,)), engine="thin", edges=())
    assert float(moved.t_over_lambda[3]) == float(lit.t_over_lambda[3])
    assert float((moved.eels - lit.eels)[3].sel(energy_ev=slice(7, 10.5)).sum()) > 0.5 * dipole[3]


def test_rim_of_a_flake():
    """A flake's rim has plasmons that its middle has not, with the same atoms under the beam."""
    flake = load_sample("mos2-1h", size_angstrom=(50, 50))
    inside = np.all((flake.positions_angstrom[:, :2] > 12) & (flake.positions_angstrom[:, :2] < 40), axis=1)
    sample = Sample(
        name="flake", numbers=flake.numbers[inside], positions_angstrom=flake.positions_angstrom[inside], size_angstrom=flake.size_angstrom,
        thickness_angstrom=flake.thickness_angstrom, periodic=False,
    )  # fmt: skip
    detector = EELSDetector(energy_range_ev=(-2, 20), dispersion_ev=0.05, collection_mrad=20)
    at = PathScan(positions_angstrom=np.array([[26.0, 26.0], [26.0, 12.5], [12.5, 12.5]]))
    model = LossModel(flake=FlakeModes(reach=4.0))
    result = expected_eels(sample, BEAM, at, detector, model=model, engine="thin", edges=())
    plain = expected_eels(sample, BEAM, at, detector, engine="thin", edges=())
    added = (result.eels - plain.eels).sel(energy_ev=slice(2, 10))
    middle, edge, corner = added.sum("energy_ev").values
    assert middle < 0.1 * edge
    assert corner > 1.2 * edge
    assert float(added.energy_ev[added[2].values.argmax()]) < float(added.energy_ev[added[1].values.argmax()]) + 0.01


def test_result_is_a_file(titanate, tmp_path):
    """A spectrum image has the scan's dimensions and the energy, coordinates with units, and round-trips through netCDF."""
    scan = RasterScan(shape=(3, 4), field_of_view_angstrom=(3.9, 3.9))
    result = expected_eels(titanate, BEAM, scan, CORE, engine="thin")
    assert result.eels.dims == ("y", "x", "energy_ev")
    assert result.eels.shape == (3, 4, 512)
    result.to_netcdf(tmp_path / "spectra.nc")
    with xr.open_dataset(tmp_path / "spectra.nc") as again:
        xr.testing.assert_identical(again.load(), result)


def test_materials_of_a_sample():
    """Compounds are looked up before elements; what the table does not cover is free electrons; a model's own names come first."""

    def of(name, model=None, **cut):
        return [material.name for _, material in regions(load_sample(name, **cut), model or LossModel())]

    assert of("srtio3-001") == ["srtio3"]
    assert of("graphene") == ["graphene"]
    assert of("graphene-bilayer") == ["graphite"]
    assert set(of("graphene-si")) == {"graphene", "silicon"}
    assert set(of("au-particle-carbon")) == {"gold", "amorphous-carbon"}
    assert of("lafeo3-001")[0].startswith("free electrons")
    assert of("lafeo3-001", LossModel(materials=((("La", "Fe", "O"), "ceria"),))) == ["ceria"]
    with pytest.raises(SettingsError, match="Au"):
        of("srtio3-001", LossModel(materials=((("Au",), "gold"),)))
    with pytest.raises(UnknownNameError, match="unobtainium"):
        of("au-001", LossModel(materials=((("Au",), "unobtainium"),)))


def test_auto_takes_what_is_affordable(titanate, monkeypatch):
    """``engine='auto'`` takes the form where it takes less than a minute, multislice for few places, the thin limit else."""
    channels = (LossChannel(name="Ti", numbers=(22,), d50=1.5),)
    asked = areal_densities._Asked(sample=titanate, beam=BEAM, channels=channels, collection=40.0, phonons="static", seed=0)
    large = load_sample("srtio3-001", size_angstrom=(78, 78), thickness_angstrom=40)
    assert areal_densities._cheapest(asked, 10_000) == ("operator", "")
    engine, reason = areal_densities._cheapest(replace(asked, sample=large), 100_000)
    assert engine == "thin"
    assert re.search(r"engine='(operator|multislice)' would take about \S+ s|memory", reason)
    monkeypatch.setattr(areal_densities, "SECONDS_PER_PRODUCT", 1e3)
    areal_densities._cheapest.cache_clear()
    assert areal_densities._cheapest(asked, 1) == ("multislice", "")
    areal_densities._cheapest.cache_clear()


def test_errors(titanate):
    """An edge outside the range, an element that is not there or has no data, potentials without atoms, an unknown engine: refused."""
    with pytest.raises(SettingsError, match=r"Sr_L3 at 1940 eV.*1890"):
        expected_eels(titanate, BEAM, COLUMNS, CORE, edges=("Sr_L3",))
    with pytest.raises(SettingsError, match="belongs to Fe"):
        expected_eels(titanate, BEAM, COLUMNS, CORE, edges=("Fe_L3",))
    with pytest.raises(UnknownNameError, match="Ti_K"):
        expected_eels(titanate, BEAM, COLUMNS, CORE, edges=("Ti_K",))
    uranium = Sample(name="u", numbers=[92], positions_angstrom=[[1, 1, 1]], size_angstrom=(8, 8), thickness_angstrom=3)
    with pytest.raises(SettingsError, match="no ionisation edges of U"):
        expected_eels(uranium, BEAM, COLUMNS, CORE)
    with pytest.raises(SettingsError, match="engine"):
        expected_eels(titanate, BEAM, COLUMNS, CORE, engine="prism")
    slices = PotentialSlices(array=np.zeros((1, 16, 16)), sampling_angstrom=(0.1, 0.1), z_angstrom=[0.0])
    with pytest.raises(SettingsError, match="does not list atoms"):
        densities(slices, BEAM, COLUMNS, ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"energy_range_ev": (100, 50)},
        {"dispersion_ev": 0.0},
        {"collection_mrad": 0.0},
        {"energy_range_ev": (0, 1e6)},
        {"dispersion_ev": 1e-3},
        {"gain": -1.0},
        {"zero_loss_fwhm_ev": math.nan},
    ],
)
def test_bad_detectors(wrong):
    """Numbers without meaning are refused."""
    with pytest.raises(SettingsError):
        EELSDetector(**{"energy_range_ev": (0, 500), "dispersion_ev": 0.5, "collection_mrad": 40, **wrong})


def test_bad_models():
    """Names that are no elements, elements named twice, unknown words: refused."""
    for wrong in ({"valences": (("Xx", 2.0),)}, {"materials": ((("C",), "graphite"), (("C",), "graphene"))}, {"particles": "all"}):
        with pytest.raises(SettingsError):
            LossModel(**wrong)
    with pytest.raises(SettingsError, match="radius"):
        Particle(centre_angstrom=(0, 0), radius_angstrom=0.0, material="gold")
    with pytest.raises(UnknownNameError, match="golden"):
        Particle(centre_angstrom=(0, 0), radius_angstrom=5.0, material="golden")


def test_a_vacuum_has_a_zero_loss_peak_alone():
    """Without atoms nothing is lost."""
    empty = Sample(name="vacuum", numbers=[], positions_angstrom=[], size_angstrom=(8, 8), thickness_angstrom=5)
    result = expected_eels(empty, BEAM, COLUMNS, LOW)
    np.testing.assert_allclose(result.eels.sum("energy_ev"), 1, rtol=1e-6)
    assert float(result.eels.sel(energy_ev=slice(10, 400)).max()) < 1e-9
