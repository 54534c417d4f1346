"""Minari reads the episodes that were exported to it, bit for bit: run by ``make foreign``."""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from stemtwin.benchmarks import minari_export, offline_data, returns


def quiet(line: str) -> None:
    """Take a line of progress."""
    del line


def main() -> None:
    """Record a few episodes of each environment with a goal, export them, and compare every array."""
    import minari  # pyright: ignore[reportMissingImports] - not ours

    for environment in returns.environments():
        with tempfile.TemporaryDirectory() as name:
            os.environ["MINARI_DATASETS_PATH"] = str(Path(name) / "minari")
            folder = Path(name) / "set"
            offline_data.build(environment, folder, policies=("random",), episodes=4, tell=quiet)
            kept = offline_data.read_episodes(folder / "random")
            minari_export.to_minari(folder / "random", "stemtwin/tried/random-v0")
            dataset = minari.load_dataset("stemtwin/tried/random-v0")
            env = dataset.recover_environment()
            assert env.observation_space == dataset.observation_space
            for theirs, ours in zip(dataset.iterate_episodes(), kept, strict=True):
                pairs = [(theirs.actions, ours.actions[""]), (theirs.rewards, ours.rewards)]
                pairs += [(theirs.terminations, ours.terminated), (theirs.truncations, ours.truncated)]
                pairs += [(theirs.observations[part], values) for part, values in ours.observations.items()]
                pairs += [(theirs.infos["cost"]["dose_e_per_angstrom2"], ours.infos["cost.dose_e_per_angstrom2"])]
                for there, here in pairs:
                    assert there.dtype == here.dtype, environment
                    assert np.array_equal(there, here), environment
            sys.stdout.write(f"Minari {minari.__version__}: {environment}: {len(kept)} episodes, {dataset.total_steps} steps, all bits equal\n")


if __name__ == "__main__":
    main()
