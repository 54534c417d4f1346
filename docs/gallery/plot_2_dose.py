"""
One field at four doses
=======================

The same monolayer of MoS2 with a sulphur vacancy, counted with 100 to 100,000 electrons per square angstrom.
"""

import matplotlib.pyplot as plt
import numpy as np

import stemtwin as st

sample = st.load_sample("mos2-1h", size_angstrom=(18, 18), seed=3, vacancy_fraction=0.05)
side = 16.0
scan = st.RasterScan(shape=(96, 96), field_of_view_angstrom=(side, side))
signals = st.simulate(sample, st.Beam(energy_ev=80e3, semiangle_mrad=25), scan, detectors=("haadf",), phonons=4)

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for axis, dose in zip(axes, (1e2, 1e3, 1e4, 1e5), strict=True):
    electrons = dose * side**2 / signals.haadf.size
    axis.imshow(np.random.default_rng(1).poisson(signals.haadf.values * electrons), cmap="gray", origin="lower", extent=(0, side, 0, side))
    axis.set(title=f"{dose:,.0f} e-/A^2", xlabel="x (A)")
