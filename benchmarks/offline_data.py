"""Episodes of policies as data for offline learning: Parquet files of steps that ``datasets.load_dataset`` reads.

The folder of a dataset contains ``<policy>/<number>.parquet``, a ``README.md`` with the code that loads these files, and ``SHA256SUMS``. A row is a
step: the observation and, except in the last row of an episode, the action that followed, its reward, and whether the episode ended.
"""

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from stemtwin import __version__
from stemtwin.benchmarks import returns
from stemtwin.benchmarks.agents import Baseline
from stemtwin.benchmarks.episodes import copied
from stemtwin.benchmarks.return_statistics import summary
from stemtwin.datasets import storage
from stemtwin.twin import checks, files
from stemtwin.twin.envs.functional_env import checked_action
from stemtwin.twin.envs.reference import PolicyReturn
from stemtwin.twin.errors import DatasetError, UnknownNameError, suggestion

if TYPE_CHECKING:
    import datasets as hf
    import pyarrow as pa

POLICIES = ("expert", "random")
EPISODES, TOGETHER = 200, 50
"""Numbers of episodes of each policy, and of episodes in one file."""
MOST_EPISODES = 1_000_000
QUIET_S = 10.0
"""Largest time between two reports of progress, s."""
STEPS = {"episode": "int64", "seed": "int64", "step": "int64", "is_last": "bool", "reward": "float64", "terminated": "bool", "truncated": "bool"}
"""Columns of every set, besides ``observation``, ``action`` and ``info``, with their types."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OfflineEpisode:
    """One complete episode of n actions.

    Parameters
    ----------
    number : int
        Number of the episode in the dataset.
    seed : int
        Seed of ``reset``.
    observations : dict of ndarray
        One array of n + 1 rows for each part of the observation space, by the part's name; the name is ``""`` if the space has no parts.
    actions : dict of ndarray
        One array of n rows for each part of the action space, named in the same way.
    rewards, terminated, truncated : ndarray
        (n,) as ``step`` gave them.
    infos : dict of ndarray
        Arrays of n + 1 numbers by name: ``is_success`` and the costs.
    """

    number: int
    seed: int
    observations: dict[str, np.ndarray]
    actions: dict[str, np.ndarray]
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    infos: dict[str, np.ndarray]


class EpisodeKeeper:
    """Recorder of one episode, a ``returns.Watcher``.

    Parameters
    ----------
    space : gymnasium.Space
        Space of the actions.
    """

    def __init__(self, space: gym.Space) -> None:
        self.space = space

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Record the result of ``reset``."""
        self.seen, self.done, self.told, self.ends = [copied(observation)], [], [numbers(info)], []

    def add(self, action: Any, result: tuple[Any, Any, bool, bool, Mapping[str, Any]]) -> None:
        """Record an action and the result of ``step``."""
        observation, reward, terminated, truncated, info = result
        self.seen.append(copied(observation))
        self.done.append(copied(checked_action(self.space, action)))
        self.told.append(numbers(info))
        self.ends.append((float(reward), bool(terminated), bool(truncated)))

    def episode(self, number: int, seed: int, space: gym.Space) -> OfflineEpisode:
        """Return the recorded episode; ``space`` is the space of the observations."""
        rewards, terminated, truncated = (np.array(column) for column in zip(*self.ends, strict=True))
        return OfflineEpisode(
            number=number,
            seed=seed,
            observations=_stacked(space, self.seen),
            actions=_stacked(self.space, self.done),
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            infos={name: np.array([told[name] for told in self.told]) for name in self.told[0]},
        )


def numbers(info: Mapping[str, Any]) -> dict[str, float | bool]:
    """Return the success and the costs from the ``info`` of an environment with ``privileged_info``, without any other truth."""
    return {"is_success": bool(info["is_success"]), **{f"cost.{name}": float(value) for name, value in info["cost"].items()}}


def parts(space: gym.Space, name: str = "") -> dict[str, gym.Space]:
    """Return the elementary spaces within a space by name.

    Dots join the keys of nested ``Dict`` and ``Tuple`` spaces. A space of any other kind has one part, namely itself, with the name ``""``.
    """
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        named = space.spaces.items() if isinstance(space, gym.spaces.Dict) else enumerate(space.spaces)
        inner = (parts(part, f"{name}.{key}" if name else str(key)) for key, part in named)
        return {key: part for found in inner for key, part in found.items()}
    return {name: space}


def _stacked(space: gym.Space, values: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return values of a space as one array for each part."""

    def picked(value: Any, name: str) -> Any:
        for key in name.split(".") if name else ():
            value = value[int(key)] if isinstance(value, tuple) else value[key]
        return value

    return {name: np.array([picked(value, name) for value in values], dtype=part.dtype) for name, part in parts(space).items()}


def columns(environment: gym.Env) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the data type and the shape of each column of an environment's episodes, in order."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {name: (kind, ()) for name, kind in STEPS.items()}
    for prefix, space in (("observation", environment.observation_space), ("action", environment.action_space)):
        for name, part in parts(space).items():
            if part.shape is None or part.dtype is None:
                message = f"{prefix} {name!r} is a {part}, whose values have no fixed size. Use Box, Discrete, MultiDiscrete or MultiBinary."
                raise DatasetError(message)
            found[f"{prefix}.{name}" if name else prefix] = str(np.dtype(part.dtype)), part.shape
    told = numbers(environment.reset(seed=0)[1])
    return found | {f"info.{name}": ("bool" if isinstance(value, bool) else "float64", ()) for name, value in told.items()}


def features(kinds: Mapping[str, tuple[str, tuple[int, ...]]]) -> "hf.Features":
    """Return the Hugging Face features of columns."""
    import datasets as hf

    arrays = {2: hf.Array2D, 3: hf.Array3D, 4: hf.Array4D, 5: hf.Array5D}

    def feature(kind: str, shape: tuple[int, ...]) -> Any:
        if len(shape) > 1:
            return arrays[len(shape)](shape, kind)
        return hf.List(hf.Value(kind), length=shape[0]) if shape else hf.Value(kind)

    return hf.Features({name: feature(*kind) for name, kind in kinds.items()})


def rows_of(episode: OfflineEpisode) -> dict[str, np.ndarray]:
    """Return an episode of n actions as columns of n + 1 rows; action, reward, ``terminated`` and ``truncated`` of the last row are zeros."""
    n = len(episode.rewards)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros((1, *values.shape[1:]), values.dtype)])

    named = {f"observation.{name}" if name else "observation": values for name, values in episode.observations.items()}
    named |= {f"action.{name}" if name else "action": padded(values) for name, values in episode.actions.items()}
    return {
        "episode": np.full(n + 1, episode.number),
        "seed": np.full(n + 1, episode.seed),
        "step": np.arange(n + 1),
        "is_last": np.arange(n + 1) == n,
        "reward": padded(episode.rewards),
        "terminated": padded(episode.terminated),
        "truncated": padded(episode.truncated),
        **named,
        **{f"info.{name}": values for name, values in episode.infos.items()},
    }


def table_of(episodes: Sequence[OfflineEpisode], kinds: Mapping[str, tuple[str, tuple[int, ...]]], about: Mapping[str, Any]) -> "pa.Table":
    """Return episodes as an Arrow table with Hugging Face features; its schema stores ``about`` as JSON under the key ``stemtwin``."""
    import datasets as hf

    all_rows = [rows_of(one) for one in episodes]
    joined = {name: list(np.concatenate([rows[name] for rows in all_rows])) for name in kinds}
    table = hf.Dataset.from_dict(joined, features=features(kinds)).data.table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"stemtwin": json.dumps(about, sort_keys=True).encode()})


def read_about(path: Path) -> dict[str, Any]:
    """Return the description that a file stores: environment (a Gymnasium spec as JSON), policy, version and columns.

    Raises
    ------
    DatasetError
        The file is not part of a dataset of episodes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        told = (pq.read_schema(path).metadata or {}).get(b"stemtwin", b"{}")
        about = json.loads(told)
        return {**about, "columns": {name: (kind, tuple(shape)) for name, (kind, shape) in about["columns"].items()}}
    except (OSError, pa.ArrowException, ValueError, KeyError, AttributeError):
        message = f"{path} does not hold episodes. Give a file or folder that `stemtwin data episodes` wrote."
        raise DatasetError(message) from None


def read_episodes(paths: str | Path | Sequence[Path]) -> list[OfflineEpisode]:
    """Return the episodes of Parquet files, or of all files in a folder, equal to the recorded ones to the last bit.

    Raises
    ------
    DatasetError
        A file cannot be read, or does not contain episodes.
    """
    if isinstance(paths, str | Path):
        paths = Path(paths)
        paths = sorted(paths.glob("*.parquet")) if paths.is_dir() else [paths]
    found = []
    for path in paths:
        table = storage.read_parquet([path])
        found += _episodes({name: _values(table[name], *kind) for name, kind in read_about(path)["columns"].items()})
    return found


def _values(column: "pa.ChunkedArray", kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a column as an array."""
    values = column.combine_chunks()
    if len(shape) > 1:  # an array of Hugging Face, an extension type
        values = values.storage
    for _ in shape:
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False).reshape(-1, *shape).astype(kind)


def _episodes(rows: Mapping[str, np.ndarray]) -> Iterator[OfflineEpisode]:
    """Yield the episodes in columns of rows."""

    def inner(prefix: str, part: slice) -> dict[str, np.ndarray]:
        return {name.partition(".")[2]: values[part] for name, values in rows.items() if name.partition(".")[0] == prefix}

    begin = 0
    for last in np.flatnonzero(rows["is_last"]):
        steps, states = slice(begin, last), slice(begin, last + 1)
        yield OfflineEpisode(
            number=int(rows["episode"][begin]),
            seed=int(rows["seed"][begin]),
            observations=inner("observation", states),
            actions=inner("action", steps),
            rewards=rows["reward"][steps],
            terminated=rows["terminated"][steps],
            truncated=rows["truncated"][steps],
            infos=inner("info", states),
        )
        begin = last + 1


def build(
    environment: str,
    folder: Path,
    *,
    difficulty: str = "easy",
    policies: Sequence[str] = POLICIES,
    episodes: int = EPISODES,
    tell: Callable[[str], None],
) -> dict[str, PolicyReturn]:
    """Play episodes of policies on the training split and write them; an interrupted build is resumed.

    Parameters
    ----------
    environment : str
        Id of an environment with a goal.
    folder : Path
        Folder of the dataset. A missing folder is created. An existing one contains the beginning of the same dataset, which is continued.
    difficulty : str
        Preset of the family.
    policies : sequence of str
        Names of baselines of the environment.
    episodes : int
        Number of episodes of each policy; their seeds count up from 0.
    tell : callable
        Called with lines of progress.

    Returns
    -------
    dict
        Statistics of the returns by policy.

    Raises
    ------
    StemtwinError
        A name is unknown, a number is out of range, or the folder contains other data.
    """
    known = returns.environments()
    if environment not in known:
        message = f"There are no episodes of {environment!r}: {suggestion(environment, known)}"
        raise UnknownNameError(message)
    wrong = next((name for name in policies if name not in known[environment]), None)
    if wrong is not None:
        message = f"There is no policy {wrong!r} for {environment}. {suggestion(wrong, known[environment])}"
        raise UnknownNameError(message)
    checks.whole("episodes", episodes, low=1, high=MOST_EPISODES)
    files.check_writable(folder, folder=True)
    env = gym.make(environment, disable_env_checker=True, difficulty=difficulty, privileged_info=True)
    kinds = columns(env)
    found = {}
    for name in policies:
        played = _build_policy(env, known[environment][name], folder / name, kinds, episodes, tell)
        found[name] = summary(played)
    spec = _spec(env)
    env.close()
    files.write_atomically(folder / "README.md", _readme(environment, difficulty, found, kinds, spec).encode())
    files.write_atomically(folder / "SHA256SUMS", _sums(folder).encode())
    return found


def _spec(env: gym.Env) -> str:
    assert env.spec is not None
    return env.spec.to_json()


def _build_policy(
    env: gym.Env, policy: Baseline, folder: Path, kinds: Mapping[str, Any], episodes: int, tell: Callable[[str], None]
) -> list[returns.PlayedEpisode]:
    """Play the episodes of one policy that the folder lacks, and return all."""
    about = {"environment": _spec(env), "policy": policy.name, "version": __version__, "columns": kinds}
    agent, played = policy.factory(), []
    pace = _Pace(policy.name, episodes, tell)
    for first in range(0, episodes, TOGETHER):
        path = folder / f"{first // TOGETHER:05d}.parquet"
        seeds = range(first, min(first + TOGETHER, episodes))
        kept = _kept(path, about, seeds)
        if kept is None:
            kept = []
            for seed in seeds:
                recorder = EpisodeKeeper(env.action_space)
                returns.play(env, agent, seed=seed, task=policy.task, oracle=policy.oracle, watcher=recorder)
                kept.append(recorder.episode(seed, seed, env.observation_space))
                pace.one()
            storage.write_parquet(table_of(kept, kinds, about), path)
        else:
            pace.skip(len(kept))
        played += [returns.PlayedEpisode(total=float(e.rewards.sum()), steps=len(e.rewards), success=bool(e.infos["is_success"][-1])) for e in kept]
    return played


def _kept(path: Path, about: Mapping[str, Any], seeds: range) -> list[OfflineEpisode] | None:
    """Return the episodes of a file that an earlier build wrote, or None where it has to be written.

    Raises
    ------
    DatasetError
        The file was written with other arguments.
    """
    if not path.exists():
        return None
    found = read_about(path)
    wrong = next((name for name in ("environment", "policy", "version") if found.get(name) != about[name]), None)
    if wrong is not None:
        message = f"{path} holds episodes with {wrong}={found.get(wrong)!r}, not {about[wrong]!r}. Name another folder, or remove this one."
        raise DatasetError(message)
    episodes = read_episodes(path)
    return episodes if [one.seed for one in episodes] == list(seeds) else None


@dataclasses.dataclass(slots=True)
class _Pace:
    """Progress of the episodes of one policy."""

    name: str
    total: int
    tell: Callable[[str], None]
    done: int = 0
    played: int = 0
    began: float = dataclasses.field(default_factory=time.monotonic)
    told: float = -math.inf

    def one(self) -> None:
        """Count an episode; report the remaining time after the first one and at intervals."""
        self.done, self.played = self.done + 1, self.played + 1
        now = time.monotonic()
        if now - self.told >= QUIET_S or self.done == self.total:
            left = (now - self.began) / self.played * (self.total - self.done)
            self.tell(f"{self.name}: {self.done} of {self.total} episodes" + (f", about {left:.0f} s left" if left else ""))
            self.told = now

    def skip(self, count: int) -> None:
        """Count episodes of an earlier build."""
        self.done += count
        self.tell(f"{self.name}: {self.done} of {self.total} episodes, from an earlier build")


def _sums(folder: Path) -> str:
    """Return the lines of ``sha256sum`` for all Parquet files of a folder."""
    paths = sorted(folder.glob("*/*.parquet"))
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in paths)


def _readme(environment: str, difficulty: str, found: Mapping[str, PolicyReturn], kinds: Mapping[str, Any], spec: str) -> str:
    """Return the text of ``README.md``: front matter that Hugging Face reads, the loader, returns and columns."""
    head = ["---", "license: cc-by-4.0", "configs:", "- config_name: default", "  data_files:"]
    head += [f"  - split: {name.replace('-', '_')}\n    path: {name}/*.parquet" for name in found]
    lines = [f"| {name} | {one.episodes} | {one.mean:.3f} ({one.low:.3f} to {one.high:.3f}) | {one.success:.2f} |" for name, one in found.items()]
    listed = [f"| {name} | {kind}{list(shape) or ''} |" for name, (kind, shape) in kinds.items()]
    first = next(iter(found)).replace("-", "_")
    return f"""{chr(10).join(head)}
---
# Episodes of {environment}, {difficulty}

Written by stemtwin {__version__}: `stemtwin data episodes {environment} --difficulty {difficulty}`.
Seeds are those of `split="train"`; measure on `split="val"`.

```python
from datasets import load_dataset

steps = load_dataset("path/of/this/folder", split="{first}").with_format("numpy")
```

`stemtwin.benchmarks.offline_data.read_episodes(folder / "{next(iter(found))}")` gives whole episodes, bit for bit as they were recorded.

| policy | episodes | mean return | success |
|---|---|---|---|
{chr(10).join(lines)}

A row is a step: the observation and the action that followed, with its `reward`, `terminated` and `truncated`. The last row of an
episode (`is_last`) has only an observation; its other values are zeros.

| column | type |
|---|---|
{chr(10).join(listed)}

The environment, for `gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(text))`:

```json
{spec}
```
"""
