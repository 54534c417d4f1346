"""A small ``denoise`` for the tests: Gaussian columns on a square lattice with vacancies, seen by two detectors, in the dataset's own schema."""

import numpy as np
import xarray as xr

N, STEP, SPACING, WIDTH = 64, 0.2, 2.0, 0.35  # px, A/px, A, A
RANGES = (0.03, 0.15)
FRAMES = 8


def lattice(rng, missing):
    """Return positions (n, 2), A, of a lattice turned at random, and the missing part of each column."""
    angle, shift = rng.uniform(0, np.pi / 2), rng.uniform(0, SPACING, 2)
    grid = np.arange(-12, 13) * SPACING
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points += shift + N * STEP / 2
    points = points[((points > 0) & (points < (N - 1) * STEP)).all(axis=1)]
    order = rng.permutation(len(points))
    taken = np.zeros(len(points), dtype=np.int64)
    taken[order[:missing]] = 1
    return points, taken


def signals(points, heights):
    """Return the noiseless fractions of the beam, (2, N, N): bright columns on black, and dark ones on grey."""
    y, x = np.mgrid[:N, :N] * STEP
    bells = sum(h * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * WIDTH**2)) for (px, py), h in zip(points, heights, strict=True))
    return np.stack([0.002 + 0.02 * bells, 0.7 - 0.1 * bells])


def make(n=6, clusters=3, dose=3000.0, seed=0, missing=6, atoms=2):
    """Return a dataset of n samples; every second is a stack."""
    rng = np.random.default_rng(seed)
    rows, perfect = [], []
    for i in range(n):
        points, taken = lattice(rng, missing)
        truth = signals(points, 1 - taken / atoms) * dose * STEP**2
        perfect.append(signals(points, np.ones(len(points))) * dose * STEP**2)
        frames = FRAMES if i % 2 else 1
        image = np.zeros((FRAMES, 2, N, N), dtype=np.uint16)
        image[:frames] = rng.poisson(truth / frames, (frames, 2, N, N))
        rows.append((points, taken, truth.astype(np.float32), frames, image))
    most = max(len(row[0]) for row in rows)

    def ragged(values, fill, dtype):
        out = np.full((n, most), fill, dtype=dtype)
        for i, row in enumerate(rows):
            out[i, : len(row[0])] = values(row)
        return ("sample", "site"), out

    same = {"energy_ev": 60e3, "semiangle_mrad": 30.0, "current_pa": 5.0, "dwell_time_us": 4.0, "dose_e_per_angstrom2": dose}
    same |= {"sampling_angstrom": STEP, "haadf_range": RANGES[0], "abf_range": RANGES[1]}
    labels = np.array([f"lattice-{i % clusters}/{i % clusters}" for i in range(n)])
    data = xr.Dataset(
        {name: ("sample", np.full(n, value)) for name, value in same.items()}
        | {
            "sample_id": ("sample", np.array([f"denoise/test/{i:06d}" for i in range(n)])),
            "specimen": ("sample", labels),
            "material": ("sample", np.array([label.split("/")[0] for label in labels])),
            "scan": ("sample", np.full(n, "nion-60")),
            "frames": ("sample", np.array([row[3] for row in rows])),
            "image": (("sample", "frame", "channel", "y", "x"), np.stack([row[4] for row in rows])),
            "expected": (("sample", "channel", "y", "x"), np.stack([row[2] for row in rows])),
            "n_sites": ("sample", np.array([len(row[0]) for row in rows])),
            "site_x_angstrom": ragged(lambda row: row[0][:, 0], np.nan, float),
            "site_y_angstrom": ragged(lambda row: row[0][:, 1], np.nan, float),
            "site_species": ragged(lambda _: "Au", "", "<U2"),
            "site_atoms": ragged(lambda _: atoms, -1, np.int64),
            "site_missing": ragged(lambda row: row[1], -1, np.int64),
        }
    )
    return data, np.stack(perfect)
