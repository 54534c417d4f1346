"""Find the best positions of a scene with the expert of ``stemtwin/SpectrumDiscovery-v1``, and film an episode."""

import sys
from pathlib import Path

import gymnasium as gym

import stemtwin as st
from stemtwin.benchmarks.films import film, find_policy
from stemtwin.benchmarks.returns import play

ENVIRONMENT, DIFFICULTY = "stemtwin/SpectrumDiscovery-v1", "standard"


def main(output: Path) -> None:
    """Play three episodes with the expert, then film another one."""
    env = gym.make(ENVIRONMENT, difficulty=DIFFICULTY, split="val", privileged_info=True)
    policy = find_policy(ENVIRONMENT, "expert")
    agent = policy.factory()
    for seed in range(3):
        episode = play(env, agent, seed=seed, task=policy.task)
        score = st.normalized_return(ENVIRONMENT, episode.total, DIFFICULTY)
        recall = env.get_wrapper_attr("truth")()["recall"]
        print(f"seed {seed}: {episode.steps - 1} spectra, {recall:.0%} of the best positions, return {episode.total:.2f}, score {score:.2f}")
    film(ENVIRONMENT, agent="expert", difficulty=DIFFICULTY, seed=3, output=output)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "spectrum_discovery.gif"))
