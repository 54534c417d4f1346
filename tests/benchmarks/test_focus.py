"""Task autofocus: the fit finds focus, the runner plays fair, the baselines stand in their order."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from stemtwin.benchmarks.agents import Baseline, make_entry
from stemtwin.benchmarks.baselines.focus import SECTORS, fit_focus, sector_powers
from stemtwin.benchmarks.episodes import derive_seed
from stemtwin.benchmarks.runner import evaluate, resolve, run_agent, save_run
from stemtwin.benchmarks.submission import read_header
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.focus_limits import STEP
from stemtwin.twin.errors import SettingsError, SubmissionError, UnknownNameError
from tests.benchmarks.fakes import FakeAutofocus

ROOT = Path(__file__).resolve().parent.parent.parent
TASK = find_task("autofocus")


def make(task):
    """Return the small microscope."""
    return FakeAutofocus()


def entry(factory):
    """Return an entry of foreign code."""
    return Baseline(task="autofocus", name="mine", text="", factory=factory)


class Still:
    """An agent that does nothing and remembers what it was told."""

    def reset(self, brief):
        """Remember."""
        self.brief = brief

    def act(self, observation, cost):
        """Do nothing."""
        Still.seen = (self.brief, observation, cost)
        return np.zeros(3)


def test_baselines_stand_in_their_order():
    """Over the same seeds the oracle ends at Strehl 1, random moves near 0, and the focal series near the oracle, in fewer frames than the budget."""
    value = {}
    for name in ("oracle", "focal-series", "random"):
        one, trust = resolve(TASK, baseline=name)
        value[name] = {metric.name: metric.value for metric in run_agent(TASK, one, trust, episodes=20, make=make).report.metrics}
    assert value["oracle"]["strehl"] == pytest.approx(1.0)
    assert value["oracle"]["success"] == 1.0
    assert value["random"]["strehl"] < 0.2
    assert value["focal-series"]["success"] >= 0.8
    assert 0.8 < value["focal-series"]["strehl"] < 1.0
    assert value["focal-series"]["images_to_success"] < 16


def test_one_focal_series_tells_both_aberrations():
    """Powers made by the law of the fit give back the offsets exactly, from a series in which C10 alone moves."""
    offset = np.array([35.0, -42.0, 18.0])
    knobs = np.zeros((6, 3))
    knobs[:, 0] = [0, 75, 150, 50, -50, -150]
    c, a, b = (knobs + offset).T[:, :, None] / STEP[0]
    double = 2 * np.pi * np.arange(SECTORS) / SECTORS
    powers = 0.1 * np.exp(-1.7 * (c**2 + a**2 + b**2 + 2 * c * (a * np.cos(double) + b * np.sin(double))))
    np.testing.assert_allclose(fit_focus(knobs, powers, np.full_like(powers, 1e-9)), -offset, atol=1e-6)
    assert fit_focus(knobs, powers, np.ones_like(powers)) is None


def test_sharpness_is_without_counting_noise():
    """A flat frame of Poisson counts has no sharpness: the sum over its azimuths is zero within three of its standard deviations."""
    power, noise = sector_powers(np.random.default_rng(2).poisson(40.0, (128, 128)))
    assert abs(power.sum()) < 3 * np.sqrt(np.sum(noise**2))


def test_seeds_are_the_published_ones():
    """Seeds are 128 bit wide, differ by number, split and stream, and are HMAC-SHA256 (RFC 2104, written out here)."""
    import hashlib

    pad = TASK.key.encode()
    pad = (hashlib.sha256(pad).digest() if len(pad) > 64 else pad).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in pad) + b"autofocus@1/public/7").digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in pad) + inner).digest()
    assert derive_seed(TASK, "public", 7) == int.from_bytes(outer[:16], "big")
    seeds = {derive_seed(TASK, split, k, stream) for split in ("public", "other") for k in range(50) for stream in ("", "agent")}
    assert len(seeds) == 200
    assert max(seeds) > 2**120


def test_an_agent_gets_observations_spaces_and_cost_alone():
    """No truth, no reward, no environment: the brief of foreign code has no door, and arrays are copies."""
    run_agent(TASK, entry(Still), "practice", episodes=1, make=make)
    brief, observation, cost = Still.seen
    assert brief.truth is None
    assert set(observation) == {"image", "knobs", "budget"}
    assert set(cost) == {"dose_e_per_angstrom2", "beam_s", "moves"}
    assert all(array.base is None for array in observation.values())
    assert brief.seed != derive_seed(TASK, "public", 0)


def test_the_same_run_twice_is_the_same():
    """Actions, frames and score of a run are functions of the seeds."""
    first, second = (evaluate_fake("random") for _ in range(2))
    assert first.report.artefact_sha256 == second.report.artefact_sha256
    assert [one.observations_sha256 for one in first.episodes] == [one.observations_sha256 for one in second.episodes]
    assert first.report.metrics == second.report.metrics


def evaluate_fake(name, episodes=6):
    """Return the evaluation of a baseline on the small microscope."""
    one, trust = resolve(TASK, baseline=name)
    return run_agent(TASK, one, trust, episodes=episodes, make=make)


def test_a_wrong_action_is_refused_not_clipped():
    """An action outside the space stops the run with the entry, the action and the episode."""

    class Wild(Still):
        action = (2.0, 0, 0)

        def act(self, observation, cost):
            super().act(observation, cost)
            return np.array(self.action)

    class Nan(Wild):
        action = (np.nan, np.nan, np.nan)

    for wrong in (Wild, Nan):
        with pytest.raises(SubmissionError, match="mine: action 0 of episode 0"):
            run_agent(TASK, entry(wrong), "practice", episodes=1, make=make)


def test_a_wrong_entry_is_told_what_is_missing():
    """An entry without the methods, or with others' arguments, is a sentence with the whole form, before any episode; so is an action of words."""

    class NoReset:
        act = Still.act

    class OneArgument(Still):
        def act(self, observation):
            return 0 * observation["knobs"]

    class Needy(Still):
        def __init__(self, weights):
            self.weights = weights

    for wrong, told in ((NoReset, r"no method reset\(brief\)"), (OneArgument, r"no method act\(observation, cost\)"), (Needy, "without arguments")):
        with pytest.raises(SettingsError, match=told + r".*has reset\(brief\), act\(observation, cost\)\.$"):
            run_agent(TASK, entry(wrong), "practice", episodes=1, make=make)

    class Words(Still):
        def act(self, observation, cost):
            super().act(observation, cost)
            return "up"

    with pytest.raises(SubmissionError, match="action 0 of episode 0 is 'up'"):
        run_agent(TASK, entry(Words), "practice", episodes=1, make=make)


def test_the_page_on_scores_runs(tmp_path):
    """The agent, the detector and the header that docs/scores.md shows are what the runner takes."""
    blocks = re.findall(r"```(?:python|yaml)\n(.*?)```", (ROOT / "docs" / "scores.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    agent, detector, header = blocks
    names: dict = {}
    exec(agent, names)
    exec(detector, names)
    assert run_agent(TASK, entry(names["Patient"]), "practice", episodes=1, make=make).report.trust == "practice"
    image = np.zeros((8, 8), np.uint16)
    image[3, 5] = 9
    given = {"image": image, "sampling_angstrom": 0.5}
    brightest = make_entry(entry(names["Brightest"]), "predictions")
    np.testing.assert_array_equal(brightest.predict(given, np.random.default_rng(0)).positions, [[2.5, 1.5]])
    (tmp_path / "submission.yaml").write_text(header, encoding="utf-8")
    assert read_header(tmp_path, find_task("atoms-2d")).split == "test"


def test_the_score_is_of_the_state_at_the_end():
    """An agent that stands still keeps the start: its final aberrations are those drawn, and it fails after all frames."""
    done = run_agent(TASK, entry(Still), "practice", episodes=5, make=make)
    for episode in done.episodes:
        assert episode.start["C10_angstrom"] == episode.end["C10_angstrom"]
        assert len(episode.actions) == 19
    assert done.report.metric("success").value == 0.0
    assert done.report.metric("images_to_success").value is None
    assert done.report.metric("final_c10").value == pytest.approx(np.mean([abs(one.start["C10_angstrom"]) for one in done.episodes]))


def test_episodes_are_stored(tmp_path):
    """A run folder holds the report, the statistics of every episode and every action, with seeds as hexadecimal text."""
    done = evaluate_fake("focal-series", episodes=3)
    save_run(tmp_path, TASK, done)
    rows = json.loads((tmp_path / "episodes.json").read_text())
    assert [int(row["seed"], 16) for row in rows] == [derive_seed(TASK, "public", k) for k in range(3)]
    assert rows[0]["actions"] == [list(action) for action in done.episodes[0].actions]
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "samples.parquet", "episodes.json"}


def test_entries_by_name():
    """A baseline's name, an oracle's, foreign code's each give their trust; a wrong name or address is named."""
    assert resolve(TASK, baseline="random")[1] == "baseline"
    assert resolve(TASK, baseline="oracle")[1] == "oracle"
    assert resolve(TASK, agent="tests.benchmarks.test_focus:Still")[1] == "practice"
    with pytest.raises(UnknownNameError, match="Known: focal-series, random, oracle"):
        resolve(TASK, baseline="focus")
    for address, message in (
        ("nothing", "not of the form"),
        ("no.such:Agent", "No module named"),
        ("json:nope", "no class or function named 'nope'"),
    ):
        with pytest.raises(SettingsError, match=message):
            resolve(TASK, agent=address)
    with pytest.raises(SettingsError, match="exactly one"):
        resolve(TASK)
    with pytest.raises(SettingsError, match="split='hidden'"):
        evaluate(TASK, baseline="random", split="hidden")
    with pytest.raises(SettingsError, match="episodes=0"):
        evaluate(TASK, baseline="random", episodes=0)


@pytest.mark.slow
def test_the_real_environment():
    """In stemtwin/Autofocus-v1 the oracle ends at Strehl 1 in every episode and the focal series beats random moves."""
    value = {name: evaluate(TASK, baseline=name, episodes=6).report for name in ("oracle", "focal-series", "random")}
    assert value["oracle"].primary.value == pytest.approx(1.0, abs=1e-6)
    assert value["focal-series"].primary.value > 0.5 > value["random"].primary.value + 0.2
    assert value["oracle"].trust == "oracle"
    assert value["random"].cost["moves"] == 19
