"""
Expected signals and a counted frame
====================================

The expected HAADF and ABF signals of strontium titanate, and a frame with Poisson noise at 2,000 electrons per square angstrom.
"""

import matplotlib.pyplot as plt
import numpy as np

import stemtwin as st

sample = st.load_sample("srtio3-001", size_angstrom=(8, 8), thickness_angstrom=40)
scan = st.RasterScan(shape=(96, 96), field_of_view_angstrom=(12, 12))
beam = st.Beam(energy_ev=200e3, semiangle_mrad=20)
signals = st.simulate(sample, beam, scan, detectors=("haadf", "abf"), phonons=4)

dose = 2000.0
electrons = dose * 12 * 12 / 96**2
counted = np.random.default_rng(1).poisson(signals.haadf.values * electrons)

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for axis, image, title in zip(axes, (signals.haadf, signals.abf, counted), ("HAADF, expected", "ABF, expected", "HAADF, counted"), strict=True):
    axis.imshow(image, cmap="gray", origin="lower", extent=(0, 12, 0, 12))
    axis.set(title=title, xlabel="x (A)", ylabel="y (A)")
