"""Task sparse-scan: scores are those of the truth at the end, and baselines stand in their order."""

import numpy as np
import pytest

from stemtwin.benchmarks.baselines import sparse as baselines
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.families.sparse import coverage_error, score
from stemtwin.benchmarks.runner import evaluate
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs import sparse_paths
from stemtwin.twin.envs.sparse_scenes import PROFILE

TASK = find_task("sparse-scan")


def ended(number: int, error: float, *, terminated: bool = True, coverage: float = 0.9) -> Episode:
    """Return an episode of three actions, whose raster has an error of 0.002."""
    truth = {"error": error, "log_score": -1.0, "coverage": coverage, "raster_error": 0.002, "raster_log_score": -1.5, "raster_coverage": 0.9}
    truth |= {"scene": 7.0, "sample": 2.0, "log10_electrons": 3.5}
    cost = {"dose_e_per_angstrom2": 50.0, "beam_s": 0.02, "path_s": 0.03, "moves": 3.0}
    return Episode(
        number=number, seed=number, actions=((0.0,) * 7,) * 3, rewards=(0.0,) * 3, start=truth, end=truth, cost=cost, terminated=terminated,
        wall_s=0.0, observations_sha256="",
    )  # fmt: skip


def test_scores_are_those_of_the_image_at_the_end() -> None:
    """An error of half the raster's is a skill of 0.5 where the end was declared; a worse image than the raster's has none."""
    found = score([ended(0, 0.001), ended(1, 0.001, terminated=False), ended(2, 0.003)])
    np.testing.assert_allclose(found.statistics["skill"], [0.5, 0, 0])
    np.testing.assert_allclose(found.statistics["log_gain"], 0.5)
    np.testing.assert_array_equal(found.statistics["success"], [1, 0, 0])
    np.testing.assert_array_equal(found.statistics["blocks"], [2, 3, 2])
    assert set(found.columns["sample"]) == {"mos2-1h"}
    assert found.columns["difficulty"].tolist() == ["easy", "standard", "hard"]
    assert found.columns["instrument"].tolist() == [f"{PROFILE} without detector chain", PROFILE, PROFILE]
    np.testing.assert_allclose(found.columns["electrons"], 10**3.5)
    assert coverage_error({"samples": np.array(2), "covered": np.array(2.0)}) == pytest.approx(0.1)


def test_candidates_cover_what_they_say() -> None:
    """The sum of a map over a pattern at its best place is that over the pixels of the block between its corners, and a spot lies in it."""
    worth = np.zeros((64, 64))
    worth[30:36, 40:46] = np.random.default_rng(1).random((6, 6))
    for value, kind, corners in baselines.candidates(worth):
        rows, columns = np.unique(sparse_paths.block(kind, corners, 64, PROFILE).pixels, axis=0).T
        assert value == pytest.approx(worth[rows, columns].sum(), rel=0.35)
        assert value > 0


@pytest.mark.slow
def test_baselines_stand_in_their_order() -> None:
    """Over the same episodes the oracle is better than the expert, the expert better than rasters and even lines, and those than no block."""
    reports = {name: evaluate(TASK, baseline=name, episodes=4).report for name in ("oracle", "expert", "raster", "blind", "no-op")}
    value = {name: report.primary.value or 0.0 for name, report in reports.items()}
    assert value["oracle"] > value["expert"] > 0.2
    assert value["expert"] > value["raster"] + 0.15
    assert value["raster"] > value["no-op"]
    assert value["blind"] >= value["no-op"]
    assert reports["oracle"].trust == "oracle"
    assert {one.column for one in reports["expert"].slices} == {"difficulty", "instrument", "sample", "electrons"}
