"""Lossless export of offline data to Minari."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from stemtwin.benchmarks import offline_data
from stemtwin.twin.errors import DatasetError


def check(dataset: str) -> None:
    """Raise DatasetError if an export is impossible, before episodes are recorded for it.

    Raises
    ------
    DatasetError
        Minari is not installed, or already has a dataset of this id.
    """
    try:
        import minari  # pyright: ignore[reportMissingImports] - only where it is asked for
    except ImportError:
        message = "Minari is not installed. Install it with: pip install 'minari[hdf5]'"
        raise DatasetError(message) from None
    if dataset in minari.list_local_datasets():
        message = f"The Minari dataset {dataset!r} exists already. Remove it with: minari delete {dataset}"
        raise DatasetError(message)


def to_minari(folder: Path, dataset: str, *, description: str = "") -> Any:
    """Write the episodes of one policy as a Minari dataset (HDF5) and return it.

    Minari stores images as JPEG by default; here every array is stored without loss.

    Parameters
    ----------
    folder : Path
        ``<set>/<policy>``, from :func:`offline_data.build`.
    dataset : str
        Minari's id, for example ``"stemtwin/autofocus-easy/expert-v0"``; the dataset is written below ``MINARI_DATASETS_PATH``.
    description : str
        Description in one sentence.

    Raises
    ------
    DatasetError
        The folder does not contain episodes, Minari is not installed, or Minari already has a dataset of this id.
    """
    check(dataset)
    import minari  # pyright: ignore[reportMissingImports] - checked
    from minari.data_collector import EpisodeBuffer  # pyright: ignore[reportMissingImports]

    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        message = f"{folder} holds no episodes. Name the folder of one policy, as `stemtwin data episodes` wrote it."
        raise DatasetError(message)
    about = offline_data.read_about(paths[0])
    env = gym.make(EnvSpec.from_json(about["environment"]))
    buffers = [
        EpisodeBuffer(
            seed=one.seed,
            observations=_nested(env.observation_space, one.observations),
            actions=_nested(env.action_space, one.actions),
            rewards=list(one.rewards),
            terminations=list(one.terminated),
            truncations=list(one.truncated),
            infos=_infos(one.infos),
        )
        for one in offline_data.read_episodes(paths)
    ]
    made = minari.create_dataset_from_buffers(
        dataset,
        buffers,
        env=env,
        algorithm_name=about["policy"],
        description=description or f"Episodes of the policy {about['policy']!r} of stemtwin {about['version']}.",
        requirements=[f"stemtwin>={about['version']}"],
        data_format="hdf5",
        jpeg_encoding=False,
    )
    env.close()
    return made


def _nested(space: gym.Space, values: Mapping[str, np.ndarray], name: str = "") -> Any:
    """Return arrays by name in the form of a space."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _nested(part, values, f"{name}.{key}" if name else key) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_nested(part, values, f"{name}.{i}" if name else str(i)) for i, part in enumerate(space.spaces))
    return values[name]


def _infos(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return infos with the costs below one name, as the environment gives them."""
    costs = {name.partition(".")[2]: array for name, array in values.items() if "." in name}
    return {**{name: array for name, array in values.items() if "." not in name}, "cost": costs}
