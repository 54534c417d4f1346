"""SpectrumDiscovery: scenes of one description, counts of the expected mean, rewards for what was found."""

import inspect
import itertools
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.envs import spectral_scenes
from stemtwin.twin.envs.families.spectrum_discovery import DECLARE, Discovery, SpectrumDiscovery
from stemtwin.twin.envs.scalarisers import SCALARISERS, best_places
from stemtwin.twin.envs.spectral_scenes import CORE, LOW, scene_seeds, turned
from stemtwin.twin.errors import SettingsError, UnknownNameError
from tests.envs.conftest import SMALL

ID = "stemtwin/SpectrumDiscovery-v1"


@pytest.fixture(scope="module")
def task() -> SpectrumDiscovery:
    """Return the family with its small settings."""
    return SpectrumDiscovery(**SMALL[ID])


@pytest.fixture
def state(task: SpectrumDiscovery) -> Discovery:
    """Return a state at the start."""
    return task.initial(np.random.default_rng(1), target="valence")


def action(task: SpectrumDiscovery, candidate: int, declare: float = -1.0, *, edx: bool = False) -> np.ndarray:
    """Return the action that measures or declares a candidate."""
    return np.array([*task.place(candidate), 1.0 if edx else -1.0, declare], np.float32)


def test_every_candidate_has_its_place(task: SpectrumDiscovery) -> None:
    """The nearest candidate of a candidate's place is itself; the corners of the field belong to the corner candidates."""
    assert [task.candidate(task.place(one)) for one in range(task.side**2)] == list(range(task.side**2))
    corners = [task.candidate(np.array(place)) for place in itertools.product((-1, 1), repeat=2)]
    assert sorted(corners) == [0, task.side - 1, task.side * (task.side - 1), task.side**2 - 1]


def test_splits_share_no_scene() -> None:
    """Each public split has eight scenes of its own; those of a test follow from a root alone, without which there are none."""
    one, same, other = (SpectrumDiscovery(split="test", scene_root=root).scene_seeds for root in (2**127, 2**127, 2**127 + 1))
    assert one == same
    assert len({*one, *other, *scene_seeds("train"), *scene_seeds("val")}) == 32
    with pytest.raises(SettingsError, match="scene_root"):
        SpectrumDiscovery(split="test").scene_seeds  # noqa: B018 - it is read to be refused


def test_spectra_of_the_other_technique_find_nothing(task: SpectrumDiscovery) -> None:
    """A spectrum without the scalariser costs one, shows its counts, scores 0 and finds nothing; the right one finds the same place."""
    for target, one in SCALARISERS.items():
        start = task.initial(np.random.default_rng(7), target=target)
        best, right = start.best[0], one.technique == "edx"
        wrong = task.transition(start, action(task, best, edx=not right), np.random.default_rng(8))
        after = task.transition(wrong, action(task, best, edx=right), np.random.default_rng(8))
        assert (wrong.scores, task.recall(wrong), task.area(wrong), task.spent(wrong)) == ((0.0,), 0, 0, 1 / task.queries)
        assert after.scores[1] > 0
        assert task.recall(after) == 1 / len(start.best)
        for state, edx in ((wrong, not right), (after, right)):
            assert [counts.any() for counts in state.spectra] == [not edx, not edx, edx]
        assert task.observe(after)["edx_taken"][:2].tolist() == [not right, right]


def stated_correlations() -> dict[str, tuple[float, float, float]]:
    """Return the correlations of image and scalariser that the page states: the mean over the scenes of ``val``, and the ends of their range."""
    text = " ".join(inspect.getdoc(SpectrumDiscovery).split()).partition("The correlation of the image")[2].partition(")")[0]  # type: ignore[union-attr]
    means, _, ranges = text.partition("(")
    first, ends = ([float(one) for one in re.findall(r"-?\d\.\d+", part)] for part in (means, ranges))
    return {name: (first[number], *ends[2 * number : 2 * number + 2]) for number, name in enumerate(SCALARISERS)}


@pytest.mark.slow
def test_brightness_misleads_as_the_page_states() -> None:
    """In a scene of ``val`` the correlations lie in the stated ranges, to their last digit, and the brightest 1 % holds none of the best.

    One spectrum at each position, which is what a search measures, is correlated with the scalariser at least three times as much as the image.
    """
    family, stated = SpectrumDiscovery(split="val", difficulty="easy"), stated_correlations()
    shown, n, rng = family.shown(0, 0), family.side, np.random.default_rng(1)
    tiles = shown.image.astype(float).reshape(n, 2, n, 2).mean(axis=(1, 3))
    for name, one in SCALARISERS.items():
        expected, electrons = getattr(shown, one.spectrum).astype(float), family.preset.electrons(one.spectrum)
        worth = one.value(expected, 1.0)
        mean, low, high = stated[name]
        assert low <= mean <= high
        brightness = float(np.corrcoef(tiles.ravel(), worth.ravel())[0, 1])
        assert low - 0.005 <= brightness <= high + 0.005, (name, brightness)
        start = family.initial(np.random.default_rng(2), target=name, scene=0)
        assert abs(start.brightness - brightness) < 0.01, "the image of an episode has the noise of few percent of its counts"
        assert not set(best_places(tiles)) & set(best_places(worth))
        measured = one.value(rng.poisson(expected * electrons), electrons)
        assert np.corrcoef(measured.ravel(), worth.ravel())[0, 1] > max(0.5, 3 * abs(brightness)), name


@given(turn=st.integers(0, 7), data=st.data())
def test_image_and_spectra_turn_together(turn: int, data: Any) -> None:
    """A place keeps its pixels and its spectrum however the scene lies, and all eight ways differ."""
    n = 3
    maps = np.arange(n * n * 2).reshape(n, n, 2)
    image = np.kron(maps[..., 0], np.ones((2, 2), int))
    row, column = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1))
    assert turned(image, turn)[2 * row, 2 * column] == turned(maps, turn)[row, column, 0]
    assert len({turned(maps, one).tobytes() for one in range(8)}) == 8


def test_best_places_are_one_percent() -> None:
    """One in a hundred, the best first, at least one."""
    worth = np.arange(1024.0).reshape(32, 32)
    np.testing.assert_array_equal(best_places(worth), np.arange(1023, 1013, -1))
    assert len(best_places(np.zeros((12, 12)))) == 1


def test_counts_have_the_expected_mean(task: SpectrumDiscovery, state: Discovery) -> None:
    """The mean of many spectra at one place is the expected one, and the mean of their scores the expected scalariser, within four deviations."""
    rng, best, shown = np.random.default_rng(2), int(best_places(state.worth)[0]), task.shown(state.scene, state.turn)
    taken = [task.transition(state, action(task, best), rng) for _ in range(200)]
    expected = shown.core[divmod(best, task.side)].astype(float) * task.preset.core_electrons
    mean = np.mean([one.spectra[1] for one in taken], axis=0)
    assert np.abs((mean - expected) / np.sqrt(expected / 200)).max() < 4.5
    scores = np.array([one.scores[0] for one in taken])
    assert abs(scores.mean() - state.worth.flat[best]) < 4 * scores.std() / np.sqrt(200) + 2e-3


def test_what_is_high_where(task: SpectrumDiscovery, state: Discovery) -> None:
    """The best of each scalariser lies where its physics is: on maghemite, on FeO, and at a corner of the flake."""
    seed = task.scene_seeds[state.scene]
    flake, shown, n = spectral_scenes.draw_flake(task.field_angstrom, seed), spectral_scenes.scene(task.field_angstrom, seed), task.side
    best = {}
    for name, one in SCALARISERS.items():
        row, column = divmod(int(best_places(one.value(getattr(shown, one.spectrum), 1.0))[0]), n)
        best[name] = (np.array([column, row]) + 0.5) * flake.field_angstrom / n

    def distance(name: str, kind: str) -> float:
        return min(float(np.hypot(*(best[name] - one.centre_angstrom))) - one.radius_angstrom for one in flake.particles if one.kind == kind)

    assert distance("valence", "maghemite") < 0
    assert distance("peak-ratio", "wustite") < 0
    corners = [np.hypot(*(best["edge-plasmon"] - corner)) for corner in np.array(flake.outline_angstrom)]
    assert min(corners) < 1.5 * spectral_scenes.PITCH_ANGSTROM
    assert np.isfinite(shown.low).all()
    assert shown.low.sum(axis=-1).max() <= 1 + 1e-6
    assert (shown.low.shape[-1], shown.core.shape[-1]) == (LOW.channels, CORE.channels)


def test_valences_are_mixed_by_their_atoms(task: SpectrumDiscovery, state: Discovery) -> None:
    """Where only divalent iron is, the spectrum is that of divalent iron; in between it lies between."""
    seed = task.scene_seeds[state.scene]
    flake = spectral_scenes.draw_flake(task.field_angstrom, seed)
    sample, ferric = spectral_scenes.flake_atoms(flake)
    mixed = spectral_scenes.core_spectra(flake, sample, ferric)
    two, three = (spectral_scenes.core_spectra(flake, sample, part) for part in (np.zeros_like(ferric), sample.numbers == 26))
    np.testing.assert_array_equal(spectral_scenes.scene(task.field_angstrom, seed).core, mixed)
    low, high = np.minimum(two, three), np.maximum(two, three)
    assert (mixed >= low * (1 - 1e-5) - 1e-12).all()
    assert (mixed <= high * (1 + 1e-5) + 1e-12).all()
    assert not np.allclose(two, three)


def test_finding_pays_and_the_best_score_does_not(task: SpectrumDiscovery, state: Discovery) -> None:
    """The dense return is 0.3 R + 0.6 (R / 2 + 1/2 if right) - 0.1 B, whatever the scores were."""
    rng, best = np.random.default_rng(3), [int(one) for one in best_places(state.worth)]
    worst = int(np.argmin(state.worth))
    for answer, found in ((best[0], best), (worst, best), (best[0], [worst]), (worst, [worst])):
        now, total = state, 0.0
        for candidate in found:
            after = task.transition(now, action(task, candidate), rng)
            now, total = after, total + task.step_reward(now, after)
        after = task.transition(now, action(task, answer, 1.0), rng)
        total += task.step_reward(now, after)
        recall, right = float(found == best), float(answer == best[0])
        assert total == pytest.approx(0.3 * recall + 0.6 * (recall + right) / 2 - 0.1 * len(found) / task.queries)
        assert task.terminated(after)
        assert task.success(after) == bool(right)


def test_the_area_is_of_the_best_so_far(task: SpectrumDiscovery, state: Discovery) -> None:
    """The best place first gives 1, after one bad spectrum 1 less its share; beyond the best 10 % nothing counts."""
    rng, order = np.random.default_rng(4), np.argsort(-state.worth.ravel())

    def area(*candidates: int) -> float:
        now = state
        for one in candidates:
            now = task.transition(now, action(task, int(one)), rng)
        return task.area(now)

    assert area(order[0]) == area(order[0], order[-1]) == 1
    assert area(order[-1], order[0]) == pytest.approx(1 - 1 / task.queries)
    assert area(order[-1]) == area(order[12]) == area() == 0
    assert 0 < area(order[3]) < area(order[1]) < 1


def test_budgets_bind(task: SpectrumDiscovery, state: Discovery) -> None:
    """After the last spectrum a measurement takes none and ends the episode; a declaration is still heard; its limit is DECLARE."""
    rng, now = np.random.default_rng(5), state
    for number in range(task.queries):
        assert not task.truncated(now)
        now = task.transition(now, action(task, number), rng)
    assert task.spent(now) == 1
    assert not task.truncated(now)
    over = task.transition(now, action(task, 0), rng)
    assert task.truncated(over)
    assert (over.places, task.cost(over)["dose_e_per_angstrom2"]) == (now.places, task.cost(now)["dose_e_per_angstrom2"])
    declared = task.transition(now, action(task, 3, float(np.nextafter(np.float32(DECLARE), np.float32(1)))), rng)
    assert task.terminated(declared)
    assert not task.truncated(declared)
    assert task.transition(state, action(task, 3, DECLARE), rng).answer is None


def test_a_hidden_scalariser_is_not_told() -> None:
    """Of the hard preset nothing but the scores and the spectra differs between targets at the start, the picture included."""
    shown = []
    for target in SCALARISERS:
        env = gym.make(ID, **{**SMALL[ID], "difficulty": "hard"}, render_mode="rgb_array")
        seen, _ = env.reset(seed=4, options={"target": target})
        shown.append((*(value.tobytes() for value in seen.values()), env.render().tobytes()))  # type: ignore[union-attr]
    assert len(set(shown)) == 1


def test_a_closed_valve_gives_dark_spectra() -> None:
    """Counts and score are 0, the budget is spent all the same."""
    env = gym.make(ID, **SMALL[ID], randomisation={"closed_valve": 1.0})
    env.reset(seed=1)
    seen, *_, info = env.step(np.array([0, 0, -1, -1], np.float32))
    assert not any(seen[name].any() for name in ("low", "core", "edx"))
    assert seen["scores"][0] == 0
    assert info["cost"]["spectra"] == 1


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        ({"field_angstrom": 20.0}, {}, "field_angstrom"),
        ({"scenes": 9}, {}, "scenes"),
        ({"spectra": 0}, {}, "spectra"),
        ({"scene_root": -1}, {}, "scene_root"),
        ({"randomisation": {"drift": (1.0, 2.0)}}, {}, "closed_valve"),
        ({}, {"target": "valense"}, "valence"),
        ({}, {"scene": 1}, "scene"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], options: dict[str, Any], said: str) -> None:
    """A setting or an option out of range ends in a sentence that names it."""
    with pytest.raises((SettingsError, UnknownNameError), match=said):
        gym.make(ID, **{**SMALL[ID], **settings}).reset(seed=1, options=options)
