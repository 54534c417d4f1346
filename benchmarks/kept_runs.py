"""Stored runs of policies, from which the scales of returns are computed.

Each run is a Parquet file with the seeds, actions, costs, returns and hashes of observations of the episodes.

``benchmarks/runs/<environment>/<difficulty>/<policy>.parquet`` has one row for each episode. Runs with another form of observation than the usual
one are in a subfolder ``<form>`` beside that file. The scales of ``twin/envs/scales`` and the tables of the documents are computed from these files.
:func:`replay` plays an episode again from its actions.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from stemtwin import __version__
from stemtwin.benchmarks.episodes import add_to_digest
from stemtwin.datasets import storage
from stemtwin.twin.envs.functional_env import checked_action
from stemtwin.twin.errors import DatasetError

RUNS = Path(__file__).parent / "runs"
UNFINISHED = ".unfinished.parquet"
"""Ending of runs whose scale is not complete yet."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KeptEpisode:
    """One episode of a policy.

    Parameters
    ----------
    seed : int
        Seed of ``reset``.
    total : float
        Sum of the rewards.
    success : bool
        Whether the episode ended in a success.
    actions : ndarray
        Actions as vectors (``gymnasium.spaces.flatten``), shape (steps, n), float32 or float64.
    cost : dict of float
        Costs at the end.
    observations_sha256 : str
        Hash of all observations in their order, the first included.
    scene : int, optional
        Number of the scene in a split with few scenes, where episodes with the same scene are alike; None in other splits.
    error : float, optional
        Distance from the goal at the end, if the family defines one; see :class:`stemtwin.twin.envs.goal_family.FinalError`.
    """

    seed: int
    total: float
    success: bool
    actions: np.ndarray
    cost: dict[str, float]
    observations_sha256: str
    scene: int | None = None
    error: float | None = None

    @property
    def steps(self) -> int:
        """Number of actions."""
        return len(self.actions)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KeptRun:
    """Episodes of one policy on one preset.

    Parameters
    ----------
    environment, difficulty, policy : str
        Id of the environment, preset, name of the policy.
    arguments : dict
        Arguments of ``gymnasium.make`` besides the difficulty.
    version : str
        Version of stemtwin with which the episodes were played.
    cpu_s : float
        Mean processor time of an episode, s.
    episodes : tuple of KeptEpisode
        In the order of the seeds.
    """

    environment: str
    difficulty: str
    policy: str
    arguments: dict[str, Any]
    cpu_s: float
    episodes: tuple[KeptEpisode, ...]
    version: str = __version__

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the episodes."""
        return tuple(one.seed for one in self.episodes)

    @property
    def scenes(self) -> np.ndarray | None:
        """Numbers of the episodes' scenes, int; None if the episodes have no scenes."""
        return None if self.episodes[0].scene is None else np.array([one.scene for one in self.episodes])

    @property
    def totals(self) -> np.ndarray:
        """Returns of the episodes, float64."""
        return np.array([one.total for one in self.episodes])

    @property
    def observation(self) -> str | None:
        """Form of observation; None for the environment's usual form."""
        return self.arguments.get("observation")

    def make(self) -> gym.Env:
        """Make the environment in which the episodes were played, with ``privileged_info=True``."""
        arguments = {**self.arguments, "difficulty": self.difficulty, "privileged_info": True}
        return gym.make(self.environment, disable_env_checker=True, **arguments)


class EpisodeRecorder:
    """Recorder of episodes, which implements ``returns.Watcher``.

    Each call of ``begin`` starts a new recording.

    Parameters
    ----------
    space : gymnasium.Space
        Space of the actions.
    error : str
        Key of the distance from the goal in ``info["truth"]``; the value at the end of the episode is stored. If the key is "", none is stored.
    """

    def __init__(self, space: gym.Space, error: str = "") -> None:
        self.space, self.error = space, error

    @classmethod
    def of(cls, environment: gym.Env) -> "EpisodeRecorder":
        """Return a recorder for an environment that was made with ``privileged_info=True``."""
        told = getattr(environment.get_wrapper_attr("task"), "FINAL_ERROR", None)
        return cls(environment.action_space, told.entry if told else "")

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Record the result of ``reset``."""
        self.digest, self.actions, self.total, self.info = hashlib.sha256(), [], 0.0, info
        add_to_digest(self.digest, observation)

    def add(self, action: Any, result: tuple[Any, Any, bool, bool, Mapping[str, Any]]) -> None:
        """Record an action and the result of ``step``."""
        observation, reward, _, _, self.info = result
        add_to_digest(self.digest, observation)
        self.actions.append(np.array(gym.spaces.flatten(self.space, checked_action(self.space, action))))
        self.total += float(reward)

    def episode(self, seed: int) -> KeptEpisode:
        """Return the recorded episode, which began with ``reset(seed=seed)``."""
        truth = self.info.get("truth", {})
        return KeptEpisode(
            seed=seed,
            total=self.total,
            success=bool(self.info["is_success"]),
            actions=np.array(self.actions),
            cost={name: float(value) for name, value in self.info["cost"].items()},
            observations_sha256=self.digest.hexdigest(),
            scene=None if (scene := truth.get("scene_number")) is None else int(scene),
            error=float(truth[self.error]) if self.error else None,
        )


def run_path(environment: str, difficulty: str, policy: str, folder: Path = RUNS, observation: str | None = None) -> Path:
    """Return the path of a stored run."""
    return folder / environment.partition("/")[2] / difficulty / (observation or "") / f"{policy}.parquet"


def save(run: KeptRun, path: Path) -> None:
    """Write a run as a Parquet file."""
    import pyarrow as pa

    kind = pa.float32() if all(one.actions.dtype == np.float32 for one in run.episodes) else pa.float64()
    episodes = run.episodes
    columns = {
        "seed": pa.array([one.seed for one in episodes], pa.int64()),
        "return": pa.array([one.total for one in episodes], pa.float64()),
        "success": pa.array([one.success for one in episodes], pa.bool_()),
        "steps": pa.array([one.steps for one in episodes], pa.int32()),
        "actions": pa.array([one.actions.ravel() for one in episodes], pa.list_(kind)),
        "observations_sha256": pa.array([bytes.fromhex(one.observations_sha256) for one in episodes], pa.binary(32)),
        **({"scene": pa.array([one.scene for one in episodes], pa.int32())} if episodes[0].scene is not None else {}),
        **({"error": pa.array([one.error for one in episodes], pa.float64())} if episodes[0].error is not None else {}),
        **{f"cost.{name}": pa.array([one.cost[name] for one in episodes], pa.float64()) for name in episodes[0].cost},
    }
    names = ("environment", "difficulty", "policy", "arguments", "version", "cpu_s")
    about = {name: getattr(run, name) for name in names}
    table = pa.table(columns).replace_schema_metadata({b"stemtwin": json.dumps(about, sort_keys=True).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    # numbers hardly repeat, but their bytes of equal significance are similar: streams of bytes save a third
    storage.write_parquet(table, path, compression_level=19, use_dictionary=False, use_byte_stream_split=["actions.list.element"])


def read(path: Path) -> KeptRun:
    """Read a stored run, which equals the played run to the last bit.

    Raises
    ------
    DatasetError
        The file is not a stored run.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        message = f"{path} cannot be read as Parquet: {str(error).splitlines()[0]} Play the baselines again with 'make baselines'."
        raise DatasetError(message) from error
    told = (table.schema.metadata or {}).get(b"stemtwin")
    if told is None or "actions" not in table.column_names:
        message = f"{path} holds no run of a policy. Give a file that `python -m stemtwin.benchmarks.returns` wrote."
        raise DatasetError(message)
    columns: dict[str, Any] = {name: table[name].to_pylist() for name in table.column_names if name != "actions"}
    flat = [np.asarray(one.values.to_numpy(zero_copy_only=False)) for one in table["actions"]]
    costs = [name for name in columns if name.startswith("cost.")]
    episodes = tuple(
        KeptEpisode(
            seed=columns["seed"][i],
            total=columns["return"][i],
            success=columns["success"][i],
            actions=flat[i].reshape(columns["steps"][i], -1),
            cost={name.removeprefix("cost."): columns[name][i] for name in costs},
            observations_sha256=columns["observations_sha256"][i].hex(),
            scene=columns["scene"][i] if "scene" in columns else None,
            error=columns["error"][i] if "error" in columns else None,
        )
        for i in range(len(table))
    )
    return KeptRun(**json.loads(told), episodes=episodes)


def read_all(environment: str, difficulty: str, folder: Path = RUNS, observation: str | None = None) -> dict[str, KeptRun]:
    """Return the stored runs of a preset by the name of the policy; empty if no run is complete."""
    return {path.stem: read(path) for path in kept_paths(environment, difficulty, folder, observation)}


def kept_paths(environment: str, difficulty: str, folder: Path = RUNS, observation: str | None = None) -> list[Path]:
    """Return the paths of the complete stored runs of a preset."""
    inside = run_path(environment, difficulty, "*", folder, observation).parent.glob("*.parquet")
    return sorted(path for path in inside if not path.name.endswith(UNFINISHED))


def presets(environment: str, folder: Path = RUNS) -> list[str]:
    """Return the presets of an environment that have complete stored runs."""
    inside = sorted(path.name for path in run_path(environment, "*", "*", folder).parents[1].glob("*"))
    return [name for name in inside if kept_paths(environment, name, folder)]


def replay(environment: gym.Env, kept: KeptEpisode) -> KeptEpisode:
    """Play a stored episode again from its actions, in the environment from ``KeptRun.make``, and return the new episode."""
    recorder = EpisodeRecorder.of(environment)
    recorder.begin(*environment.reset(seed=kept.seed))
    for flat in kept.actions:
        action = gym.spaces.unflatten(environment.action_space, flat)
        recorder.add(action, environment.step(action))
    return recorder.episode(kept.seed)


def same(one: KeptEpisode, other: KeptEpisode) -> bool:
    """Return True if two episodes agree in all stored values."""
    return (one.seed, one.scene, one.error, one.total, one.success, one.cost, one.observations_sha256) == (
        other.seed,
        other.scene,
        other.error,
        other.total,
        other.success,
        other.cost,
        other.observations_sha256,
    ) and np.array_equal(one.actions, other.actions)


def finish(runs: Iterable[KeptRun], folder: Path = RUNS) -> None:
    """Rename the unfinished files of the given runs to their final names; older runs of the same policies are replaced."""
    for run in runs:
        path = run_path(run.environment, run.difficulty, run.policy, folder, run.observation)
        path.with_suffix(UNFINISHED).replace(path)
