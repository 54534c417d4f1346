"""Samples that change under the beam: nothing is lost on the way to the kinetics and back."""

import dataclasses
import math

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics.current_density import gaussian_density, probe_density
from stemtwin.twin.physics.dynamics.exposure import Exposure, parked, waited
from stemtwin.twin.physics.dynamics.kinetics import advance, channels
from stemtwin.twin.physics.dynamics.processes import Process
from stemtwin.twin.physics.dynamics.relaxation import relax
from stemtwin.twin.samples.kinetics_conversion import processes_of, sample_of, specimen_of
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample
from tests.physics.dynamics.lattices import carry_out

CASES = [
    ("graphene", {"size_angstrom": (15.0, 15.0)}),
    ("graphene-si", {"size_angstrom": (20.0, 20.0)}),
    ("mos2-1h", {"size_angstrom": (15.0, 15.0), "vacancy_fraction": 0.1, "seed": 2}),
    ("wse2-1h", {"size_angstrom": (15.0, 15.0)}),
    ("au-001", {"size_angstrom": (12.0, 12.0), "thickness_angstrom": 12.0}),
    ("srtio3-001", {"size_angstrom": (12.0, 12.0), "thickness_angstrom": 12.0}),
]


@pytest.mark.parametrize(("name", "how"), CASES, ids=[name for name, _ in CASES])
def test_there_and_back(name, how):
    """A specimen that has not changed is the sample again: the same digest, the same vacancies."""
    sample = load_sample(name, **how)
    specimen = specimen_of(sample)
    again = sample_of(specimen, sample)
    assert again.digest == sample.digest
    vacancies = [defect.position_angstrom for defect in sample.defects if defect.kind == "vacancy"]
    found = [defect.position_angstrom for defect in again.defects if defect.kind == "vacancy"]
    assert np.array(sorted(found)) == pytest.approx(np.array(sorted(vacancies)))
    assert (~specimen.present).sum() == len(vacancies)
    assert len({process.name for process in processes_of(sample)}) == len(processes_of(sample))


@pytest.mark.parametrize("name", ["batio3-001", "lasrfeo3-001", "gaas-110", "cdte-110"])
def test_no_element_of_a_compound_stays_for_ever(name):
    """Each element of a crystal has a process that displaces it; of perovskites, oxygen has the lowest threshold."""
    sample = load_sample(name)
    sites = {process.element: process.site for process in processes_of(sample) if process.action == "eject"}
    assert set(sites) == set(sample.symbols)
    if "O" in sites:
        assert min(sites, key=lambda symbol: sites[symbol].displacement) == "O"


def test_links_are_the_bonds_of_the_whole_structure():
    """In graphene each atom has three bonds; in MoS2 Mo six and S three, with six sites of its own layer to jump to, vacancies included."""
    assert (specimen_of(load_sample("graphene", size_angstrom=(15.0, 15.0))).coordination() == 3).all()
    specimen = specimen_of(load_sample("mos2-1h", size_angstrom=(15.0, 15.0), vacancy_fraction=0.1, seed=2))
    links = specimen.links >= 0
    bonds, jumps = (links & (specimen.kinds == 0)).sum(axis=1), (links & (specimen.kinds == 1)).sum(axis=1)
    metal = specimen.numbers == 42
    assert set(bonds[metal]) == {6}
    assert set(bonds[~metal]) == {3}
    assert set(jumps[metal]) == {0}
    assert set(jumps[~metal]) == {6}


def test_what_has_changed_is_told():
    """A lost atom is a vacancy of the new sample, after a hop Si is a substitution at its new place alone; atoms, sigmas and box fit."""
    sample = load_sample("graphene-si", size_angstrom=(20.0, 20.0))
    specimen = specimen_of(sample)
    silicon = int(np.flatnonzero(specimen.numbers == 14)[0])
    processes = {process.name: process for process in processes_of(sample)}
    hopped = carry_out(specimen, processes["hop"], int(specimen.links[silicon, 0]), silicon)
    hopped = relax(hopped, [silicon, int(specimen.links[silicon, 0])])
    far = int(np.argmax(np.linalg.norm(specimen.positions - specimen.positions[silicon], axis=1)))
    after = sample_of(carry_out(hopped, processes["eject-bulk"], far), sample)
    assert len(after) == len(sample) - 1
    single = {defect.name: defect for defect in after.defects if defect.kind in {"vacancy", "substitution"}}
    assert sorted(single) == ["Si_C", "V_C"]
    assert len([defect for defect in after.defects if defect.name == "Si_C"]) == 1
    (now,) = after.positions_angstrom[after.numbers == 14]
    assert single["Si_C"].position_angstrom == pytest.approx(now)
    assert (after.numbers == 14).sum() == 1
    assert after.thermal_sigma_angstrom is not None
    assert after.size_angstrom == sample.size_angstrom


@pytest.mark.parametrize("name", ["mos2-1h", "wse2-1h"])
def test_vacancies_of_a_sample_move(name):
    """Chalcogen vacancies that a sample comes with are sites that atoms jump into; chalcogen is lost behind the metal only."""
    sample = load_sample(name, size_angstrom=(15.0, 15.0), vacancy_fraction=0.1, seed=2)
    specimen = specimen_of(sample)
    height, width = sample.size_angstrom
    x, y = np.meshgrid(np.arange(0, width, 0.6), np.arange(0, height, 0.6))
    beam = Exposure(
        points=np.column_stack([x.ravel(), y.ravel()]),
        dwell=np.full(x.size, 1e-3),
        current=100.0,
        energy=200e3,
        density=gaussian_density(0.6),
        repeats=2,
    )
    after, events = advance(specimen, beam, processes_of(sample), np.random.default_rng(1))
    assert events.count("eject-chalcogen") > 0
    assert len(events) > events.count("eject-chalcogen") if name == "mos2-1h" else len(events) > 0
    changed = sample_of(after, sample)
    assert len(changed) == len(sample) - sum(event.process.startswith(("eject", "loose")) for event in events)


def test_crystals_are_sputtered_from_the_exit_face():
    """Aluminium at 120 kV (Tmax 10.9 eV) keeps its bulk (17 eV) and loses atoms of the face that the beam leaves by (5.65 eV)."""
    sample = load_sample("al-001", size_angstrom=(12.0, 12.0), thickness_angstrom=12.0)
    specimen = specimen_of(sample)
    height, width = sample.size_angstrom
    x, y = np.meshgrid(np.arange(0, width, 0.8), np.arange(0, height, 0.8))
    points = np.column_stack([x.ravel(), y.ravel()])
    beam = Exposure(points=points, dwell=np.full(x.size, 1e-3), current=50.0, energy=120e3, density=gaussian_density(0.6), repeats=2)
    _, events = advance(specimen, beam, processes_of(sample), np.random.default_rng(1))
    assert len(events) > 3
    assert {event.process for event in events} == {"sputter-Al"}
    assert events[0].position[2] == specimen.positions[:, 2].max()
    assert min(event.position[2] for event in events) > specimen.positions[:, 2].min()


def test_silicon_in_graphene_hops_within_seconds():
    """By default a beam of 60 kV and 100 pA that is parked on a neighbour makes Si hop within seconds, to that one, as putting-dune's law says.

    Its largest rate is ln 2 / 3 per second; a well-corrected probe of 100 pA gives as much within half of it.
    """
    sample = load_sample("graphene-si", size_angstrom=(20.0, 20.0))
    sheet = specimen_of(sample)
    aimed = int(sheet.links[np.flatnonzero(sheet.numbers == 14)[0], 0])
    x, y, _ = (float(value) for value in sheet.positions[aimed])
    beam = parked((x, y), 1.0, current=100.0, energy=60e3, density=probe_density(60e3, 0.03, None, 0.3))
    found = channels(sheet, beam, processes_of(sample))
    hops = found.causes == found.processes.index("hop")
    assert found.hazards[hops].sum() == pytest.approx(math.log(2) / 3, rel=0.5)
    assert found.sites[hops][found.hazards[hops].argmax()] == aimed
    assert found.hazards[hops].max() > 0.95 * found.hazards[hops].sum()


def test_an_idle_sample_stays():
    """Without a beam nothing happens to a sample at room temperature in an hour, but for atoms that nothing holds."""
    sample = load_sample("mos2-1h", size_angstrom=(15.0, 15.0), vacancy_fraction=0.1, seed=2)
    idle = waited(3600.0, energy=60e3, density=gaussian_density(1.0))
    after, events = advance(specimen_of(sample), idle, processes_of(sample), np.random.default_rng(1))
    assert len(events) == 0
    assert after.time == 3600.0


def test_what_does_not_fit_is_refused():
    """A specimen of another sample, and a sample without any known threshold, are one clear sentence."""
    sample = load_sample("graphene", size_angstrom=(15.0, 15.0))
    with pytest.raises(SettingsError, match="sites"):
        sample_of(specimen_of(load_sample("graphene", size_angstrom=(20.0, 20.0))), sample)
    xenon = Sample(name="xenon", numbers=[54], positions_angstrom=[[5, 5, 5]], size_angstrom=(10, 10), thickness_angstrom=10)
    with pytest.raises(SettingsError, match="No displacement threshold is known for Xe in"):
        processes_of(xenon)
    with pytest.raises(SettingsError, match="known for N in si3n4"):  # Si alone would leave it
        processes_of(load_sample("si3n4-amorphous"))
    own = Process(name="leave", element="Xe", action="eject", rate=1.0)
    idle = waited(100.0, energy=60e3, density=gaussian_density(1.0))
    after, events = advance(specimen_of(xenon), idle, (own,), np.random.default_rng(1))
    assert len(events) == 1
    assert len(sample_of(after, xenon)) == 0
    assert dataclasses.replace(own, rate=2.0).rate == 2.0
