"""Task spectrum-discovery: scores are those of what was found, and searches do what they say."""

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.baselines.deep_kernel import DeepKernel
from stemtwin.benchmarks.baselines.spectrum_discovery import GaussianSearch, Kernel, grid, patches, posterior
from stemtwin.benchmarks.episodes import Episode, make_environment
from stemtwin.benchmarks.families.spectrum_discovery import FOUND, score
from stemtwin.benchmarks.returns import play
from stemtwin.benchmarks.seed_keys import draw_keys
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.functional_env import hidden_truth
from stemtwin.twin.envs.spectral_scenes import scene_seeds
from tests.envs.conftest import SMALL

ID = "stemtwin/SpectrumDiscovery-v1"


def ended(number: int, *, rank: int, recall: float, terminated: bool = True) -> Episode:
    """Return an episode that ended with such a truth."""
    start = {"scene_number": 3.0, "target": 2.0, "brightness_correlation": 0.03}
    return Episode(
        number=number,
        seed=number,
        actions=((0.0, 0.0, 1.0),),
        rewards=(0.0,),
        start=start,
        end={**start, "recall": recall, "area": 0.7, "answer_rank": float(rank)},
        cost={"dose_e_per_angstrom2": 1e6, "beam_s": 1.0, "moves": 1.0, "spectra": 12.0, "edx_spectra": 5.0},
        terminated=terminated,
        wall_s=0.0,
        observations_sha256="",
    )


def test_scores_are_those_of_what_was_found() -> None:
    """The last rank of the best 1 % is right, the next one is not; without a declaration nothing counts; a scene is a cluster."""
    found = score([ended(0, rank=FOUND, recall=0.5), ended(1, rank=FOUND + 1, recall=0.1), ended(2, rank=0, recall=1.0, terminated=False)])
    assert FOUND == 10
    np.testing.assert_array_equal(found.statistics["right"], [1, 0, 0])
    np.testing.assert_array_equal(found.statistics["declared"], [1, 1, 0])
    np.testing.assert_allclose(found.statistics["recall"], [0.5, 0.1, 0.0])
    np.testing.assert_allclose(found.statistics["area"], [0.7, 0.7, 0.0])
    assert set(found.clusters) == {"scene 3"}
    assert set(found.columns["scalariser"]) == {"valence"}
    assert set(found.columns["scene"]) == {"scene 3"}
    assert found.columns["difficulty"].tolist() == ["easy", "standard", "hard"]


def test_scenes_of_a_run_follow_from_its_keys() -> None:
    """An environment made with secret keys has eight scenes that follow from these alone: no split, no other keys and no published key has them."""
    task, keys, other = find_task("spectrum-discovery"), draw_keys(), draw_keys()
    first, again, *others = (make_environment(task, one).get_wrapper_attr("task").scene_seeds for one in (keys, keys, other, None))
    assert first == again
    known = [first, *others, scene_seeds("train"), scene_seeds("val")]
    assert len({seed for seeds in known for seed in seeds}) == 8 * len(known)


def test_a_gaussian_process_is_that_of_the_textbook() -> None:
    """Means and deviations are those of the joint normal distribution by a plain inverse."""
    rng = np.random.default_rng(1)
    groups, measured = [rng.normal(size=(30, 2)), rng.normal(size=(30, 3))], np.array([3, 7, 20, 28])
    kernel = Kernel(terms=((0.25, (0,)), (0.75, (0, 1))), lengths=((1.5,), (0.8,)))
    scores = rng.normal(size=4)
    one, two = (np.exp(-((group[:, None] - group) ** 2).sum(-1) / 2 / length**2) for group, length in zip(groups, (1.5, 0.8), strict=True))
    whole, best = 0.25 * one + 0.75 * one * two, None
    for noise in (0.03, 0.1, 0.3):
        among = whole[np.ix_(measured, measured)] + (noise**2 + 1e-8) * np.eye(4)
        likelihood = -scores @ np.linalg.inv(among) @ scores / 2 - np.log(np.linalg.det(among)) / 2
        if best is None or likelihood > best[0]:
            best = likelihood, whole[:, measured] @ np.linalg.inv(among)
    assert best is not None
    found = posterior(kernel, groups, measured, scores)
    np.testing.assert_allclose(found.mean, best[1] @ scores, atol=1e-9)
    np.testing.assert_allclose(found.deviation**2, np.maximum(1 - (best[1] * whole[:, measured]).sum(1), 0), atol=1e-9)


def test_patches_do_not_depend_on_how_the_image_lies() -> None:
    """Turned and mirrored images have the turned and mirrored patches, but for signs of components."""
    image = np.random.default_rng(2).poisson(5.0, (24, 24))
    usual = patches(image, 12).reshape(12, 12, -1)
    for turned, expected in ((np.rot90(image), np.rot90(usual)), (image[:, ::-1], usual[:, ::-1])):
        np.testing.assert_allclose(np.abs(patches(turned, 12).reshape(12, 12, -1)), np.abs(expected), atol=1e-6)


def deep_kernel(rng: np.random.Generator) -> DeepKernel:
    """Return a deep kernel of 20 candidates."""
    return DeepKernel(rng.normal(size=(20, 5)), rng.uniform(-1, 1, (20, 2)), hidden=4, outputs=2, reach=2.0, rng=rng)


def test_the_gradient_of_a_deep_kernel_is_that_of_its_loss() -> None:
    """Central differences give the gradient by every weight, by the noise and by the length scale."""
    rng = np.random.default_rng(1)
    deep, chosen, values = deep_kernel(rng), rng.permutation(20)[:9], rng.normal(size=9)
    flat = deep.anchor + 0.1 * rng.normal(size=len(deep.anchor))
    slopes = [(deep.loss(flat + step, chosen, values)[0] - deep.loss(flat - step, chosen, values)[0]) / 2e-6 for step in 1e-6 * np.eye(len(flat))]
    np.testing.assert_allclose(deep.loss(flat, chosen, values)[1], slopes, atol=1e-6)


def test_training_makes_data_more_probable_and_the_posterior_goes_through_them() -> None:
    """Training lowers the loss; with little noise means at measured candidates are their values, with deviations below those elsewhere."""
    rng = np.random.default_rng(2)
    deep, chosen, values = deep_kernel(rng), np.arange(8), rng.normal(size=8)
    before = deep.loss(deep.network.flat(), chosen, values)[0]
    deep.train(chosen, values, iterations=20)
    assert deep.loss(deep.network.flat(), chosen, values)[0] < before
    deep.network = deep.network._replace(logs=np.array([-6.0, 0.0]))
    mean, deviation = deep.posterior(chosen, values)
    np.testing.assert_allclose(mean[chosen], values, atol=1e-2)
    assert deviation[chosen].max() < deviation[8:].min()
    assert deviation.max() <= 1


@pytest.mark.parametrize(("sees", "rank"), [("places", 1), ("patches", 1), ("learned", 3)])
def test_a_search_finds_the_top_of_a_smooth_hill(sees: str, rank: int) -> None:
    """Of a smooth hill in a featureless image the best of 400 places is declared after 30 spectra; by a deep kernel one of the best three."""
    places = grid(20)
    hill = np.exp(-((places - [0.35, -0.55]) ** 2).sum(1) / 0.3) + 0.1
    agent = GaussianSearch(sees=sees)
    agent.rng = np.random.Generator(np.random.Philox(3))
    agent.begin(np.random.default_rng(3).poisson(20.0, (40, 40)))
    measured: list[int] = []
    for _ in range(30):
        measured.append(agent.next(np.array(measured, int), hill[measured]))
    assert len(set(measured)) == 30
    assert hill[agent.answer(np.array(measured), hill[measured])] >= np.sort(hill)[-rank]


def test_searches_go_on_where_the_valve_is_closed() -> None:
    """Dark spectra are no scores: searches end with a declaration, also where all are dark."""
    for closed in (0.4, 1.0):
        env = gym.make(ID, **{**SMALL[ID], "spectra": 9}, randomisation={"closed_valve": closed}, privileged_info=True)
        for name in ("expert", "gp-position", "deep-kernel", "low-discrepancy", "brightest"):
            episode = play(env, find_baseline("spectrum-discovery", name).factory(), seed=1, task="spectrum-discovery")
            assert episode.steps == 10
            assert hidden_truth(env)["answer_rank"] > 0


@pytest.mark.slow
def test_searches_stand_in_their_order() -> None:
    """On scenes of full size patches find more than brightness or fixed places, and an easy episode pays more than a hard one."""
    mean = {}
    for difficulty in ("easy", "hard"):
        env = gym.make(ID, difficulty=difficulty, scenes=1, privileged_info=True)
        for name in ("oracle", "expert", "low-discrepancy", "brightest", "blind", "random"):
            one = find_baseline("spectrum-discovery", name)
            runs = [play(env, one.factory(), seed=seed, task="spectrum-discovery", oracle=one.oracle).total for seed in range(24)]
            mean[difficulty, name] = float(np.mean(runs))
        others = [mean[difficulty, name] for name in ("low-discrepancy", "brightest", "blind", "random")]
        assert mean[difficulty, "oracle"] > mean[difficulty, "expert"] > max(0.0, *others)
    assert mean["easy", "expert"] > mean["hard", "expert"] + 0.1
    assert scene_seeds("train", 1) == (0,)
