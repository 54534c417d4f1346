"""Offline data: what is read is what was played, to the last bit; builds resume; nothing else is taken for a set."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks import minari_export, offline_data
from stemtwin.leaderboard.cli.main import main
from stemtwin.twin.errors import DatasetError, SettingsError, UnknownNameError

HYPOTHESIS, FOCUS = "stemtwin/HypothesisTest-v1", "stemtwin/Autofocus-v2"


def quiet(line: str) -> None:
    """Take a line."""
    del line


@pytest.fixture(autouse=True, scope="module")
def small_files() -> Iterator[None]:
    """Put two episodes in a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline_data, "TOGETHER", 2)
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a set of five episodes of two policies."""
    folder = tmp_path_factory.mktemp("sets") / "hypothesis"
    offline_data.build(HYPOTHESIS, folder, policies=("blind", "random"), episodes=5, tell=quiet)
    return folder


def equal(space: gym.Space, seen: object, kept: dict[str, np.ndarray], row: int) -> bool:
    """Return whether an observation is the one that was kept."""
    return all(np.array_equal(np.asarray(seen[name] if name else seen), kept[name][row]) for name in offline_data.parts(space))  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize("environment", [HYPOTHESIS, pytest.param(FOCUS, marks=pytest.mark.slow)])
def test_played_again(environment: str, tmp_path: Path) -> None:
    """Actions that were kept, played again, give every array to the last bit, in the types of the spaces."""
    found = offline_data.build(environment, tmp_path / "set", policies=("random",), episodes=3, tell=quiet)
    episodes = offline_data.read_episodes(tmp_path / "set" / "random")
    assert [one.number for one in episodes] == [0, 1, 2]
    env = gym.make(environment, disable_env_checker=True, difficulty="easy", privileged_info=True)
    for one in episodes:
        observation, info = env.reset(seed=one.seed)
        assert equal(env.observation_space, observation, one.observations, 0)
        for step, action in enumerate(one.actions[""]):
            assert action in env.action_space
            observation, reward, terminated, truncated, info = env.step(action)
            assert equal(env.observation_space, observation, one.observations, step + 1)
            assert (reward, terminated, truncated) == (one.rewards[step], one.terminated[step], one.truncated[step])
        assert terminated or truncated
        assert info["is_success"] == one.infos["is_success"][-1]
        assert info["cost"] == {name.partition(".")[2]: values[-1] for name, values in one.infos.items() if "." in name}
        for name, part in offline_data.parts(env.observation_space).items():
            assert one.observations[name].dtype == part.dtype, name
    assert found["random"].mean == pytest.approx(np.mean([one.rewards.sum() for one in episodes]))


def test_loader_of_the_readme(built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line of the README loads the steps."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    steps = datasets.load_dataset(str(built), split="random", cache_dir=str(tmp_path)).with_format("numpy")
    episodes = offline_data.read_episodes(built / "random")
    assert len(steps) == sum(len(one.rewards) + 1 for one in episodes)
    assert np.array_equal(steps["observation.lost"][:], np.concatenate([one.observations["lost"] for one in episodes]))
    assert np.array_equal(np.asarray(steps["reward"])[~np.asarray(steps["is_last"])], np.concatenate([one.rewards for one in episodes]))
    assert 'split="blind"' in (built / "README.md").read_text()


def test_sums_are_those_of_the_files(built: Path) -> None:
    """``SHA256SUMS`` names every file."""
    lines = (built / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 6
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((built / name).read_bytes()).hexdigest() == digest


def test_build_goes_on_where_it_was(built: Path, tmp_path: Path) -> None:
    """Files that are whole are kept, the result is that of one build, and a set of other arguments is refused."""
    told: list[str] = []
    folder = tmp_path / "set"
    offline_data.build(HYPOTHESIS, folder, policies=("blind",), episodes=2, tell=told.append)
    assert not any("from an earlier build" in line for line in told)
    offline_data.build(HYPOTHESIS, folder, policies=("blind", "random"), episodes=5, tell=told.append)
    assert any("from an earlier build" in line for line in told)
    assert (folder / "SHA256SUMS").read_text() == (built / "SHA256SUMS").read_text()
    with pytest.raises(DatasetError, match="Name another folder"):
        offline_data.build(HYPOTHESIS, folder, policies=("blind",), difficulty="hard", episodes=2, tell=quiet)
    assert (folder / "SHA256SUMS").read_text() == (built / "SHA256SUMS").read_text()


def test_truth_is_not_in_it(built: Path) -> None:
    """Of the truth, the columns hold success alone."""
    names = offline_data.read_about(built / "blind" / "00000.parquet")["columns"]
    told = {name.removeprefix("info.") for name in names if name.startswith("info.")}
    env = gym.make(HYPOTHESIS, disable_env_checker=True, difficulty="easy")
    _, info = env.reset(seed=0)
    assert told == {"is_success", *(f"cost.{name}" for name in info["cost"])}


def test_wrong_names(tmp_path: Path) -> None:
    """Wrong names and numbers are refused before anything is written."""
    with pytest.raises(UnknownNameError, match="There are no episodes of"):
        offline_data.build("stemtwin/Microscope-v2", tmp_path / "a", tell=quiet)
    with pytest.raises(UnknownNameError, match="expert"):
        offline_data.build(HYPOTHESIS, tmp_path / "a", policies=("exprt",), tell=quiet)
    with pytest.raises(SettingsError, match="episodes"):
        offline_data.build(HYPOTHESIS, tmp_path / "a", episodes=0, tell=quiet)
    with pytest.raises(UnknownNameError, match="difficulty"):
        offline_data.build(HYPOTHESIS, tmp_path / "a", difficulty="simple", tell=quiet)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("content", [b"", b"no parquet"])
def test_foreign_files(content: bytes, tmp_path: Path) -> None:
    """A file that is no set is refused."""
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(DatasetError):
        offline_data.read_episodes(path)
    with pytest.raises(DatasetError, match="does not hold episodes"):
        offline_data.read_about(path)


def test_minari_without_episodes(tmp_path: Path) -> None:
    """A folder without episodes is refused."""
    with pytest.raises(DatasetError, match=r"Minari is not installed|holds no episodes"):
        minari_export.to_minari(tmp_path, "stemtwin/a/b-v0")


def test_parts_of_nested_spaces() -> None:
    """Parts are named by their path."""
    box, coin = gym.spaces.Box(0, 1, (2,)), gym.spaces.Discrete(2)
    assert list(offline_data.parts(gym.spaces.Dict({"a": gym.spaces.Tuple((box, coin)), "b": box}))) == ["a.0", "a.1", "b"]
    assert list(offline_data.parts(box)) == [""]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command tells where it is, and how to load what it wrote."""
    words = ["data", "episodes", HYPOTHESIS, "--policy", "no-op", "--episodes", "2", "--folder", str(tmp_path)]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "load_dataset" in told.out
    assert "2 of 2 episodes" in told.err
    assert (tmp_path / "HypothesisTest-v1-easy" / "no-op" / "00000.parquet").is_file()
    assert main([*words[:3], "--policy", "nobody", "--folder", str(tmp_path)]) == 1
