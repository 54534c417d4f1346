"""Energy transfers that several processes of one atom could take: each causes one of them."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import integrate

from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.dynamics import knockon, process_library
from stemtwin.twin.physics.dynamics.current_density import gaussian_density
from stemtwin.twin.physics.dynamics.displacement_thresholds import Site, cross_sections, find_site
from stemtwin.twin.physics.dynamics.electronic_excitation import ExcitedState, Radiolysis
from stemtwin.twin.physics.dynamics.exposure import parked
from stemtwin.twin.physics.dynamics.isotopes import isotopes
from stemtwin.twin.physics.dynamics.kinetics import advance, channels
from stemtwin.twin.physics.dynamics.processes import Process
from stemtwin.twin.physics.dynamics.site_network import SiteNetwork
from tests.physics.dynamics.lattices import carry_out, graphene, mos2

BARN = knockon.BARN
SILICON = 9
SITE = Site(element="Al", name="one", displacement=10.0, mark="A", source="drawn here")


def areas(specimen, processes, energy, site):
    """Return the cross-section of each process at one site, summed over its partners, barn."""
    beam = parked(tuple(specimen.positions[site, :2]), 1.0, current=1.0, energy=energy, density=gaussian_density(1.0))
    found = channels(specimen, beam, processes)
    dose = float(beam.dose_at(specimen.positions[[site]], specimen.size)[0])
    ours = found.sites == site
    hazards = np.bincount(found.causes[ours], weights=found.hazards[ours], minlength=len(processes))
    return dict(zip(found.processes, hazards / dose / BARN, strict=True))


def total(name, energy, element="C"):
    """Return the cross-section above the threshold of a site, barn."""
    return cross_sections(find_site(element, name), energy).total / BARN


@pytest.mark.parametrize("energy", [80e3, 100e3, 110e3, 200e3, 300e3])
def test_branches_of_graphene_add_up(energy):
    """Of an atom of the sheet, turned bonds and loss add up to the cross-section above the lower threshold."""
    found = areas(graphene(4, 3), process_library.graphene(), energy, 20)
    assert found["eject-bulk"] == pytest.approx(total("graphene", energy), rel=1e-9)
    assert found["rotate-bond"] + found["eject-bulk"] == pytest.approx(total("graphene-rotation", energy), rel=1e-9)
    assert all(area == 0 for name, area in found.items() if name not in {"rotate-bond", "eject-bulk"})


def test_bonds_turn_without_loss_at_110_kv():
    """At 110 kV 7.14 barn lie above the threshold of a turned bond and 2.46 of them eject: the other 4.68 turn a bond."""
    found = areas(graphene(4, 3), process_library.graphene(), 110e3, 20)
    assert found["rotate-bond"] == pytest.approx(4.68, abs=0.01)
    assert found["eject-bulk"] == pytest.approx(2.46, abs=0.01)


@pytest.mark.parametrize("energy", [60e3, 80e3, 110e3])
def test_a_neighbour_of_silicon_hops_by_what_turns_no_bond(energy):
    """Beside Si, two of three bonds may turn: a transfer above that threshold is a hop in one case of three."""
    sheet = graphene(4, 3, silicon=SILICON)
    found = areas(sheet, process_library.graphene(), energy, int(sheet.links[SILICON, 0]))
    turned = total("graphene-rotation", energy)
    assert found["rotate-bond"] == pytest.approx(2 / 3 * turned, rel=1e-9, abs=1e-15)
    assert found["hop"] == pytest.approx(total("graphene-si", energy) - 2 / 3 * turned, rel=1e-9)


def test_a_turned_bond_turns_back_by_what_does_not_eject():
    """In a turned bond, turning back and loss share the transfers, with its partner alone: one bond of three."""
    sheet = graphene(6, 4)
    turn = next(process for process in process_library.graphene() if process.name == "rotate-bond")
    site = 50
    once = carry_out(sheet, turn, site, int(sheet.links[site, 0]))
    found, energy = areas(once, process_library.graphene(), 110e3, site), 110e3
    weak = dataclasses.replace(find_site("C", "graphene-rotation"), displacement=14.0, debye=None)
    back = cross_sections(weak, energy).total / BARN
    assert found["eject-bulk"] == pytest.approx(total("graphene", energy), rel=1e-9)
    assert found["rotate-back"] == pytest.approx((back - total("graphene", energy)) / 3, rel=1e-9)


@pytest.mark.parametrize("energy", [80e3, 200e3])
def test_sulfur_jumps_by_what_does_not_eject(energy):
    """Beside a vacancy, loss keeps its whole cross-section, excited states included; a jump has one in six of the others."""
    layer, processes = mos2(5, 3), process_library.dichalcogenide()
    height = layer.positions[:, 2]
    exit_face = np.flatnonzero((layer.numbers == 16) & (height > 4))
    gone = int(exit_face[7])
    beside = next(int(j) for j, kind in zip(layer.links[gone], layer.kinds[gone], strict=True) if kind == 1 and j >= 0)
    wound = carry_out(layer, processes[0], gone)
    found = areas(wound, processes, energy, beside)
    site = find_site("S", "mos2")
    jump = dataclasses.replace(site, displacement=site.displacement - 1.4, excited=None)
    assert site.excited is not None
    chance = site.excited.probability_at(energy)
    ground = dataclasses.replace(site, excited=None)
    kept = (1 - chance) * (cross_sections(jump, energy).total - cross_sections(ground, energy).total) / BARN
    assert found["eject-chalcogen"] == pytest.approx(total("mos2", energy, "S"), rel=1e-9)
    assert found["migrate"] == pytest.approx(kept / 6, rel=1e-6)


def lone():
    """Return one aluminium atom between three empty sites, for processes with and without partners."""
    places = np.array([[0.0, 0, 0], [1, 0, 0], [-0.5, 0.8, 0], [-0.5, -0.8, 0]])
    return SiteNetwork.build(places, np.array([13, 0, 0, 0]), bond=1.2)


@settings(max_examples=25, deadline=None)
@given(
    energy=some.floats(150e3, 400e3),
    thresholds=some.lists(some.floats(4, 30), min_size=2, max_size=4, unique=True),
    scales=some.lists(some.sampled_from([0.0, 0.2, 1 / 3, 1.0, 3.0]), min_size=4, max_size=4),
    pairs=some.lists(some.booleans(), min_size=4, max_size=4),
    excited=some.lists(some.sampled_from([0.0, 0.05, 0.6]), min_size=4, max_size=4),
    radiolysis=some.booleans(),
)
def test_branches_are_integrals_over_the_transfer(energy, thresholds, scales, pairs, excited, radiolysis):
    """Each cross-section is the integral over the transfer of its probability times what higher thresholds leave."""
    decay = Radiolysis(loss=10.0, electrons=3.0, efficiency=1e-6) if radiolysis else None
    processes = []
    for i, threshold in enumerate(thresholds):
        term = ExcitedState(lowering=2.5, probability=excited[i]) if excited[i] else None
        site = dataclasses.replace(SITE, displacement=threshold, excited=term, radiolysis=decay)
        pair = {"action": "exchange", "partner": "empty"} if pairs[i] else {"action": "eject"}
        processes.append(Process(name=f"p{i}", element="Al", site=site, scale=scales[i], **pair))
    ((mass, part),) = isotopes("Al")
    assert part == 1
    largest = electrons.max_transfer(energy, mass)
    found = areas(lone(), tuple(processes), energy, 0)

    def probability(process, transfer):
        chance = process.site.excited.probability_at(energy) if process.site.excited else 0.0
        lowered = chance * (transfer >= process.site.displacement - 2.5)
        return process.scale * (lowered + (1 - chance) * (transfer >= process.site.displacement))

    edges = [*sorted({t - low for t in thresholds for low in (0, 2.5) if t - low < largest}), largest]

    def area(y):
        return float(knockon.differential("Al", energy, np.array(y)))

    for process in processes:
        expected = process.scale * decay.cross_section(energy) if decay else 0.0
        for low, high in itertools.pairwise(edges):
            middle = 0.5 * (low + high)
            left = probability(process, middle)
            for other in processes:
                if other.site.displacement > process.site.displacement:
                    left *= 1 - min(1, (3 if other.partner else 1) * probability(other, middle))
            expected += left * integrate.quad(area, low / largest, high / largest, epsrel=1e-10)[0]
        partners = 3 if process.partner else 1
        assert found[process.name] == pytest.approx(partners * expected / BARN, rel=1e-6, abs=1e-9)


def test_processes_of_one_threshold_share_it_by_their_scales():
    """Two ends of one threshold do not exclude each other; a fixed cross-section and other elements exclude nothing."""
    site = SITE
    one = Process(name="way", element="Al", action="eject", site=site)
    shares = tuple(dataclasses.replace(one, name=f"way-{scale}", scale=scale) for scale in (0.25, 0.75))
    fixed = Process(name="fixed", element="Al", action="eject", cross_section=1e-7)
    silicon = dataclasses.replace(site, element="Si", displacement=20.0)
    other = Process(name="other", element="Si", action="eject", site=silicon)
    found = areas(lone(), (*shares, fixed, other), 300e3, 0)
    whole = cross_sections(site, 300e3).total / BARN
    assert found == pytest.approx({"way-0.25": 0.25 * whole, "way-0.75": 0.75 * whole, "fixed": 10.0, "other": 0.0})


def test_events_branch_as_the_channels_say():
    """Of many first events in graphene at 110 kV, bonds turn in the fraction of their cross-section (3.5 standard errors)."""
    sheet, processes, rng = graphene(4, 3), process_library.graphene(), np.random.default_rng(5)
    beam = parked(tuple(sheet.positions[20, :2]), 200.0, current=100.0, energy=110e3, density=gaussian_density(0.8))
    first = [advance(sheet, beam, processes, rng, max_events=1).events[0].process for _ in range(1500)]
    share = first.count("rotate-bond") / len(first)
    expected = 1 - total("graphene", 110e3) / total("graphene-rotation", 110e3)
    assert set(first) == {"rotate-bond", "eject-bulk"}
    assert abs(share - expected) < 3.5 * np.sqrt(expected * (1 - expected) / len(first))
