"""
An agent at work
================

Returns of twenty episodes of ``stemtwin/AtomForge-v1``, in which the expert moves a silicon atom through graphene.
"""

import gymnasium as gym
import matplotlib.pyplot as plt

import stemtwin as st
from stemtwin.benchmarks.films import find_policy
from stemtwin.benchmarks.returns import play

environment = "stemtwin/AtomForge-v1"
env = gym.make(environment, difficulty="easy", split="val", privileged_info=True)
policy = find_policy(environment, "expert")
agent = policy.factory()
episodes = [play(env, agent, seed=seed, task=policy.task) for seed in range(20)]
scores = [st.normalized_return(environment, episode.total, "easy") for episode in episodes]

# %%
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
colours = ["tab:green" if episode.success else "tab:red" for episode in episodes]
axis.bar(range(20), scores, color=colours)
axis.axhline(1.0, color="black", linewidth=0.8)
axis.set(xlabel="seed", xticks=range(20), ylabel="normalised return", title="Twenty episodes of the expert; green: the atom reached its target")
