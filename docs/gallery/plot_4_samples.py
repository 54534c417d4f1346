"""
Samples of the library
======================

Six samples along the beam direction. Every dot is an atom; the colour gives the atomic number.
"""

import matplotlib.pyplot as plt

import stemtwin as st

names = ("graphene", "mos2-1h", "srtio3-001", "si-110", "au-001", "carbon-amorphous")

# %%
figure, axes = plt.subplots(2, 3, figsize=(10, 7), layout="constrained")
for axis, name in zip(axes.flat, names, strict=True):
    sample = st.load_sample(name, size_angstrom=(16, 16), thickness_angstrom=8)
    x, y, z = sample.positions_angstrom.T
    axis.scatter(x, y, c=sample.numbers, s=14, cmap="viridis", vmin=1, vmax=80)
    axis.set(title=f"{name}: {sample.formula}", aspect="equal", xlabel="x (A)", ylabel="y (A)")
