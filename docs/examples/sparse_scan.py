"""Scan a sparse scene with few electrons, beside a raster of the same dose and path time; leave a film of it.

Run: ``python docs/examples/sparse_scan.py``; it takes some seconds and writes sparse_scan.gif.
"""

import gymnasium as gym

import stemtwin  # noqa: F401 - registers the environments
from stemtwin.benchmarks import films
from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.returns import play

ID, TASK, DIFFICULTY = "stemtwin/SparseScan-v1", "sparse-scan", "standard"

if __name__ == "__main__":
    env = gym.make(ID, difficulty=DIFFICULTY, split="val", privileged_info=True)
    for name in ("raster", "expert"):
        played = play(env, find_baseline(TASK, name).factory(), seed=0, task=TASK)
        truth = env.get_wrapper_attr("truth")()
        print(f"{name}: return {played.total:.2f}, rms error {truth['error'] / truth['raster_error']:.2f} of the raster's, {played.steps} steps")
    films.film(ID, agent="expert", difficulty=DIFFICULTY, seed=0, output="sparse_scan.gif")
