"""stemtwin/HypothesisTest: the laws are the twin's, the posterior is calibrated, and rewards pay for telling laws apart."""

import dataclasses
import math
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats

from stemtwin.benchmarks.agents import brief_for
from stemtwin.benchmarks.baselines import hypothesis as baselines
from stemtwin.twin.envs import ENVIRONMENTS, damage_laws
from stemtwin.twin.envs.arguments import Randomisation
from stemtwin.twin.envs.damage_laws import PAIRS, USUAL_DOSE, USUAL_ENERGY_EV, USUAL_TIME_S
from stemtwin.twin.envs.damage_presets import HARD, preset_settings
from stemtwin.twin.envs.families.hypothesis_test import EDGE, DamageTrial, HypothesisTest, declared_probability
from stemtwin.twin.envs.functional_env import StemEnv, hidden_truth
from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM, cross_sections, find_site
from stemtwin.twin.physics.dynamics.processes import Process, arrhenius

PRESETS = HypothesisTest.PRESETS
each_pair = pytest.mark.parametrize("pair", list(PAIRS))
each_preset = pytest.mark.parametrize("difficulty", list(PRESETS))


def make(**settings: Any) -> StemEnv:
    """Return the environment without Gymnasium's wrappers."""
    env = gym.make("stemtwin/HypothesisTest-v1", **settings).unwrapped
    assert isinstance(env, StemEnv)
    return env


def state_of(env: StemEnv) -> DamageTrial:
    """Return the state of an episode."""
    state = env._state
    assert isinstance(state, DamageTrial)
    return state


@each_pair
@each_preset
def test_laws_agree_at_the_usual_settings(pair: str, difficulty: str) -> None:
    """Both laws of a pair lose 1 - exp(-h) at 80 keV, the usual dose and the usual time, whatever their shapes."""
    prior = PRESETS[difficulty].prior
    found = damage_laws.hypotheses(pair, prior)
    read = damage_laws.read_probabilities(pair, prior, USUAL_ENERGY_EV, USUAL_DOSE, USUAL_TIME_S)
    np.testing.assert_allclose((read - prior.misread) / (1 - 2 * prior.misread), 1 - np.exp(-found.strength), rtol=1e-9)


@each_pair
def test_the_first_count_tells_nothing_of_the_law(pair: str) -> None:
    """After the first area, at the usual settings, the posterior is 1/2 for every count."""
    prior = PRESETS["standard"].prior
    found = damage_laws.hypotheses(pair, prior)
    read = damage_laws.read_probabilities(pair, prior, USUAL_ENERGY_EV, USUAL_DOSE, USUAL_TIME_S)
    for lost in range(17):
        assert damage_laws.posterior(damage_laws.updated(found.log_prior, read, lost, 16), found.law) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("energy_ev", [63e3, 80e3, 95.3e3, 104e3])
def test_knock_on_is_that_of_the_twins_processes(energy_ev: float) -> None:
    """Interpolated losses by knock-on and by radiolysis are those of a Process whose scale, or efficiency, makes the same usual loss."""
    prior = dataclasses.replace(HARD.prior, misread=0.0)
    read = damage_laws.read_probabilities("mechanism", prior, energy_ev, 0.7 * USUAL_DOSE, USUAL_TIME_S)
    found = damage_laws.hypotheses("mechanism", prior)
    for row in (0, 4, len(read) - 1):
        strength, shape = float(found.strength[row]), float(found.shape[row])
        site = dataclasses.replace(find_site("S", "mos2"), displacement=shape or 20.0, excited=None)
        if found.law[row] == 1:
            site = dataclasses.replace(site, radiolysis=damage_laws.EXCITATION, displacement=400.0)
        scale = strength / (cross_sections(site, USUAL_ENERGY_EV, temperature=ROOM).total * USUAL_DOSE)
        process = Process(name="loss", element="S", action="eject", site=site, scale=scale)
        assert read[row] == pytest.approx(1 - math.exp(-process.cross_section_at(energy_ev, ROOM) * 0.7 * USUAL_DOSE), abs=1e-3)


def test_several_hits_are_a_gamma_distribution() -> None:
    """Sites that need m hits are lost as a gamma distribution of order m has it; the mean number of hits goes with the dose."""
    prior = dataclasses.replace(PRESETS["standard"].prior, misread=0.0)
    found = damage_laws.hypotheses("dose", prior)
    lost = damage_laws.read_probabilities("dose", prior, USUAL_ENERGY_EV, 2 * USUAL_DOSE, USUAL_TIME_S)
    for row in np.flatnonzero(found.law == 1):
        mean = stats.gamma.ppf(1 - math.exp(-found.strength[row]), found.shape[row])
        assert lost[row] == pytest.approx(stats.gamma.cdf(2 * mean, found.shape[row]), rel=1e-9)
    for row in np.flatnonzero(found.law == 0):
        assert lost[row] == pytest.approx(1 - math.exp(-found.strength[row] * 2 ** found.shape[row]), rel=1e-9)


def test_heat_and_beam_share_the_jumps() -> None:
    """Jumps by heat go with the time, at the rate of Arrhenius's law, those by the beam with dose and cross-section; shares add up."""
    prior = dataclasses.replace(PRESETS["standard"].prior, misread=0.0)
    found = damage_laws.hypotheses("diffusion", prior)
    lost = damage_laws.read_probabilities("diffusion", prior, USUAL_ENERGY_EV, 2 * USUAL_DOSE, 3 * USUAL_TIME_S)
    of_beam = np.where(found.law == 1, 1 - found.shape, found.shape)
    rate = np.array([arrhenius(damage_laws.barrier_ev(strength), damage_laws.HOT, damage_laws.ATTEMPT) for strength in found.strength])
    np.testing.assert_allclose(lost, 1 - np.exp(-2 * of_beam * found.strength - 3 * (1 - of_beam) * rate * USUAL_TIME_S), rtol=1e-9)
    assert 2.2 < damage_laws.barrier_ev(0.7) < 2.4, "the barrier of the literature, 2.3 eV"


def test_weights_are_scipys_binomial_likelihoods() -> None:
    """The posterior after an episode is prior times binomial probabilities, added up over parameters."""
    env = make(difficulty="hard")
    env.reset(seed=3)
    for action in ([1, 1, -1, -1, 0], [-1, -1, 1, 0, 0], [0.3, 0.8, 0, 0, 0]):
        env.step(np.array(action, np.float32))
    state = state_of(env)
    found = damage_laws.hypotheses(state.pair, HARD.prior)
    likelihood = np.exp(found.log_prior)
    for settings, gone in zip((np.zeros(3), *state.settings), state.gone, strict=True):
        read = damage_laws.read_probabilities(state.pair, HARD.prior, *preset_settings(HARD, settings))
        likelihood = likelihood * stats.binom.pmf(gone.sum(), HARD.sites, read)
    expected = likelihood[found.law == 1].sum() / likelihood.sum()
    assert damage_laws.posterior(state.log_weights, found.law) == pytest.approx(expected, rel=1e-9)


def test_the_posterior_is_calibrated() -> None:
    """Among episodes with the posterior near q, law 1 is true in a share q, within four standard errors, in every fifth of [0, 1]."""
    env = make(difficulty="hard", observation="state")
    told, true = [], []
    for seed in range(500):
        env.reset(seed=seed)
        for settings in baselines.SWEEP:
            observation, *_ = env.step(baselines.experiment(settings))
        told.append(float(observation[-1]))
        true.append(hidden_truth(env)["law"])
    posterior, law = np.array(told), np.array(true)
    bins = np.minimum((posterior * 5).astype(int), 4)
    for number in range(5):
        chosen = bins == number
        assert chosen.sum() > 20
        spread = math.sqrt((posterior[chosen] * (1 - posterior[chosen])).sum())
        assert abs(law[chosen].sum() - posterior[chosen].sum()) < 4 * spread


def test_the_score_is_strictly_proper_and_bounded() -> None:
    """The expected worth of an answer is greatest at the probability that one holds; worths reach from -1 to 1."""
    env = make()
    env.reset(seed=1, options={"law": "knock-on"})
    family, state = env.task, state_of(env)
    assert isinstance(family, HypothesisTest)
    answers = np.linspace(EDGE, 1 - EDGE, 97)
    wrong = np.array([family.achievement(dataclasses.replace(state, answer=answer)) for answer in answers])
    right = wrong[::-1]
    assert (right.min(), right.max()) == pytest.approx((-1, 1))
    for held in answers[::12]:
        assert answers[np.argmax(held * right + (1 - held) * wrong)] == pytest.approx(held)
    hard_decision = np.maximum(1 + np.log2(0.8), -1) * 0.8 + np.maximum(1 + np.log2(0.2), -1) * 0.2
    assert hard_decision < 0.8 * 1 + 0.2 * -1, "a score clipped at -1 would pay more for certainty than for 0.8"


@each_preset
def test_a_declared_episode_returns_the_score_less_its_price(difficulty: str) -> None:
    """The potential adds up to nothing: returns are 0.6 A - 0.1 (B_end - B_start), without a declaration - 0.1 (B_end - B_start)."""
    env = make(difficulty=difficulty)
    family = env.task
    assert isinstance(family, HypothesisTest)
    for seed, declare in ((0, True), (1, True), (2, False)):
        env.reset(seed=seed)
        first, total, over = family.spent(state_of(env)), 0.0, False
        while not over:
            last = declare and state_of(env).moves == 3
            action = baselines.declaration(0.9) if last else baselines.experiment((0.5, 0.4, -0.7))
            _, reward, terminated, truncated, _ = env.step(action)
            total, over = total + reward, terminated or truncated
        state = state_of(env)
        worth = family.achievement(state) if declare else 0.0
        assert terminated is declare
        assert total == pytest.approx(0.6 * worth - 0.1 * (family.spent(state) - first))


@pytest.mark.parametrize(("settings", "bound"), [((0, 1, -1), 1), ((0, -1, 1), 2), ((0, -0.5, -0.5), 0)])
def test_every_budget_binds(settings: tuple, bound: int) -> None:
    """Large doses spend the dose, long exposures the time, small ones the areas; what is left is given, and one more action may declare."""
    env = make()
    env.reset(seed=5)
    while True:
        observation, _, _, truncated, info = env.step(baselines.experiment(settings))
        if truncated:
            break
    assert np.argmin(observation["budget"]) == bound
    assert observation["budget"][bound] < 0.05
    assert (np.delete(observation["budget"], bound) > 0.02).all()
    assert info["cost"]["moves"] == info["cost"]["areas"]
    assert info["cost"]["dose_e_per_angstrom2"] <= env.task.preset.dose * USUAL_DOSE * (1 + 1e-6)


def test_options_choose_the_laws() -> None:
    """reset() takes a pair and a law; a law of another pair and unknown names are refused; episodes are otherwise the drawn ones."""
    env = make()
    for pair, laws in PAIRS.items():
        for number, law in enumerate(laws):
            env.reset(seed=1, options={"pair": pair, "law": law})
            assert (state_of(env).pair, hidden_truth(env)["law"]) == (pair, number)
            env.reset(seed=1, options={"law": law})
            assert (state_of(env).pair, hidden_truth(env)["law"]) == (pair, number)
    for options, told in (({"pair": "colour"}, "pair='colour'"), ({"pair": "dose", "law": "heat"}, "law='heat'"), ({"law": "rust"}, "law='rust'")):
        with pytest.raises(UnknownNameError, match=told):
            env.reset(options=options)
    with pytest.raises(SettingsError, match="law=1"):
        env.reset(seed=2, options={"law": 1})
    env.reset(seed=8)
    first = env.reset()[0]["area"]
    env.reset(seed=8)
    with pytest.raises(UnknownNameError):
        env.reset(seed=9, options={"law": "rust"})
    np.testing.assert_array_equal(env.reset()[0]["area"], first, err_msg="a refused reset leaves the stream of episodes as it is")


def test_the_three_forms_hold_the_same_counts() -> None:
    """Counts are those of dark sites in the frames and of the fractions of the state; settings, pair and budget are the same numbers."""
    forms = {name: make(observation=name, difficulty="easy") for name in ("counts", "pixels", "state")}
    seen = {}
    for name, env in forms.items():
        env.reset(seed=4)
        env.step(np.array([1, 0.5, -1, 0, 0], np.float32))
        seen[name], *_ = env.step(np.array([-1, -0.5, 0.1, 0, 0], np.float32))
        assert env.observation_space.contains(seen[name])
    preset, counts, state = PRESETS["easy"], seen["counts"], seen["state"]
    pitch = 48 / preset.sites_per_side
    centres = (pitch * (np.arange(preset.sites_per_side) + 0.5)).astype(int)
    dark = seen["pixels"]["image"][:3, centres][:, :, centres] < 100
    lost = np.concatenate([counts["usual"], counts["lost"]])
    np.testing.assert_array_equal(dark.sum(axis=(1, 2)), lost[:3])
    np.testing.assert_array_equal(dark[2], counts["area"])
    np.testing.assert_allclose(state[: preset.areas] * preset.sites, lost, atol=1e-4)
    flat = np.concatenate([counts["settings"].ravel(), counts["pair"], counts["budget"]]).astype(np.float32)
    np.testing.assert_array_equal(seen["pixels"]["scalars"], flat)
    np.testing.assert_array_equal(state[preset.areas : -1], flat)


@pytest.mark.speed
@each_preset
def test_pictures_cost_25_milliseconds_at_most(difficulty: str) -> None:
    """A step with its picture takes less than 25 ms of processor time."""
    env = make(difficulty=difficulty, render_mode="rgb_array")
    env.reset(seed=1)
    began = time.process_time()
    for _ in range(4):
        env.step(baselines.experiment((0.1, -0.5, -0.5)))
        assert env.render() is not None
    assert (time.process_time() - began) / 4 < 0.025


def test_faults_leave_the_other_draws_of_an_episode() -> None:
    """Faults are 0 by default; with any, laws and exposures that no fault strikes are the same; faults that cannot happen are refused."""
    episodes = {}
    for given in (None, Randomisation(), {"blocked_stage": 0.4}, {"closed_valve": 0.4}):
        env = make(difficulty="hard", randomisation=given)
        env.reset(seed=11)
        for settings in baselines.SWEEP * 3:
            env.step(baselines.experiment(settings))
        episodes[str(given)] = state_of(env)
    usual, whole, blocked, closed = episodes.values()
    assert whole.log_weights.tolist() == usual.log_weights.tolist()
    assert blocked.hypothesis == closed.hypothesis == usual.hypothesis
    assert 0 < blocked.blocked < 12
    assert len(blocked.gone) == 13 - blocked.blocked
    dark = [not np.array_equal(one, other) for one, other in zip(closed.gone, usual.gone, strict=True)]
    assert 0 < sum(dark) < 13
    assert all(one.mean() > other.mean() for one, other, struck in zip(closed.gone, usual.gone, dark, strict=True) if struck)
    with pytest.raises(UnknownNameError, match="HypothesisTest does not draw 'failed_correction'"):
        make(randomisation={"failed_correction": 0.1})


def test_a_blocked_stage_exposes_nothing() -> None:
    """Observation and costs stay, but for the number of actions; a declaration needs no stage; the 16th action is the last."""
    env = make(difficulty="easy", randomisation={"blocked_stage": 1.0})
    assert ENVIRONMENTS["stemtwin/HypothesisTest-v1"].max_episode_steps == env.task.known()["actions"] == 16
    first, info = env.reset(seed=1)
    for moves in range(1, 17):
        seen, reward, terminated, truncated, after = env.step(baselines.experiment((1, 1, 1)))
        assert all(np.array_equal(seen[name], first[name]) for name in first)
        assert after["cost"] == {**info["cost"], "moves": moves}
        assert (terminated, truncated) == (False, moves == 16)
        assert reward == pytest.approx(0, abs=1e-12)
    env.reset(seed=1)
    env.step(baselines.experiment((1, 1, 1)))
    assert env.step(baselines.declaration(0.5))[2]


def test_what_is_learnt_before_the_last_blocked_action_earns_nothing() -> None:
    """An episode without an answer pays for its budget alone, whatever the potential was before the limit of actions."""
    env = make(difficulty="easy", randomisation={"blocked_stage": 0.8})
    family, reached = env.task, []
    assert isinstance(family, HypothesisTest)
    for seed in range(6):
        env.reset(seed=seed)
        first, total, over = family.spent(state_of(env)), 0.0, False
        while not over:
            reached.append(family.potential(state_of(env)))
            _, reward, terminated, truncated, _ = env.step(baselines.experiment((1, 0, 0)))
            total, over = total + reward, terminated or truncated
        assert state_of(env).moves == 16
        assert total == pytest.approx(0.1 * (first - family.spent(state_of(env))))
    assert max(reached) > 0.6


def test_a_closed_valve_shows_in_its_dark_frame_alone() -> None:
    """Sites are lost but for misreadings, in all forms; costs and budgets are those of an open valve."""
    read, exposures = [], 0
    for seed in range(40):
        closed, free = make(difficulty="easy", randomisation={"closed_valve": 1.0}), make(difficulty="easy")
        told = []
        for env in (closed, free):
            env.reset(seed=seed)
            seen, *_, info = env.step(baselines.experiment((1, -1, -1)))
            told.append((seen["settings"].tolist(), seen["budget"].tolist(), info["cost"]))
        assert told[0] == told[1]
        read += [area.mean() for area in state_of(closed).gone]
        exposures += len(state_of(closed).gone)
    sites = exposures * PRESETS["easy"].sites
    assert abs(np.mean(read) - 0.95) < 4 * math.sqrt(0.05 * 0.95 / sites)


def test_the_posterior_knows_of_dark_frames() -> None:
    """With a valve that closes now and then the posterior is prior times a mixture of binomials, which is calibrated; one that ignores it is not."""
    chance = 0.3
    env = make(difficulty="easy", observation="state", randomisation={"closed_valve": chance})
    prior, told, naive, true = PRESETS["easy"].prior, [], [], []
    for seed in range(300):
        env.reset(seed=seed)
        for settings in baselines.SWEEP:
            observation, *_ = env.step(baselines.experiment(settings))
        state = state_of(env)
        found = damage_laws.hypotheses(state.pair, prior)
        likelihood, lit = np.exp(found.log_prior), found.log_prior
        for given, gone in zip((np.zeros(3), *state.settings), state.gone, strict=True):
            read = damage_laws.read_probabilities(state.pair, prior, *preset_settings(PRESETS["easy"], given))
            open_, dark = stats.binom.pmf(gone.sum(), gone.size, read), stats.binom.pmf(gone.sum(), gone.size, 1 - prior.misread)
            likelihood = likelihood * ((1 - chance) * open_ + chance * dark)
            lit = damage_laws.updated(lit, read, int(gone.sum()), gone.size)
        told.append(float(observation[-1]))
        assert told[-1] == pytest.approx(likelihood[found.law == 1].sum() / likelihood.sum(), abs=1e-6)
        naive.append(damage_laws.posterior(lit, found.law))
        true.append(hidden_truth(env)["law"])

    def surprise(posterior: list[float]) -> float:
        """Return the difference of declared and true law over its standard deviation, summed over both halves of the posterior."""
        held, law = np.clip(np.array(posterior), 1e-9, 1 - 1e-9), np.array(true)
        return sum(abs((held - law)[half].sum()) / math.sqrt((held * (1 - held))[half].sum()) for half in (held < 0.5, held >= 0.5))

    assert surprise(told) < 6
    assert surprise(naive) > 12


def test_the_expert_takes_dark_frames_for_what_they_are() -> None:
    """Its posterior is that of the environment, and it declares before its last action even with a stage that is often blocked."""
    declared = []
    for seed in range(12):
        env = make(difficulty="hard", randomisation={"closed_valve": 0.2, "blocked_stage": 0.6})
        expert = baselines.FixedSeries()
        observation, info = env.reset(seed=seed)
        expert.reset(brief_for(env, task="hypothesis-test", seed=seed))
        over = False
        while not over:
            family = env.task
            assert isinstance(family, HypothesisTest)
            assert expert.believed(observation) == pytest.approx(family.probability(state_of(env)), abs=1e-6)
            observation, _, terminated, truncated, info = env.step(expert.act(observation, info["cost"]))
            over = terminated or truncated
        declared.append(terminated)
    assert all(declared)


def test_declarations_reach_from_edge_to_edge() -> None:
    """The fourth component declares above 0.8 alone; the fifth is the probability, linear."""
    assert declared_probability(np.array([0, 0, 0, 0.79, 1], np.float32)) is None
    assert declared_probability(np.array([0, 0, 0, 0.81, 1], np.float32)) == pytest.approx(1 - EDGE)
    for probability in (EDGE, 0.3, 0.5, 1 - EDGE):
        assert declared_probability(baselines.declaration(probability)) == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize("law", ["one hit", "several hits"])
def test_success_does_not_hang_on_rounding(law: str) -> None:
    """An answer of three quarters, as near as float32 has it, is no success for either law; one of four fifths for the true law is."""
    env = make(privileged_info=True)
    for probability, solved in ((0.75, False), (0.8, True)):
        for rounded in (-1, 0, 1):
            env.reset(seed=1, options={"law": law})
            action = baselines.declaration(probability if hidden_truth(env)["law"] else 1 - probability)
            action[4] += rounded * np.spacing(action[4])
            assert env.step(action)[-1]["is_success"] is solved


def test_expected_information_is_the_mean_gain_of_the_posterior() -> None:
    """Expected information is never negative, 0 at the usual settings, and the mean fall of the entropy of the law over all counts."""
    preset = PRESETS["standard"]
    rng = np.random.Generator(np.random.Philox(1))
    for pair in PAIRS:
        found = damage_laws.hypotheses(pair, preset.prior)
        outcomes = baselines.outcome_probabilities(pair, preset)
        np.testing.assert_allclose(outcomes.sum(axis=-1), 1, rtol=1e-9)
        prior = np.exp(found.log_prior)
        told = baselines.expected_information(prior, found.law, outcomes)
        usual = np.flatnonzero((baselines.designs() == 0).all(axis=1))[0]
        assert told[usual] == pytest.approx(0, abs=1e-9)
        assert (told >= 0).all()
        assert told.max() > 0.03
        weights = rng.dirichlet(np.ones(len(prior)))
        told = baselines.expected_information(weights, found.law, outcomes)
        first = stats.entropy([weights[found.law == 0].sum(), weights[found.law == 1].sum()], base=2)
        for design in (3, 70):
            counts = weights @ outcomes[design]
            after = [stats.entropy([(weights * outcomes[design][:, n])[found.law == k].sum() for k in (0, 1)], base=2) for n in range(len(counts))]
            assert told[design] == pytest.approx(first - counts @ np.array(after), abs=1e-9)
