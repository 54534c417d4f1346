"""Move a silicon atom through graphene with the expert of ``stemtwin/AtomForge-v1``, and film an episode."""

import sys
from pathlib import Path

import gymnasium as gym

import stemtwin as st
from stemtwin.benchmarks.films import film, find_policy
from stemtwin.benchmarks.returns import play

ENVIRONMENT, DIFFICULTY = "stemtwin/AtomForge-v1", "standard"


def main(output: Path) -> None:
    """Play ten episodes with the expert, then film another one."""
    env = gym.make(ENVIRONMENT, difficulty=DIFFICULTY, split="val", privileged_info=True)
    policy = find_policy(ENVIRONMENT, "expert")
    agent = policy.factory()
    for seed in range(10):
        episode = play(env, agent, seed=seed, task=policy.task)
        score = st.normalized_return(ENVIRONMENT, episode.total, DIFFICULTY)
        end = "at its target" if episode.success else "not at its target"
        sys.stdout.write(f"seed {seed}: Si is {end} after {episode.steps} steps, return {episode.total:.2f}, score {score:.2f}\n")
    film(ENVIRONMENT, agent="expert", difficulty=DIFFICULTY, seed=10, output=output)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "atom_forge.gif"))
