"""
Ronchigrams and aberrations
===========================

The far field of a probe on amorphous carbon: corrected, and with defocus, coma and threefold astigmatism in turn.
"""

import matplotlib.pyplot as plt
import numpy as np

import stemtwin as st

film = st.load_sample("carbon-amorphous", size_angstrom=(80, 80), thickness_angstrom=20, seed=1)
states = {
    "C10 = 300 A": st.Aberrations(C10=300.0),
    "C10 = 1000 A": st.Aberrations(C10=1000.0),
    "C10 = 300 A, C21 = 3000 A": st.Aberrations(C10=300.0, C21=3000.0),
    "C10 = 300 A, C23 = 3000 A": st.Aberrations(C10=300.0, C23=3000.0),
}

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for axis, (title, aberrations) in zip(axes, states.items(), strict=True):
    pattern = st.ronchigram(film, st.Beam(energy_ev=200e3, semiangle_mrad=30, aberrations=aberrations), check=False)
    low, high = np.percentile(pattern.ronchigram, (20, 99.5))
    axis.imshow(pattern.ronchigram, cmap="gray", origin="lower", vmin=low, vmax=high)
    axis.set(title=title, xticks=[], yticks=[])
