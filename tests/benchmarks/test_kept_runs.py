"""Kept runs: written and read to the last bit, replayed, resumed; the scales of the package follow from them."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stemtwin.benchmarks import kept_runs, return_statistics, return_tables, returns
from stemtwin.benchmarks.kept_runs import KeptEpisode, KeptRun
from stemtwin.benchmarks.return_statistics import difference, failings, scale_of, summary
from stemtwin.benchmarks.returns import PlayedEpisode
from stemtwin.benchmarks.statistics import interquartile_mean
from stemtwin.twin.envs import reference as references
from stemtwin.twin.envs.families.autofocus import Autofocus
from stemtwin.twin.envs.reference import ReturnScale, reference
from stemtwin.twin.errors import DatasetError, UnknownNameError

ID = "stemtwin/HypothesisTest-v1"
LARGEST_BYTES = 1_000_000
"""Most bytes of the kept runs of a family."""
KEPT: list[tuple[str, str, str | None]] = [
    *sorted((f"stemtwin/{path.parents[1].name}", path.parent.name, None) for path in kept_runs.RUNS.glob("*/*/expert.parquet")),
    *sorted((f"stemtwin/{path.parents[2].name}", path.parents[1].name, path.parent.name) for path in kept_runs.RUNS.glob("*/*/*/expert.parquet")),
]
"""Environments, presets and forms of observation with kept runs; None for the usual form."""


def measured(folder: Path, lines: list[str] | None = None, **options: Any) -> ReturnScale:
    """Return the scale of a few episodes of two policies."""
    policies = {name: returns.environments()[ID][name] for name in ("random", "expert", "oracle")}
    tell = (lambda _: None) if lines is None else lines.append
    return returns.measure(ID, "easy", policies, tell=tell, folder=folder, **{"episodes": 4, **options})


def run_of(policy: str, totals: np.ndarray | list[float], errors: np.ndarray | None = None) -> KeptRun:
    """Return a run with these returns, and these final errors where they are given."""
    one = KeptEpisode(seed=0, total=0.0, success=False, actions=np.zeros((2, 1), np.float32), cost={"moves": 2.0}, observations_sha256="00" * 32)
    kept = [None] * len(totals) if errors is None else errors.tolist()
    pairs = zip(totals, kept, strict=True)
    episodes = tuple(dataclasses.replace(one, seed=seed, total=float(total), error=error) for seed, (total, error) in enumerate(pairs))
    return KeptRun(environment=ID, difficulty="easy", policy=policy, arguments={"split": "val"}, cpu_s=0.0, episodes=episodes)


def test_a_measurement_leaves_runs_that_are_replayed_to_the_last_bit(tmp_path: Path) -> None:
    """What is kept says how to play every episode again; the scale is computed from it, and what is read back is what was played."""
    lines: list[str] = []
    scale = measured(tmp_path, lines)
    found = kept_runs.read_all(ID, "easy", tmp_path)
    assert set(found) == {"random", "expert", "oracle"}
    assert scale_of({name: found[name] for name in scale.policies}) == scale == returns.rescored(ID, "easy", tmp_path)
    assert re.search(r"3 policies, 4 episodes each, about \d+\.\d min of CPU", lines[0])
    for run in found.values():
        env = run.make()
        assert run.seeds == (0, 1, 2, 3)
        for kept in run.episodes:
            again = kept_runs.replay(env, kept)
            assert kept_runs.same(again, kept)
            assert not kept_runs.same(dataclasses.replace(again, total=again.total + 1e-12), kept)
    assert not list(tmp_path.rglob(f"*{kept_runs.UNFINISHED}"))


def test_an_interrupted_measurement_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies that were finished are not played again but for two episodes, the result is that of one go, and older runs stay until it is whole."""
    whole, real, played = measured(tmp_path / "whole"), returns.play, 0

    def counted(*arguments: Any, **options: Any) -> PlayedEpisode:
        nonlocal played
        played += 1
        if played == limit:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(returns, "play", counted)
    limit = 6 + 2 + 1  # two of each policy, the rest of the first one, then the second begins
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path)
    assert kept_runs.read_all(ID, "easy", tmp_path) == {}
    limit, played = 0, 0
    found = measured(tmp_path)
    assert played == 6 + 2 + 2
    without_time = [{name: dataclasses.replace(one, cpu_s=None) for name, one in scale.policies.items()} for scale in (found, whole)]
    assert without_time[0] == without_time[1]
    played = 0
    assert measured(tmp_path, episodes=3).seeds == (0, 1, 2)
    assert played == 6 + 3


def test_a_policy_that_was_interrupted_goes_on_with_its_next_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes are kept while a policy plays, and those kept are not played again but for the first two; the run is that of one go."""
    measured(tmp_path / "whole", episodes=6)
    real, played = returns.play, []

    def counted(*arguments: Any, **options: Any) -> PlayedEpisode:
        played.append(options["seed"])
        if len(played) == limit:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(returns, "play", counted)
    monkeypatch.setattr(returns, "KEEP_S", -1.0)
    limit = 6 + 3  # two of each policy, then the third, fourth and fifth of the first one
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, episodes=6)
    unfinished = kept_runs.run_path(ID, "easy", "random", tmp_path).with_suffix(kept_runs.UNFINISHED)
    assert kept_runs.read(unfinished).seeds == (0, 1, 2, 3)
    assert kept_runs.read(unfinished).cpu_s > 0
    limit = 0
    played.clear()
    measured(tmp_path, episodes=6)
    assert played == [0, 1] * 3 + [4, 5] + [2, 3, 4, 5] * 2
    for name in ("random", "expert", "oracle"):
        one, other = (kept_runs.read(kept_runs.run_path(ID, "easy", name, folder)) for folder in (tmp_path, tmp_path / "whole"))
        assert all(kept_runs.same(*each) for each in zip(one.episodes, other.episodes, strict=True))


def test_another_form_of_observation_has_a_scale_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs lie beside those of the usual form, its scale is read by the name of the form, tables show it, and the usual scale stays."""
    arguments = returns.arguments_of("counts")
    scale = measured(tmp_path, arguments=arguments)
    usual = measured(tmp_path)
    assert returns.forms(ID, "easy", tmp_path) == [None, "counts"]
    assert scale.arguments == arguments == {"split": "val", "observation": "counts"}
    assert kept_runs.read_all(ID, "easy", tmp_path, "counts")["random"].observation == "counts"
    monkeypatch.setattr(references, "FOLDER", tmp_path / "scales")
    monkeypatch.setattr(return_tables, "FOLDER", tmp_path / "scales")
    for one in (scale, usual):
        returns.save(one, tmp_path / "scales")
    assert reference(ID, "easy", "counts") == scale == returns.rescored(ID, "easy", tmp_path, "counts")
    assert reference(ID, "easy") == usual
    assert return_tables.form_scales(ID) == [scale]
    random = scale.policies["random"]
    assert f"| `counts` | easy | 4 | random | {random.mean:.3f} ({random.low:.3f} to {random.high:.3f}) |" in return_tables.form_rows([scale])
    assert f"| `counts` | easy | oracle minus expert | {scale.paired[-1].mean:.3f} (" in return_tables.form_pairs([scale])
    with pytest.raises(UnknownNameError, match=r"observation='pixels'.*counts"):
        reference(ID, "easy", "pixels")
    with pytest.raises(UnknownNameError, match="difficulty='hard'"):
        reference(ID, "hard", "counts")


def test_runs_of_another_world_are_not_taken_up(tmp_path: Path) -> None:
    """An unfinished run whose first episodes are not those of today is played again."""
    right = measured(tmp_path)
    path = kept_runs.run_path(ID, "easy", "random", tmp_path)
    run = kept_runs.read(path)
    wrong = dataclasses.replace(run.episodes[0], observations_sha256="11" * 32)
    kept_runs.save(dataclasses.replace(run, episodes=(wrong, *run.episodes[1:])), path.with_suffix(kept_runs.UNFINISHED))
    assert measured(tmp_path).policies["random"].mean == right.policies["random"].mean
    assert kept_runs.read(path).episodes[0].observations_sha256 == run.episodes[0].observations_sha256


def test_slow_experts_play_fewer_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a number of episodes it is the environment's own, else the usual one, or the small one where an expert takes longer than the limit."""
    monkeypatch.setattr(returns, "MORE", {ID: 8})
    assert len(measured(tmp_path, episodes=None).seeds) == 8
    monkeypatch.setattr(returns, "MORE", {})
    monkeypatch.setattr(returns, "EPISODES", 6)
    monkeypatch.setattr(returns, "FEW", 3)
    assert len(measured(tmp_path, episodes=None).seeds) == 6
    monkeypatch.setattr(returns, "SLOW_S", 0.0)
    assert len(measured(tmp_path, episodes=None).seeds) == 3


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60))
@settings(max_examples=20, deadline=None)
def test_the_interquartile_mean_lies_between_the_quartiles(totals: list[float]) -> None:
    """It is scipy's trimmed mean, lies between the quartiles' neighbours and does not see how far the outermost quarter is."""
    values = np.array(totals)
    middle = float(interquartile_mean(values))
    cut = len(values) // 4
    inner = np.sort(values)[cut : len(values) - cut]
    assert middle == pytest.approx(inner.mean(), abs=1e-12)
    if cut:
        far = np.sort(values)
        far[-1] = 1e6
        assert float(interquartile_mean(far)) == pytest.approx(middle, abs=1e-9)


def test_intervals_cover_and_pairs_are_narrower() -> None:
    """Of returns that share the luck of their episodes, the paired difference has a narrower interval than either; equal ones have none."""
    rng = np.random.default_rng(1)
    luck = rng.normal(0, 0.3, 60)
    better, other = run_of("expert", luck + 0.1 + rng.normal(0, 0.01, 60)), run_of("random", luck)
    apart, alone = difference(better, other), summary(better.episodes)
    assert apart.low < 0.1 < apart.high
    assert apart.high - apart.low < (alone.high - alone.low) / 5
    assert alone.iqm_low is not None
    assert alone.iqm is not None
    assert alone.iqm_high is not None
    assert alone.iqm_low < alone.iqm < alone.iqm_high
    constant = summary(run_of("no-op", [0.25] * 30).episodes)
    assert (constant.low, constant.mean, constant.high, constant.iqm, constant.iqm_low) == (0.25,) * 5
    reached = stats.bootstrap((luck,), np.mean, method="BCa", rng=np.random.Generator(np.random.Philox(return_statistics.SEED))).confidence_interval
    assert return_statistics.interval(luck) == (reached.low, reached.high)


def scales(**means: tuple[float, ...]) -> Iterator[ReturnScale]:
    """Give one scale for each number of the policies: 30 returns about it."""
    about = np.random.default_rng(2).normal(0, 0.02, 30)
    for values in zip(*means.values(), strict=True):
        yield scale_of({name.replace("_", "-"): run_of(name.replace("_", "-"), about + value) for name, value in zip(means, values, strict=True)})


def test_what_a_scale_has_to_show_is_told_where_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right family has no failings; an expert below a lazy policy, a blind one that earns half, and presets that are alike are each named."""
    right: dict[str, tuple[float, ...]] = {
        "no_op": (0.0, 0.0),
        "random": (-0.1, -0.1),
        "blind": (0.1, 0.1),
        "expert": (0.6, 0.5),
        "oracle": (0.8, 0.8),
    }
    assert failings(list(scales(**right))) == []
    for wrong, said in (
        ({"expert": (0.6, 0.6)}, ["are not separated"]),
        ({"blind": (0.1, 0.3)}, ["blind reaches"]),
        ({"oracle": (0.8, 0.4)}, ["oracle minus expert"]),
        ({"random": (0.7, -0.1)}, ["expert minus random", "random reaches", "oracle"]),
    ):
        told = failings(list(scales(**{**right, **wrong})))
        assert len(told) >= 1
        assert any(said[0] in one for one in told)


def test_final_errors_are_kept_and_separate_presets(tmp_path: Path) -> None:
    """Errors are read back as they were written, their mean has the interval of a mean, a scale without them has none, and mixed presets are told."""
    rng = np.random.default_rng(1)
    totals, errors = 0.7 + 0.05 * rng.random(60), 2 + rng.random(60)
    runs = {"no-op": run_of("no-op", [0.0] * 60), "oracle": run_of("oracle", totals + 0.1)}

    def scale(expert: KeptRun, difficulty: str) -> ReturnScale:
        return dataclasses.replace(scale_of({**runs, "expert": expert}), difficulty=difficulty)

    near, far = run_of("expert", totals, errors), run_of("expert", totals - 0.1, 2 * errors)
    kept_runs.save(near, tmp_path / "expert.parquet")
    assert [one.error for one in kept_runs.read(tmp_path / "expert.parquet").episodes] == errors.tolist()
    told = scale(near, "easy").policies
    assert (told["expert"].error_low, told["expert"].error_high) == return_statistics.interval(errors)
    assert told["expert"].error == pytest.approx(errors.mean())
    assert told["oracle"].error is None
    assert failings([scale(near, "easy"), scale(far, "hard")]) == []
    assert [line for line in failings([scale(near, "easy"), scale(run_of("expert", totals - 0.1, errors), "hard")]) if "final errors" in line]
    assert not [line for line in failings([scale(run_of("expert", totals), "easy"), scale(far, "hard")]) if "final errors" in line]


def test_runs_over_other_episodes_have_no_common_scale() -> None:
    """A policy that was played over fewer episodes than the others is named, with both numbers."""
    rng = np.random.default_rng(1)
    runs = {name: run_of(name, rng.random(count)) for name, count in (("no-op", 50), ("expert", 50), ("towards", 40))}
    with pytest.raises(DatasetError, match="different seeds; towards has 40 episodes, and no-op has 50"):
        scale_of(runs)


def test_a_trained_policy_is_compared_with_the_rule() -> None:
    """Its paired lead stands in the scale and on the page where both were played over the same episodes, and is told where it is none."""
    rng = np.random.default_rng(1)
    runs = {name: run_of(name, mean + 0.1 * rng.random(50)) for name, mean in {"no-op": 0.0, "expert": 0.6, "oracle": 0.8, "towards": 0.4}.items()}
    assert [pair.better for pair in scale_of(runs).paired] == ["expert", "oracle"]
    blind = scale_of({name: run for name, run in runs.items() if name != "oracle"}).paired
    assert [(pair.better, pair.other) for pair in blind] == [("expert", "no-op"), ("expert", "towards")]
    for mean, ahead in ((0.5, True), (0.4, False)):
        scale = scale_of({**runs, "learner": run_of("learner", mean + 0.1 * rng.random(50))})
        assert (scale.paired[-1].better, scale.paired[-1].other) == ("learner", "towards")
        assert (scale.paired[-1].low > 0) is ahead
        assert any("learner minus towards" in line for line in failings([scale])) is not ahead
        assert return_tables.lead_cell(scale, "towards").startswith(f"{scale.paired[-1].mean:.3f} (")
        assert return_tables.lead_cell(scale, "expert") == ""


def test_other_files_are_no_runs(tmp_path: Path) -> None:
    """A file that is none, or of something else, and runs that are not there are named in a sentence."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "expert.parquet"
    path.write_bytes(b"PAR1 and so on")
    with pytest.raises(DatasetError, match=r"expert\.parquet cannot be read as Parquet"):
        kept_runs.read(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(DatasetError, match="holds no run"):
        kept_runs.read(path)
    with pytest.raises(UnknownNameError, match="No runs of"):
        returns.rescored(ID, "easy", tmp_path)


def test_kept_runs_are_small() -> None:
    """Those of a family take at most 1 MB."""
    for folder in kept_runs.RUNS.iterdir():
        assert sum(path.stat().st_size for path in folder.rglob("*.parquet")) <= LARGEST_BYTES, folder.name


@pytest.mark.parametrize(("environment", "difficulty", "form"), KEPT)
def test_kept_runs_are_those_of_the_scale(environment: str, difficulty: str, form: str | None) -> None:
    """Seeds, version, mean returns, successes and steps of the scale are those of the runs, of every policy."""
    scale = reference(environment, difficulty, form)
    found = kept_runs.read_all(environment, difficulty, observation=form)
    assert set(found) == set(scale.policies)
    for name, run in found.items():
        kept, told = run.totals, scale.policies[name]
        assert run.seeds == scale.seeds
        assert (kept.mean(), told.version, told.cpu_s) == (pytest.approx(told.mean, abs=1e-12), run.version, run.cpu_s)
        assert (len(kept), np.mean([one.success for one in run.episodes])) == (told.episodes, told.success)


@pytest.mark.slow
@pytest.mark.parametrize(("environment", "difficulty", "form"), KEPT)
def test_kept_runs_are_replayed_and_scored_again(environment: str, difficulty: str, form: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two episodes of every policy are played again from their actions: the same return, cost and observations; all are scored again.

    In another form than the usual one, whose frames take seconds, it is one episode. Of the two seeds one may show other observations: on another
    kind of processor an expected image differs by its last bit, and where a draw lies that close one pixel of it counts an electron more or less.
    """
    found, told = kept_runs.read_all(environment, difficulty, observation=form), reference(environment, difficulty, form)
    monkeypatch.setattr(Autofocus, "prepare", lambda *_: None)  # it builds ten operators, and the episodes show two specimens
    others = set()
    for run in found.values():
        env = run.make()
        for kept in run.episodes[:: max(len(run.episodes) // (2 if form is None else 1), 1)]:
            again = kept_runs.replay(env, kept)
            if again.observations_sha256 != kept.observations_sha256:
                others.add(kept.seed)
            assert again.total == pytest.approx(kept.total, abs=1e-9)
            assert again.cost == pytest.approx(kept.cost)
            assert again.error == pytest.approx(kept.error, abs=1e-6)
    assert len(others) <= 1
    scored = scale_of(found)
    for name, policy in told.policies.items():
        for field in ("mean", "low", "high", "iqm", "iqm_low", "iqm_high"):
            assert getattr(scored.policies[name], field) == pytest.approx(getattr(policy, field), abs=5e-3), (name, field)
        for field in ("error", "error_low", "error_high"):
            before, now = getattr(policy, field), getattr(scored.policies[name], field)
            assert now is None if before is None else now == pytest.approx(before, rel=0.02, abs=1e-6), (name, field)
    for one, other in zip(scored.paired, told.paired, strict=True):
        assert (one.better, one.other) == (other.better, other.other)
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high), abs=5e-3)
