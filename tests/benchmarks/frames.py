"""A small ``atoms-2d`` for the tests: Gaussian columns on square lattices with counting noise, in the dataset's own schema."""

import numpy as np
import xarray as xr

N, STEP = 64, 0.2  # px, A/px


def frame(rng, spacing, dose, species=(38, 22)):
    """Return (counts, x, y, heaviest, visible) of one frame: two sublattices, the second fainter, and invisible columns between them."""
    origin = rng.uniform(0, spacing, 2)
    field = (N - 1) * STEP
    grid = np.arange(-spacing, field + spacing, spacing)
    corners = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2) + origin
    sites = [(corners, species[0], 1.0, True), (corners + spacing / 2, species[1], 0.5, True), (corners + np.array([spacing / 2, 0]), 8, 0.02, False)]
    y, x = np.mgrid[:N, :N] * STEP
    signal, table = np.full((N, N), 0.05), []
    for points, number, height, visible in sites:
        for px, py in points:
            signal += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 0.4**2))
            if 0 <= px <= field and 0 <= py <= field:
                table.append((px, py, number, visible))
    px, py, number, visible = (np.array(part) for part in zip(*table, strict=True))
    return rng.poisson(signal * dose * STEP**2).astype(np.uint16), px, py, number, visible


def make(n=12, clusters=6, dose=2000.0, seed=0):
    """Return a dataset of n frames of a number of specimens."""
    rng = np.random.default_rng(seed)
    doses = np.full(n, float(dose)) if np.isscalar(dose) else np.asarray(dose, dtype=float)
    frames = [frame(rng, rng.uniform(3.6, 4.2), doses[i]) for i in range(n)]
    most = max(len(one[1]) for one in frames)

    def ragged(which, fill, dtype):
        out = np.full((n, most), fill, dtype=dtype)
        for i, one in enumerate(frames):
            out[i, : len(one[which])] = one[which]
        return ("sample", "column"), out

    labels = np.array([f"crystal-{i % clusters}/{i % clusters}" for i in range(n)])
    return xr.Dataset(
        {
            "sample_id": ("sample", np.array([f"atoms-2d/test/{i:06d}" for i in range(n)])),
            "image": (("sample", "y", "x"), np.stack([one[0] for one in frames])),
            "specimen": ("sample", labels),
            "material": ("sample", np.array([label.split("/")[0] for label in labels])),
            "instrument": ("sample", np.array(["ideal", "corrected-200kv"])[np.arange(n) % 2]),
            "n_columns": ("sample", np.array([len(one[1]) for one in frames])),
            "column_x_angstrom": ragged(1, np.nan, float),
            "column_y_angstrom": ragged(2, np.nan, float),
            "column_heaviest": ragged(3, -1, np.int64),
            "column_visible": ragged(4, False, bool),
            "sampling_angstrom": ("sample", np.full(n, STEP)),
            "energy_ev": ("sample", np.full(n, 200e3)),
            "semiangle_mrad": ("sample", np.full(n, 20.0)),
            "current_pa": ("sample", np.full(n, 50.0)),
            "dwell_time_us": ("sample", np.full(n, 4.0)),
            "dose_e_per_angstrom2": ("sample", doses),
            "thickness_angstrom": ("sample", rng.uniform(3, 30, n)),
            "C10_angstrom": ("sample", rng.uniform(-100, 100, n)),
        }
    )
