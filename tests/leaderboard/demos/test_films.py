"""The films of ``stemtwin demo --film``: the pilot sees images alone, the files are whole, atoms never overlap, the hole grows and Si arrives."""

import json
import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.demos import films, pilot, silicon_manipulation

AXIS = 0.25 * np.arange(56)


def frame(places, peaks, *, dose=50.0, seed=0):
    """Counts of an image (y, x) with Gaussian atoms at (x, y), on a background of 5."""
    y, x = AXIS[:, None], AXIS[None, :]
    mean = 5.0 + sum(dose * peak * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 0.45**2)) for (px, py), peak in zip(places, peaks, strict=True))
    counts = np.random.default_rng(seed).poisson(mean)
    return xr.DataArray(counts, dims=("y", "x"), coords={"y": AXIS, "x": AXIS})


def honeycomb(silicon, turn):
    """Sites of graphene about a Si atom, whose three neighbours stand pilot.REACH off; turned by an angle."""
    cells = [np.array([1.5 * (i + j), math.sqrt(3) / 2 * (i - j)]) for i in range(-4, 5) for j in range(-4, 5)]
    sites = [1.42 * (cell + offset) for cell in cells for offset in (np.zeros(2), np.array([1.0, 0.0]))]
    sites = [site * pilot.REACH / 1.42 if abs(np.hypot(*site) - 1.42) < 0.1 else site for site in sites]
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return np.array([rotation @ site for site in sites]) + silicon


@settings(max_examples=20, deadline=None)
@given(x=st.floats(5.0, 9.0), y=st.floats(5.0, 9.0), turn=st.floats(0.0, 2 * math.pi), seed=st.integers(0, 99))
def test_the_pilot_finds_silicon_and_its_neighbours(x, y, turn, seed):
    """Wherever Si lies and however the lattice is turned: Si within 0.15 A, its neighbours within 0.3 A of true ones, from noisy counts."""
    places = honeycomb(np.array([x, y]), turn)
    heavy = np.hypot(*(places - [x, y]).T) < 0.1
    found = pilot.find_silicon(frame(places, np.where(heavy, 4.0, 0.4), seed=seed))
    assert found is not None
    assert math.dist(found, (x, y)) < 0.15
    near = pilot.find_neighbours(frame(places, np.where(heavy, 2.0, 0.7), seed=seed + 100), found)
    for place in near:
        assert np.hypot(*(places[~heavy] - place).T).min() < 0.3


def test_the_pilot_goes_nearer_with_every_hop_and_stops():
    """Led from site to site, each hop comes nearer to the goal, until it is reached; without Si there is nothing to do."""
    places = honeycomb(np.array([7.0, 7.0]), 0.3)
    here, goal = np.array([7.0, 7.0]), (3.5, 8.5)
    for _ in range(6):
        heavy = np.hypot(*(places - here).T) < 0.3
        seen = xr.Dataset({"haadf": frame(places, np.where(heavy, 4.0, 0.4)), "maadf": frame(places, np.where(heavy, 2.0, 0.7))})
        decision = pilot.decide(seen, (goal,))
        if decision.target is None:
            break
        there = places[np.argmin(np.hypot(*(places - decision.target).T))]
        assert math.dist(there, goal) < math.dist(here, goal)
        here = there
    assert decision.goals == ()
    assert math.dist(here, goal) < 1.0
    nothing = xr.Dataset({name: frame(places, np.full(len(places), 0.4)) for name in ("haadf", "maadf")})
    assert pilot.decide(nothing, (goal,)).silicon is None


def test_a_signal_jumps_when_silicon_comes():
    """A heavier atom under the beam is told from the noise of a lighter one."""
    assert not pilot.has_jumped(50_000, 50_700)
    assert pilot.has_jumped(50_000, 150_000)


def test_the_pilot_gives_up_on_silicon_that_stays():
    """Si is stuck when so many images in a row see it on one place, not while it moves, and not before."""
    moving, still = [(0.0, 1.4 * n) for n in range(40)], [(3.0, 3.0 + 0.01 * n) for n in range(pilot.PATIENCE)]
    assert not pilot.is_stuck(moving)
    assert not pilot.is_stuck(still)
    assert pilot.is_stuck([*moving, *still, (3.0, 3.0)])


@pytest.mark.slow
def test_an_attempt_ends_as_its_events_say(monkeypatch):
    """An attempt that may park the beam once does not arrive; it tells the hops that there were, and the time on the microscope's clock."""
    monkeypatch.setattr(silicon_manipulation, "MOST_PARKS", 1)
    monkeypatch.setattr(silicon_manipulation, "PARK_S", 0.4)
    ended = silicon_manipulation.attempt(5)
    assert not ended.arrived
    assert ended.parks == 1
    assert 0 <= ended.hops <= 1
    assert ended.time_s == pytest.approx(0.4 + 2 * 68 * 68 * 250e-6, rel=0.3)


def test_leading_alone_is_refused_beside_other_demonstrations(capsys):
    """What cannot be done together, or not at all, is one sentence."""
    for more, words in ((["--film"], "Use only one"), (["--structure", "au-001"], "Leave out --led"), ([], "out of range")):
        assert main(["demo", "--led", "0", *more]) == 1
        assert words in capsys.readouterr().err


def stills(monkeypatch):
    """Collect the frames that a film would draw."""
    kept = []
    save = films.save_film
    monkeypatch.setattr(films, "save_film", lambda frames, path: (kept.extend(frames), save(frames, path))[1])
    return kept


def closest(atoms):
    """Return the smallest distance of two atoms, in projection, A."""
    away = np.hypot(*(atoms[:, None, :2] - atoms[None, :, :2]).transpose(2, 0, 1))
    return float(away[np.triu_indices(len(atoms), 1)].min())


@pytest.mark.slow
def test_a_short_film_of_a_hole(tmp_path, monkeypatch):
    """Two frames: a GIF of two pictures; the second shows the dose of both, and no atoms nearer to each other than a dimer's bond."""
    monkeypatch.setattr(films, "HOLE_FRAMES", 2)
    kept, ticks = stills(monkeypatch), []
    path, told = films.hole_film(tmp_path, ticks.append)
    with Image.open(path) as film:
        assert film.format == "GIF"
        assert film.n_frames == 2
    assert kept[1].dose[30, 30] == pytest.approx(2 * kept[0].dose[30, 30], rel=0.02)
    assert min(closest(still.atoms) for still in kept) > 1.2
    assert "80 kV" in told
    assert ticks == sorted(ticks)
    assert ticks[-1] == 1.0


def test_films_are_of_graphene(capsys):
    """A structure beside --film is refused in one sentence."""
    assert main(["demo", "--film", "--structure", "srtio3-001"]) == 1
    assert "Leave out --film or --structure" in capsys.readouterr().err


@pytest.mark.slow
def test_both_films(tmp_path, monkeypatch, capsys):
    """The hole grows monotonically, Si arrives at the end of its path by hops alone, nothing overlaps, and both files are small."""
    kept = stills(monkeypatch)
    assert main(["demo", "--film", "--output", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert all(0 < (tmp_path / name).stat().st_size < 1e6 for name in ("hole.gif", "silicon.gif"))
    hole = [len(still.atoms) for still in kept if not still.path]
    assert hole == sorted(hole, reverse=True)
    assert hole[0] - hole[-1] > 20
    led = [still for still in kept if still.path]
    for still, place in ((led[0], led[0].path[0]), (led[-1], led[0].path[-1])):  # where it was seen, and where it was to go
        assert still.atoms[np.argmin(np.hypot(*(still.atoms[:, :2] - place).T)), 2] == 14
    assert min(closest(still.atoms) for still in kept) > 1.2
    assert "end of its path" in said["said"][1]
