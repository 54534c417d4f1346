"""Kinetic Monte Carlo (row 17): probabilities, branching and waiting times, exact for any path of the beam."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics.dynamics import process_library
from stemtwin.twin.physics.dynamics.current_density import gaussian_density, probe_density
from stemtwin.twin.physics.dynamics.exposure import Exposure, parked, waited
from stemtwin.twin.physics.dynamics.kinetics import Events, advance, channels
from stemtwin.twin.physics.dynamics.processes import Process, arrhenius, compiled
from stemtwin.twin.physics.dynamics.site_network import SiteNetwork
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND
from tests.physics.dynamics.lattices import carry_out, graphene, mos2

SILICON = 9
CURRENT = 80.0


def generator(seed=1):
    """Return a generator of random numbers."""
    return np.random.Generator(np.random.Philox(seed))


def atoms(xy, numbers=6):
    """Return atoms without bonds."""
    xy = np.atleast_2d(np.asarray(xy, dtype=float))
    return SiteNetwork.build(np.column_stack([xy, np.zeros(len(xy))]), np.full(len(xy), numbers), bond=0.1)


def eject(area, **more):
    """Return the loss of C with a cross-section in A^2."""
    return Process(**({"name": "eject", "element": "C", "action": "eject", "cross_section": area} | more))


# ---- the hop of Si in graphene by the law of putting-dune --------------------------------------------------------------------------------

# beam, total rate (1/s), share of the neighbour aimed at, P(hop in 1.5 s): google/putting-dune's rate law, evaluated independently
DUNE = [(0.85, 0.23106, 0.999961, 0.2929), (1.0, 0.20647, 0.999994, 0.2663), (0.5, 0.12565, 0.996604, 0.1718), (0.0, 0.01870, 1 / 3, 0.0277)]


def dune(where, duration):
    """Return a sheet with Si, the parked beam at a part of the way to its first neighbour, and the hop."""
    sheet = graphene(3, 2, silicon=SILICON)
    start, end = sheet.positions[SILICON], sheet.positions[sheet.links[SILICON, 0]]
    hop, density = process_library.putting_dune(CURRENT)
    point = (start + where * (end - start))[:2]
    return sheet, parked(tuple(point), duration, current=CURRENT, energy=60e3, density=density), hop


@pytest.mark.parametrize(("where", "rate", "share", "probability"), DUNE)
def test_dune_rates(where, rate, share, probability):
    """Total rate, branching and hop probability of the published law, for the beam at 0.85 of a bond, on C, in mid-bond and on Si."""
    sheet, beam, hop = dune(where, 1.0)
    found = channels(sheet, beam, (hop,))
    assert found.total == pytest.approx(rate, abs=6e-6)
    assert len(found.hazards) == 3
    aimed = found.hazards[found.sites == sheet.links[SILICON, 0]]
    assert aimed[0] / found.total == pytest.approx(share, abs=1e-6)
    assert 1 - math.exp(-1.5 * found.total) == pytest.approx(probability, abs=6e-5)


@pytest.mark.parametrize("episodes", [600, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("where", "rate", "share", "probability"), [DUNE[2], pytest.param(*DUNE[3], marks=pytest.mark.slow)])
def test_dune_episodes(where, rate, share, probability, episodes):
    """Over 1e4 episodes (600 by default) hop probability in 1.5 s, branching and waiting times are the law's, within 3 standard errors."""
    sheet, beam, hop = dune(where, 1.5)
    rng, aimed = generator(4), sheet.links[SILICON, 0]
    events = [advance(sheet, beam, (hop,), rng, max_events=1).events for _ in range(episodes)]
    hops = [one[0] for one in events if len(one)]
    assert abs(len(hops) / episodes - probability) < 3 * math.sqrt(probability * (1 - probability) / episodes) + 6e-5
    assert abs(sum(one.site == aimed for one in hops) / len(hops) - share) < 3 * math.sqrt(share * (1 - share) / len(hops)) + 1e-6
    passed = np.array([1 - math.exp(-rate * one.time) for one in hops]) / (1 - math.exp(-1.5 * rate))
    assert stats.kstest(passed, "uniform").pvalue > 0.003


def test_a_hop_moves_silicon():
    """After a hop Si stands where C was, C where Si was; nothing else has changed, and positions stay."""
    sheet, beam, hop = dune(0.85, 100.0)
    result = advance(sheet, beam, (hop,), generator(), max_events=1)
    (event,) = result.events
    assert (event.process, event.element, event.partner_element, event.partner) == ("hop", "C", "Si", SILICON)
    changed = np.flatnonzero(result.specimen.numbers != sheet.numbers)
    assert sorted(changed) == sorted([event.site, SILICON])
    assert result.specimen.numbers[event.site] == 14
    assert (result.specimen.positions == sheet.positions).all()
    assert event.time == result.elapsed == result.specimen.time < 100
    assert sheet.numbers[SILICON] == 14  # the specimen before is as it was


# ---- laws of the dose --------------------------------------------------------------------------------------------------------------------


def scanned(dose, density, *, offset):
    """Return a scan over an atom at 0 that leaves it that dose; ``offset`` shifts its grid."""
    x, y = np.meshgrid(np.arange(-2, 2, 0.4) + offset, np.arange(-2, 2, 0.4) + offset)
    points = np.column_stack([x.ravel(), y.ravel()])
    one = Exposure(points=points, dwell=np.full(len(points), 1e-3), current=10.0, energy=60e3, density=density)
    return dataclasses.replace(one, current=10.0 * dose / float(one.dose_at(np.zeros((1, 2)))[0]))


@pytest.mark.parametrize("episodes", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", ["parked", "beside", "scanned", "repeated", "sparse"])
def test_no_event_depends_on_the_dose_alone(path, episodes):
    """P(no event) = exp(-sigma D): parked on the atom, parked beside it, scanned, in many frames, in scattered points. 3 standard errors."""
    density, sigma, dose, rng = probe_density(60e3, 0.03, None, 0.3), 1e-7, 7e6, generator(7)
    beam = scanned(dose, density, offset=0.13)
    if path in {"parked", "beside"}:
        beam = parked((0.0, 0.0) if path == "parked" else (0.7, -0.4), 0.5, current=1.0, energy=60e3, density=density)
        beam = dataclasses.replace(beam, current=dose / float(beam.dose_at(np.zeros((1, 2)))[0]))
    elif path == "repeated":
        beam = dataclasses.replace(beam, current=beam.current / 20, repeats=20)
    elif path == "sparse":
        order = np.random.default_rng(3).permutation(len(beam.dwell))
        beam = dataclasses.replace(beam, points=beam.points[order])
    assert beam.dose_at(np.zeros((1, 2)))[0] == pytest.approx(dose, rel=1e-9)
    survived = sum(len(advance(atoms((0, 0)), beam, (eject(sigma),), rng).events) == 0 for _ in range(episodes)) / episodes
    expected = math.exp(-sigma * dose)
    assert abs(survived - expected) < 3 * math.sqrt(expected * (1 - expected) / episodes)


def test_times_follow_the_moving_beam():
    """While the beam scans, the integrated rate at the time of an event is exponential: exp(-sigma D(t) - rate t) is uniform (time change)."""
    density, sigma, rate, rng = probe_density(60e3, 0.03, None, 0.3), 1e-7, 4.0, generator(11)
    beam = dataclasses.replace(scanned(6e6, density, offset=0.05), repeats=3)
    process, atom = eject(sigma, rate=rate), atoms((0, 0))
    left = []
    for _ in range(600):
        for event in advance(atom, beam, (process,), rng).events:
            dose = sum(part.dose_at(atom.positions)[0] for part in beam.split(event.time)[0])
            assert event.dose == pytest.approx(dose, rel=1e-9)
            left.append(math.exp(-sigma * dose - rate * event.time))
    lowest = math.exp(-sigma * beam.dose_at(atom.positions)[0] - rate * beam.duration)
    assert len(left) > 300
    assert stats.kstest((np.array(left) - lowest) / (1 - lowest), "uniform").pvalue > 0.003


def test_doubling_the_current_doubles_the_rate():
    """Hazards are proportional to the current; waiting times are half as long on average (3 standard errors)."""
    density, atom, process = gaussian_density(0.5), atoms((0, 0)), eject(1e-7)
    mean, hazard = [], []
    for current, seed in ((5.0, 1), (10.0, 2)):
        beam = parked((0.3, 0.0), 1e4, current=current, energy=60e3, density=density)
        rng = generator(seed)
        mean.append(np.mean([advance(atom, beam, (process,), rng).events[0].time for _ in range(1500)]))
        hazard.append(channels(atom, beam, (process,)).total)
    assert hazard[1] == pytest.approx(2 * hazard[0], rel=1e-12)
    assert abs(mean[0] / mean[1] - 2) < 3 * 2 * math.sqrt(2 / 1500)
    assert abs(mean[0] * hazard[0] / 1e4 - 1) < 3 / math.sqrt(1500)


def test_competing_processes_branch_by_their_rates():
    """Two processes of the beam and a spontaneous one share the events as their rates, while the beam scans."""
    density, rng = probe_density(60e3, 0.03, None, 0.3), generator(5)
    beam = scanned(3e7, density, offset=0.0)
    processes = (
        eject(2e-7),
        eject(1e-7, name="oxidise", action="become", product="O"),
        Process(name="leave", element="C", action="eject", rate=15.0),
    )
    wanted = channels(atoms((0, 0)), beam, processes).hazards
    seen = np.zeros(3)
    for _ in range(1500):
        for event in advance(atoms((0, 0)), beam, processes, rng).events:
            seen += [name == event.process for name in ("eject", "oxidise", "leave")]
    # all three stop the atom: the first two are proportional at every moment, the third competes in time
    assert abs(seen[0] / seen[:2].sum() - 2 / 3) < 3 * math.sqrt(2 / 9 / seen[:2].sum())
    starts = np.concatenate([[0], np.cumsum(beam.dwell)])
    at = density.at(-beam.points) * beam.current * ELECTRONS_PER_PICOAMPERE_SECOND
    rates = 3e-7 * at + 15.0
    alive = np.exp(-np.concatenate([[0], np.cumsum(rates * beam.dwell)]))
    leaves = (15.0 / rates * (alive[:-1] - alive[1:])).sum()
    assert abs(seen[2] / 1500 - leaves) < 3 * math.sqrt(leaves * (1 - leaves) / 1500)
    assert wanted.sum() == pytest.approx(-math.log(alive[-1]), rel=1e-6)
    assert starts[-1] == pytest.approx(beam.duration)


def slow_twin(specimen, beam, processes, rng):
    """Return how many atoms a plain direct method loses: rates of all sites anew after each event, step by step through the path."""
    rules = compiled(processes, beam.energy)
    numbers, lost, clock = np.array(specimen.numbers), 0, 0.0
    for point, dwell in zip(beam.points, beam.dwell, strict=True):
        left = dwell
        offset = specimen.positions[:, :2] - point
        flux = beam.density.at(offset) * beam.current * ELECTRONS_PER_PICOAMPERE_SECOND
        while True:
            bonds = ((specimen.links >= 0) & (numbers[specimen.links] > 0)).sum(axis=1)
            rates = np.zeros(len(numbers))
            for sigma, rate, process in zip(rules.cross_sections, rules.rates, processes, strict=True):
                fits = (numbers == 6) & (bonds >= process.coordination[0]) & (bonds <= process.coordination[1])
                rates += fits * (sigma * flux + rate)
            wait = rng.exponential() / rates.sum() if rates.sum() > 0 else math.inf
            if wait > left:
                clock += left
                break
            left, clock = left - wait, clock + wait
            numbers[rng.choice(len(numbers), p=rates / rates.sum())] = 0
            lost += 1
    return lost


def test_growth_of_a_hole_against_the_direct_method():
    """With rates that change with every loss, the mean and the spread of how many atoms are lost are those of the plain method (3.5 errors)."""
    sheet = graphene(3, 2, periodic=False)
    processes = (
        eject(4e-8, name="bulk", coordination=(3, 9)),
        eject(3e-7, name="edge", coordination=(2, 2)),
        eject(1e-7, name="loose", coordination=(0, 1), rate=1.0),
    )
    centre, rng = sheet.positions[:, :2].mean(axis=0), np.random.default_rng(8)
    points = centre + np.array([[-1.5, 0], [1.5, 0.3], [0, 1.5], [0.2, -1.2]])
    beam = Exposure(points=points, dwell=[0.2, 0.3, 0.1, 0.4], current=40.0, energy=60e3, density=gaussian_density(1.2))
    fast = np.array([len(advance(sheet, beam, processes, rng).events) for _ in range(2000)])
    slow = np.array([slow_twin(sheet, beam, processes, rng) for _ in range(400)])
    assert 2 < slow.mean() < 20
    assert abs(fast.mean() - slow.mean()) < 3.5 * math.hypot(fast.std() / math.sqrt(2000), slow.std() / 20)
    assert stats.ks_2samp(fast, slow).pvalue > 0.003


# ---- what events do ----------------------------------------------------------------------------------------------------------------------


def links_are_mutual(specimen):
    """Whether every link goes both ways, and none to itself."""
    ends = {(i, int(j)) for i, row in enumerate(specimen.links) for j in row if j >= 0}
    return all((j, i) in ends and i != j for i, j in ends)


def test_a_hole_grows_from_its_edge():
    """At 80 kV bulk C stays while atoms with two bonds are lost: a vacancy becomes a hole, every loss after the first is at its edge."""
    sheet = graphene(6, 4)
    wound = carry_out(sheet, process_library.graphene()[0], 50)
    x, y = sheet.positions[50, :2]
    beam = parked((x, y), 1.0, current=200.0, energy=80e3, density=gaussian_density(1.5))
    beam = dataclasses.replace(beam, repeats=4)
    specimen, events = advance(wound, beam, process_library.graphene(), generator(2))
    names = {event.process for event in events}
    assert len(events) > 10
    assert "eject-bulk" not in names
    assert events.count("eject-edge") > 5
    assert specimen.present.sum() == wound.present.sum() - sum(event.process.startswith(("eject", "loose")) for event in events)
    assert (np.diff(events.times) >= 0).all()
    away, cell = specimen.positions[~specimen.present, :2] - [x, y], np.array(sheet.size)[::-1]
    assert np.hypot(*(away - cell * np.round(away / cell)).T).max() < 8
    assert len(advance(sheet, beam, process_library.graphene(), generator(2)).events) == 0


def test_a_turned_bond_makes_pentagons_and_heptagons():
    """A Stone-Wales turn keeps every bond count, makes two five- and two seven-membered rings; two turns bring back six-membered ones."""
    sheet = graphene(6, 4)
    turn = next(process for process in process_library.graphene() if process.name == "rotate-bond")
    back = next(process for process in process_library.graphene() if process.name == "rotate-back")
    site, partner = 50, int(sheet.links[50, 0])
    once = carry_out(sheet, turn, site, partner)
    assert rings(once) == {5: 2, 6: rings(sheet)[6] - 4, 7: 2}
    assert (once.coordination() == 3).all()
    assert links_are_mutual(once)
    length = np.linalg.norm(once.positions[site, :2] - once.positions[partner, :2])
    assert length == pytest.approx(1.42)
    twice = carry_out(once, back, site, partner)
    assert rings(twice) == rings(sheet)
    assert (twice.labels == 0).all()
    assert links_are_mutual(twice)


def rings(specimen):
    """Return how many shortest rings of each size there are through pairs of neighbouring bonds."""
    near = {i: {int(j) for j in row if j >= 0} for i, row in enumerate(specimen.links)}
    found = set()
    for i, around in near.items():
        for a in around:
            for b in around:
                if a < b:
                    paths = [[a]]
                    while paths and not any(path[-1] == b for path in paths):
                        paths = [[*path, j] for path in paths for j in near[path[-1]] if j != i and j not in path]
                    found |= {frozenset([i, *path]) for path in paths if path[-1] == b}
    sizes = [len(ring) for ring in found]
    return {size: sizes.count(size) for size in sorted(set(sizes))}


def test_sulfur_vacancies_move_and_only_the_exit_layer_is_lost():
    """In MoS2 at 80 kV S is lost behind the metal only; a vacancy's jumps keep the number of S, and stay in its layer."""
    layer = mos2(5, 3)
    assert set(layer.coordination()[layer.numbers == 42]) == {6}
    assert set(layer.coordination()[layer.numbers == 16]) == {3}
    rng, size = generator(3), layer.size
    x, y = np.meshgrid(np.arange(0, size[1], 0.5), np.arange(0, size[0], 0.5))
    points = np.column_stack([x.ravel(), y.ravel()])
    beam = Exposure(points=points, dwell=np.full(len(points), 1e-3), current=100.0, energy=80e3, density=gaussian_density(0.6), repeats=10)
    after, events = advance(layer, beam, process_library.dichalcogenide(), rng)
    lost = [event for event in events if event.process == "eject-chalcogen"]
    assert len(lost) > 3
    assert all(event.position[2] > 4 for event in lost)
    migrate = next(process for process in process_library.dichalcogenide() if process.name == "migrate")
    moved, jumps = advance(after, dataclasses.replace(beam, repeats=20), (migrate,), rng)
    assert len(jumps) > 5
    assert (np.sort(moved.numbers) == np.sort(after.numbers)).all()
    z = layer.positions[:, 2]
    assert all(z[jump.site] == z[jump.partner] for jump in jumps)
    assert not (moved.numbers == after.numbers).all()


def test_dopants_are_replaced_and_vacancies_heal():
    """A dopant turns into C, an empty site is filled: what a process makes stands there afterwards."""
    sheet = graphene(3, 2, silicon=SILICON)
    replace, heal = (next(p for p in process_library.graphene(healing=0.5) if p.name == name) for name in ("replace-dopant", "heal"))
    assert carry_out(sheet, replace, SILICON).numbers[SILICON] == 6
    wound = carry_out(sheet, process_library.graphene()[0], 20)
    idle = waited(100.0, energy=60e3, density=gaussian_density(1.0))
    healed, events = advance(wound, idle, process_library.graphene(healing=0.5), generator())
    assert (healed.numbers == sheet.numbers).all()
    assert [event.process for event in events] == ["heal"]
    assert events[0].element == "empty"
    assert heal.rate == 0.5


def test_thermal_rates():
    """The rate is attempt x exp(-E / kT): a barrier of kT ln 10 at 300 K divides by ten."""
    assert arrhenius(0.0, 300) == 1e13
    assert arrhenius(8.617333262e-5 * 300 * math.log(10), 300) == pytest.approx(1e12)


# ---- bookkeeping -------------------------------------------------------------------------------------------------------------------------


def film(seed=6):
    """Return a sheet with a hole, a scan at 80 kV that goes on growing it, and processes."""
    sheet = carry_out(graphene(6, 4, silicon=20), process_library.graphene()[0], 50)
    x, y = np.meshgrid(np.arange(0, 14, 0.7), np.arange(0, 16, 0.7))
    points = np.column_stack([x.ravel(), y.ravel()])
    beam = Exposure(
        points=points, dwell=np.full(len(points), 2e-4), current=100.0, energy=80e3, density=probe_density(80e3, 0.03, None, 0.3), repeats=150
    )
    return sheet, beam, process_library.graphene(), generator(seed)


def test_snapshot_in_the_middle_of_a_film(tmp_path):
    """Restored from a file and the generator's state, a film goes on bit for bit; time and dose go on from where they were."""
    sheet, beam, processes, rng = film()
    first = advance(sheet, beam, processes, rng)
    np.savez(tmp_path / "state.npz", **first.specimen.to_arrays())
    state = rng.bit_generator.state
    second = advance(first.specimen, beam, processes, rng)
    with np.load(tmp_path / "state.npz") as kept:
        again = SiteNetwork.from_arrays(dict(kept))
    other = generator(0)
    other.bit_generator.state = state
    restored = advance(again, beam, processes, other)
    for name, value in second.specimen.to_arrays().items():
        assert (value == restored.specimen.to_arrays()[name]).all(), name
    assert (second.events.times == restored.events.times).all()
    assert second.specimen.time == pytest.approx(2 * beam.duration)
    assert second.specimen.dose == pytest.approx(2 * beam.dose_at(sheet.positions, sheet.size), rel=1e-6)
    assert len(first.events) > 3


def test_the_log_grows_and_is_never_changed():
    """Logs are added up in order; their arrays are read-only; each event tells time, place, cause and dose."""
    sheet, beam, processes, rng = film()
    first = advance(sheet, beam, processes, rng)
    second = advance(first.specimen, beam, processes, rng)
    log = Events.none() + first.events + second.events
    assert len(log) == len(first.events) + len(second.events)
    assert [event.process for event in log] == [event.process for some in (first.events, second.events) for event in some]
    assert (np.diff(log.times) >= 0).all()
    assert (log.doses > 0).all()
    with pytest.raises(ValueError, match="read-only"):
        log.times[0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        first.specimen.numbers[0] = 0


def test_stopping_at_each_event_is_the_same_process():
    """Stopped after every event and taken up again, a film has the same number of events on average as in one go (3.5 standard errors)."""
    sheet, beam, processes, _ = film()
    beam = dataclasses.replace(beam, repeats=40)
    rng, counts = generator(9), []
    for _ in range(25):
        specimen, left, count = sheet, [beam], 0
        while left:
            result = advance(specimen, left[0], processes, rng, max_events=1)
            left = [*left[0].split(result.elapsed)[1], *left[1:]] if len(result.events) else left[1:]
            specimen, count = result.specimen, count + len(result.events)
        counts.append(count)
        assert specimen.time == pytest.approx(beam.duration)
        assert specimen.dose == pytest.approx(beam.dose_at(sheet.positions, sheet.size), rel=5e-3)
    whole = [len(advance(sheet, beam, processes, rng).events) for _ in range(80)]
    assert abs(np.mean(counts) - np.mean(whole)) < 3.5 * math.hypot(np.std(counts) / math.sqrt(25), np.std(whole) / math.sqrt(80))


def test_many_events_keep_the_specimen_whole():
    """After many events of every kind links are still mutual, numbers are known elements, and atoms have only been lost."""
    sheet, beam, _, rng = film()
    processes = tuple(dataclasses.replace(process, scale=30 * process.scale) for process in process_library.graphene(healing=0.01))
    after, events = advance(sheet, dataclasses.replace(beam, energy=120e3), processes, rng)
    assert len(events) > 50
    assert events.count("rotate-bond") > 0
    assert links_are_mutual(after)
    assert set(after.numbers) <= {0, 6, 14}
    assert np.isfinite(after.positions).all()
    assert after.present.sum() <= len(sheet.numbers)


# ---- what is refused ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"element": "Qx"}, UnknownNameError, "no element"),
        ({"action": "explode"}, SettingsError, "eject, become"),
        ({"action": "exchange"}, SettingsError, "needs a partner"),
        ({"partner": "Si"}, SettingsError, "has no partner"),
        ({"product": "O"}, SettingsError, "become"),
        ({"cross_section": -1.0}, SettingsError, "cross_section"),
        ({"rate": -1.0}, SettingsError, "rate"),
        ({"offset": 0.5}, SettingsError, "offset"),
        ({"link": "rope"}, SettingsError, "bond, jump"),
        ({"face": "left"}, SettingsError, "exit"),
    ],
)
def test_processes_that_make_no_sense_are_refused(change, error, words):
    """Unknown elements and actions, parts that do not fit, negative rates: one clear sentence."""
    with pytest.raises(error, match=words):
        eject(1e-8, **change)


def test_runs_that_make_no_sense_are_refused():
    """Double names, things that are no processes, a limit below one event: refused before anything happens."""
    sheet, beam, processes, rng = film()
    state = rng.bit_generator.state
    for bad, words in (((processes[0], processes[0]), "same name"), (("eject",), "not a Process")):
        with pytest.raises(SettingsError, match=words):
            advance(sheet, beam, bad, rng)
    with pytest.raises(SettingsError, match="max_events"):
        advance(sheet, beam, processes, rng, max_events=0)
    assert str(rng.bit_generator.state) == str(state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros(3)}, "do not match"),
        ({"numbers": np.full(24, -1)}, "Atomic numbers"),
        ({"links": np.full((24, 3), 24)}, "leads to site 24"),
        ({"positions": np.full((24, 3), np.nan)}, "finite"),
    ],
)
def test_specimens_that_cannot_be_are_refused(change, words):
    """Arrays that do not fit, elements and links that there are not: one clear sentence."""
    with pytest.raises(SettingsError, match=words):
        graphene(3, 2).replace(**change)


def test_a_cell_that_is_too_small_is_refused():
    """An atom that would be its own neighbour needs a larger cell."""
    with pytest.raises(SettingsError, match="too small"):
        SiteNetwork.build(np.zeros((1, 3)), np.array([6]), bond=1.8, size=(3.0, 10.0))


@pytest.mark.speed
def test_ten_thousand_events_a_second():
    """In a sheet of 5000 atoms that is scanned again and again, 10 000 events take less than a second, without imaging."""
    import time

    sheet = graphene(50, 25)
    x, y = np.meshgrid(np.linspace(0, sheet.size[1], 128, endpoint=False), np.linspace(0, sheet.size[0], 128, endpoint=False))
    points = np.column_stack([x.ravel(), y.ravel()])
    beam = Exposure(points=points, dwell=np.full(len(points), 1e-5), current=100.0, energy=80e3, density=probe_density(80e3, 0.03, None, 0.3))
    processes = (eject(1e-8), Process(name="heal", element="empty", action="become", rate=0.1, product="C"))
    advance(sheet, beam, processes, generator())
    start = time.perf_counter()
    _, events = advance(sheet, dataclasses.replace(beam, repeats=20_000), processes, generator())
    assert len(events) > 9000, len(events)
    assert (time.perf_counter() - start) / len(events) < 1e-4
