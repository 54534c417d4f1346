"""Scan a sparse scene with the expert of ``stemtwin/SparseScan-v1``, compare it with a raster of the same dose and path time, and film an episode."""

import sys
from pathlib import Path

import gymnasium as gym

from stemtwin.benchmarks.films import film, find_policy
from stemtwin.benchmarks.returns import play

ENVIRONMENT, DIFFICULTY = "stemtwin/SparseScan-v1", "standard"


def main(output: Path) -> None:
    """Play an episode with a raster and with the expert, then film that of the expert."""
    env = gym.make(ENVIRONMENT, difficulty=DIFFICULTY, split="val", privileged_info=True)
    for name in ("raster", "expert"):
        policy = find_policy(ENVIRONMENT, name)
        episode = play(env, policy.factory(), seed=65, task=policy.task)
        truth = env.get_wrapper_attr("truth")()
        ratio = truth["error"] / truth["raster_error"]
        print(f"{name}: error {ratio:.2f} times that of the raster after {episode.steps} steps, return {episode.total:.2f}")
    film(ENVIRONMENT, agent="expert", difficulty=DIFFICULTY, seed=65, output=output)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "sparse_scan.gif"))
