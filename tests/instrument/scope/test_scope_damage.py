"""The beam changes the specimen: events follow the true dose, images follow the events, and the truth stays hidden."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.errors import InstrumentError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector
from stemtwin.twin.instrument.hardware import drift
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.scope import contamination_film
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.scope.specimen_state import Damage
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector
from stemtwin.twin.physics import overlayer
from stemtwin.twin.physics.dynamics.contamination import Contamination
from stemtwin.twin.physics.dynamics.processes import Process
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

IDEAL = PROFILES["ideal"]
FIELD = RasterScan(shape=(16, 16), field_of_view_angstrom=(8.0, 8.0))
FRAGILE = Damage(processes=(Process(name="lose", element="Sr", action="eject", cross_section=2e-6),), relax=False)


@pytest.fixture(scope="module")
def crystal(make_perovskite: Callable[..., Sample]) -> Sample:
    """Return 3 x 3 cells of SrTiO3."""
    return make_perovskite(3, sigma=0.08)


@pytest.fixture
def make(crystal: Sample) -> Callable[..., Microscope]:
    """Return the maker of microscopes whose specimen loses Sr."""

    def make(seed: int = 1, damage: Damage | bool | None = FRAGILE, **options: object) -> Microscope:
        return Microscope(crystal, options.pop("instrument", IDEAL), seed=seed, phonons=1, damage=damage, **options)  # type: ignore[arg-type]

    return make


def test_without_damage_nothing_happens(make: Callable[..., Microscope]) -> None:
    """By default a specimen stays what it is, whatever the dose."""
    scope = make(damage=None)
    scope.acquire(FIELD, dwell_time_us=1e4, frames=3)
    assert len(scope.truth()["events"]) == 0
    assert len(scope.truth()["sample"]) == 45


@pytest.mark.parametrize("microscopes", [120, pytest.param(1000, marks=pytest.mark.slow)])
def test_survival_follows_the_dose(make_perovskite: Callable[..., Sample], microscopes: int) -> None:
    """P(no event) = exp(-sigma D) with D the dose at the atoms, over many microscopes; the dose at an atom is what its site has recorded."""
    still = make_perovskite(3, sigma=None)  # all microscopes share one operator
    one = replace(FRAGILE, processes=(replace(FRAGILE.processes[0], cross_section=3e-7),))
    lost, hazard = 0, 0.0
    for seed in range(microscopes):
        scope = Microscope(still, IDEAL, seed=seed, damage=one)
        scope.acquire(FIELD, dwell_time_us=40.0)
        matter = scope.snapshot().matter
        assert matter is not None
        lost += len(matter.events) == 0
        if seed == 0:
            hazard = 3e-7 * float(matter.sites.dose[matter.origin.numbers == 38].sum())
    expected = math.exp(-hazard)
    assert 0.05 < expected < 0.95
    assert lost / microscopes == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / microscopes))


def test_images_follow_the_atoms(make: Callable[..., Microscope]) -> None:
    """When every Sr atom is gone, their columns are gone from the image; the frames before show them."""
    scope = make(damage=replace(FRAGILE, processes=(replace(FRAGILE.processes[0], cross_section=1e-3),)))
    frames = scope.acquire(FIELD, dwell_time_us=100, frames=2).haadf.to_numpy().astype(float)
    assert sorted(set(scope.truth()["sample"].numbers)) == [8, 22]
    assert frames[1].max() < 0.6 * frames[0].max()
    names = {event.process for event in scope.truth()["events"]}
    assert names == {"lose"}
    assert len(scope.truth()["events"]) == 9


def test_the_loss_of_one_atom_does_not_move_the_others(make: Callable[..., Microscope], crystal: Sample) -> None:
    """Thermal motion belongs to sites: the specimen without an atom has all other atoms where they were in each configuration."""
    from stemtwin.twin.instrument.simulation import slice_stacks
    from stemtwin.twin.instrument.simulation.request import Request

    scope = make()
    scope.acquire(FIELD, dwell_time_us=300, frames=2)
    after = scope.truth()["sample"]
    assert len(after) < len(crystal)
    first = replace(crystal, sites=np.arange(len(crystal)))
    asked = [Request(sample=sample, beam=scope.truth()["beam"], scan=FIELD, phonons=1, seed=5) for sample in (first, after)]
    whole, rest = (slice_stacks.positions(request, 0) for request in asked)
    assert after.sites is not None
    np.testing.assert_array_equal(rest, whole[after.sites])


def test_a_blanked_beam_does_no_damage_and_drift_carries_the_dose(make: Callable[..., Microscope]) -> None:
    """Blanked, nothing is lost; a field beside an atom spares it, until drift or stage bring it there."""
    scope = make()
    scope.set(blanked=True)
    scope.acquire(FIELD, dwell_time_us=1e4)
    assert len(scope.truth()["events"]) == 0
    corner = PathScan(positions_angstrom=np.array([[1.95, 1.95]]))  # between the Sr atoms at 0 and 3.9 A

    def dose(move: float) -> float:
        scope = make()
        scope.move_stage(x_angstrom=move, y_angstrom=move)
        scope.acquire(corner, dwell_time_us=1.0)
        matter = scope.snapshot().matter
        assert matter is not None
        return float(matter.sites.dose[matter.origin.numbers == 38].sum())

    assert dose(1.95) > 30 * dose(0.0)


@pytest.mark.parametrize("engine", ["operator", pytest.param("local", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_snapshot_in_the_middle_of_a_film(make: Callable[..., Microscope], engine: str) -> None:
    """A restored microscope goes on to the last bit: frames, events, atoms; also by an operator that was brought up to date step by step."""
    shaky = replace(IDEAL, instabilities=drift.TYPICAL)
    scope = make(instrument=shaky, engine=engine, window_angstrom=0.0) if engine == "operator" else wide(shaky)
    detectors = ("haadf",)
    scope.acquire(FIELD, dwell_time_us=60, frames=3, detectors=detectors)
    kept = scope.snapshot()
    first = scope.acquire(FIELD, dwell_time_us=60, frames=3, detectors=detectors)
    events, atoms = list(scope.truth()["events"]), scope.truth()["sample"].digest
    scope.restore(kept)
    second = scope.acquire(FIELD, dwell_time_us=60, frames=3, detectors=detectors)
    xr.testing.assert_identical(first, second)
    assert list(scope.truth()["events"]) == events
    assert scope.truth()["sample"].digest == atoms
    assert len(events) > len(kept.matter.events) > 0


def wide(profile: object) -> Microscope:
    """Return a microscope with a layer of MoS2 that loses S, imaged by the local operator."""
    layer = load_sample("mos2-1h", size_angstrom=(30.0, 30.0), seed=0)
    fragile = Damage(processes=(Process(name="lose", element="S", action="eject", cross_section=4e-6),), relax=False)
    return Microscope(layer, profile, seed=4, phonons=1, engine="local", damage=fragile)  # type: ignore[arg-type]


def test_contamination_grows_where_the_beam_was(make: Callable[..., Microscope]) -> None:
    """A film grows under the beam, and is a part of the truth."""
    scope = make(damage=Damage(processes=(), contamination=Contamination(growth=1e-4)))
    scope.acquire(FIELD, dwell_time_us=1e4)
    assert scope.truth()["film"].volume > 0


def test_what_detectors_see_through_a_film(make: Callable[..., Microscope]) -> None:
    """Signal (1 - p) + S p at the film's height: the dark field gains, the bright field loses, and the two frames differ by nothing else."""
    scope = make(damage=Damage(processes=(), contamination=Contamination(growth=6e-5, halo_length=100.0)))
    disc, ring = AnnularDetector(inner_mrad=0, outer_mrad=40, name="disc"), AnnularDetector(inner_mrad=40, outer_mrad=60, name="ring")
    frames = scope.acquire(FIELD, dwell_time_us=3e4, frames=1, detectors=(disc, ring))
    film = scope.truth()["film"]
    heights = film.at(FIELD.points()).reshape(FIELD.shape)
    assert 5 < heights.min() < heights.max() < 200
    after = scope.acquire(FIELD, dwell_time_us=3e4, detectors=(disc, ring))
    scattered = overlayer.scattered_share(heights, 200e3)
    collected = contamination_film.collected((disc, ring), 200e3, 20e-3, (0.0, 0.0))
    electrons = frames.attrs["electrons_per_point"]
    for name, share, sign in (("disc", collected[0], -1), ("ring", collected[1], 1)):
        before, now = (data[name].to_numpy() / electrons for data in (frames, after))
        np.testing.assert_allclose(now, before * (1 - scattered) + share * scattered, atol=6 / math.sqrt(electrons))
        assert sign * (now - before).mean() > 5 / math.sqrt(electrons * now.size)


def test_patterns_and_spectra_see_the_film_that_images_see(make_atom: Callable[..., Sample]) -> None:
    """A camera's pixels add up to what a ring beside it collects, through a film too; C K appears in energy losses and X-rays as the film grows."""
    damage = Damage(processes=(), contamination=Contamination(growth=3e-3, halo_length=100.0))
    ring, camera = AnnularDetector(inner_mrad=30, outer_mrad=58, name="ring"), PixelatedDetector(shape=(48, 48), outer_mrad=60.0)
    losses, photons = EELSDetector(energy_range_ev=(-20.0, 340.0), dispersion_ev=2.0, collection_mrad=40.0), EDXDetector(solid_angle_sr=12.0)
    scope = Microscope(make_atom(3.5, 3.5, number=14), IDEAL, seed=1, damage=damage)
    scan = RasterScan(shape=(2, 2), field_of_view_angstrom=(2.0, 2.0), origin_angstrom=(3.0, 3.0))
    frames = scope.acquire(scan, dwell_time_us=3e4, frames=2, detectors=(ring, camera, losses, photons))
    ky, kx = (frames[name].to_numpy() for name in ("ky", "kx"))
    pitch = (float(ky[1] - ky[0]),) * 2
    mask = ring.weights(ky[:, None], kx[None], pitch, 1e-3, antialias=True)[0]
    virtual = (frames.pixelated.to_numpy() * mask).sum(axis=(-2, -1)).sum(axis=(-2, -1))
    counted = frames.ring.to_numpy().sum(axis=(-2, -1)).astype(float)
    assert (np.abs(virtual - counted) < 5 * np.sqrt(2 * counted)).all()
    assert 10 * counted[0] < counted[1]
    carbon = frames.edx.sel(photon_energy_ev=slice(200, 360)).sum(("y", "x", "photon_energy_ev")).to_numpy().astype(float)
    assert carbon[0] + 10 < carbon[1]
    above = frames.eels.sel(energy_loss_ev=slice(284, 320)).sum(("y", "x", "energy_loss_ev")).to_numpy().astype(float)
    before = frames.eels.sel(energy_loss_ev=slice(248, 283)).sum(("y", "x", "energy_loss_ev")).to_numpy().astype(float)
    assert (above / before)[1] > 1.5 * (above / before)[0]


def test_a_clean_specimen_is_seen_as_without_films(make: Callable[..., Microscope]) -> None:
    """Where nothing grows, the counts are those of a microscope that knows no films, to the last bit: images and patterns."""
    clean, plain = (make(damage=what) for what in (Damage(processes=(), contamination=Contamination(growth=0.0)), None))
    first, second = (
        scope.acquire(FIELD, dwell_time_us=50, frames=2, detectors=("haadf", PixelatedDetector(shape=(16, 16), outer_mrad=60.0)))
        for scope in (clean, plain)
    )
    xr.testing.assert_identical(first, second)


def test_a_shower_cleans_for_a_while_and_costs(make: Callable[..., Microscope]) -> None:
    """Film and supply fall as told, time and dose go up by what was foretold, atoms are lost as by any dose, and the supply comes back in time."""
    model = Contamination(growth=3e-3)
    scope = make(damage=replace(FRAGILE, contamination=model, processes=(replace(FRAGILE.processes[0], cross_section=1e-4),)))
    scope.acquire(FIELD, dwell_time_us=1e3)
    events, film, before = len(scope.truth()["events"]), scope.truth()["film"], dict(scope.spent)
    cost = scope.estimate_cost("shower", 3e3)
    assert scope.shower(3e3) == pytest.approx(before["time_s"] + cost["time_s"])
    assert scope.spent["electrons"] - before["electrons"] == pytest.approx(cost["electrons"])
    assert scope.dose_map(FIELD).to_numpy().min() > 3e3 * 0.999
    after = scope.truth()["film"]
    np.testing.assert_allclose(after.height, film.height * math.exp(-1), rtol=1e-9)
    assert after.supply == pytest.approx(film.supply * math.exp(-3))
    dose = scope.snapshot().matter.sites.dose  # type: ignore[union-attr]
    assert dose.min() > 3e3 * 0.999
    assert len(scope.truth()["events"]) >= events
    scope.advance_time(model.recovery)
    assert scope.truth()["film"].supply == pytest.approx(1 - (1 - after.supply) * math.exp(-1))


def test_a_shower_that_cannot_be_is_refused(make: Callable[..., Microscope]) -> None:
    """No dose, too large a one, a blanked beam, a budget that does not suffice: the state is what it was."""
    scope = make(dose_budget_e_per_angstrom2=100.0)
    kept = scope.snapshot()
    for dose, error, why in (
        (0.0, SettingsError, "above 0"),
        (1e9, SettingsError, "1e\\+06"),
        (200.0, InstrumentError, "remains in the budget, 100"),
    ):
        with pytest.raises(error, match=why):
            scope.shower(dose)
    assert scope.snapshot() is kept
    scope.set(blanked=True)
    with pytest.raises(InstrumentError, match="blanked"):
        scope.shower(10.0)


def test_frames_do_not_tell_what_happened(make: Callable[..., Microscope]) -> None:
    """Attributes of a frame are the same whether atoms were lost or not."""
    harmed, whole = make(), make(damage=None)
    first, second = (scope.acquire(FIELD, dwell_time_us=400, frames=2) for scope in (harmed, whole))
    assert len(harmed.truth()["events"]) > 0
    assert first.attrs == second.attrs


def test_what_cannot_be_damaged_is_refused(make: Callable[..., Microscope], nothing: PotentialSlices) -> None:
    """A potential has no atoms; a damage that is none is named."""
    with pytest.raises(SettingsError, match="has no atoms"):
        Microscope(nothing, IDEAL, damage=FRAGILE)
    with pytest.raises(SettingsError, match="damage=3 is not a Damage"):
        make(damage=3)  # type: ignore[arg-type]


DETECTORS = (
    AnnularDetector(inner_mrad=0, outer_mrad=10, name="disc"),
    AnnularDetector(inner_mrad=40, outer_mrad=90, name="ring"),
    PixelatedDetector(shape=(16, 16), outer_mrad=60.0),
    EELSDetector(energy_range_ev=(-20.0, 340.0), dispersion_ev=2.0, collection_mrad=40.0),
    EDXDetector(solid_angle_sr=12.0),
)
GONE = Process(name="lose", element="Si", action="eject", rate=1e9)


@pytest.mark.filterwarnings("ignore::stemtwin.twin.errors.PhysicsWarning")  # of the ring, on purpose
@pytest.mark.parametrize("phonons", [2, "damped"])
def test_a_specimen_without_atoms_is_vacuum(make_atom: Callable[..., Sample], phonons: int | str) -> None:
    """After the last atom has left, frames go on as in vacuum: the whole probe in the disc, no losses, no X-rays."""
    sample = replace(make_atom(3.5, 3.5, number=14), thermal_sigma_angstrom=0.08)
    scope = Microscope(sample, IDEAL, seed=1, phonons=phonons, damage=Damage(processes=(GONE,), relax=False))
    scope.set(semiangle_mrad=20, current_pa=100)
    scan = RasterScan(shape=(2, 2), field_of_view_angstrom=(2.0, 2.0), origin_angstrom=(3.0, 3.0))
    frames = scope.acquire(scan, dwell_time_us=1000, frames=3, detectors=DETECTORS)
    assert len(scope.truth()["sample"]) == 0
    _, empty, later = (frames.isel(frame=i) for i in range(3))
    electrons = 4 * 1e-3 * 100 * ELECTRONS_PER_PICOAMPERE_SECOND
    for data in (empty, later, scope.acquire(scan, dwell_time_us=1000, detectors=DETECTORS)):
        counted = {name: float(data[name].sum()) for name in ("disc", "ring", "pixelated", "eels", "edx")}
        assert abs(counted["disc"] / electrons - 0.25) < 5 / math.sqrt(electrons)
        assert counted["ring"] < 1e-5 * electrons  # what the chain counts in the dark
        assert counted["edx"] == 0
        elastic = float(data.eels.sel(energy_loss_ev=slice(-10, 10)).sum())
        assert counted["eels"] - elastic < 1e-5 * electrons
        assert abs(elastic / electrons - 1) < 0.01
    point = scope.acquire_spectrum((3.0, 3.0), detectors=DETECTORS[3:], dwell_time_us=1000)
    assert float(point.edx.sum()) == 0


@pytest.mark.parametrize("engine", ["local", "tiled"])
def test_an_engine_to_a_tolerance_images_vacuum(make_atom: Callable[..., Sample], engine: str) -> None:
    """A dark field of vacuum is within every tolerance: its error is relative to the rounding of single precision."""
    sample = replace(make_atom(10.0, 10.0, number=14, size=20.0), thermal_sigma_angstrom=0.08)
    scope = Microscope(sample, IDEAL, seed=1, phonons=1, engine=engine, damage=Damage(processes=(GONE,), relax=False))
    scan = RasterScan(shape=(2, 2), field_of_view_angstrom=(2.0, 2.0), origin_angstrom=(9.0, 9.0))
    frames = scope.acquire(scan, dwell_time_us=1000, frames=2, detectors=DETECTORS[1])
    dark, bright = (float(frames.ring.isel(frame=i).sum()) for i in (1, 0))
    assert len(scope.truth()["sample"]) == 0
    assert 20 * dark < bright
