"""A small ``drift`` for the tests: Gaussian columns of different heights, or of one lattice, under a drifting scan, in the dataset's own schema."""

import numpy as np
import xarray as xr

from stemtwin.benchmarks.metrics import scan_fields

N, STEP, NODES, MOST = 64, 0.2, 4, 5
SPACING, WIDTH = 2.0, 0.35
LINE_S, PAUSE_S = 0.005, 0.1


def specimen(points, heights, places):
    """Return the signal at places (..., 2) of columns (n, 2) with heights (n,)."""
    out = np.full(places.shape[:-1], 0.002)
    for (x, y), height in zip(points, heights, strict=True):
        out += 0.02 * height * np.exp(-((places[..., 0] - x) ** 2 + (places[..., 1] - y) ** 2) / (2 * WIDTH**2))
    return out


def columns(rng, periodic):
    """Return places and heights of a square lattice that fills the plane about the field; of random heights and a little displaced, or all alike."""
    grid = np.arange(-9, 10) * SPACING
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    if periodic:
        return points, np.ones(len(points))
    return points + rng.normal(0, 0.2, points.shape), rng.uniform(0.4, 1.6, len(points))


def make(n=4, *, dose=3e5, way=2.0, jitter=0.03, seed=0, periodic=False, pairs=True):
    """Return a dataset of n samples; every second is a pair at 0 and 90 degrees where there are pairs, the others are series of 5 frames."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        frames = 2 if pairs and i % 2 else MOST
        points, heights = columns(rng, periodic)
        rotation = np.zeros(MOST, dtype=np.float32)
        rotation[1] = np.pi / 2 if frames == 2 else 0.0
        places = scan_fields.node_positions((N, N), N, STEP, rotation[:frames])
        times = np.arange(frames)[:, None] * (N * LINE_S + PAUSE_S) + (np.arange(N) + 0.5) * LINE_S
        angle = rng.uniform(0, 2 * np.pi)
        shifts = way * np.array([np.cos(angle), np.sin(angle)]) * (times / times.max())[..., None] + rng.normal(0, jitter, (frames, N, 2))
        counts = rng.poisson(specimen(points, heights, places + shifts[:, :, None]) * dose / frames * STEP**2)
        image, field = np.zeros((MOST, N, N), dtype=np.uint16), np.zeros((MOST, N, NODES, 2), dtype=np.float32)
        image[:frames], field[:frames] = counts, shifts[:, :, None]
        rows.append({"image": image, "displacement": field, "rotation_rad": rotation, "frames": frames})
    dims = {"image": ("frame", "y", "x"), "displacement": ("frame", "y", "quarter", "component"), "rotation_rad": ("frame",), "frames": ()}
    same = {
        "sampling_angstrom": STEP,
        "energy_ev": 60e3,
        "semiangle_mrad": 30.0,
        "current_pa": 5.0,
        "dwell_time_us": LINE_S * 1e6 / N,
        "flyback_us": 0.0,
    }
    same |= {"pause_s": PAUSE_S, "dose_e_per_angstrom2": dose, "repeat_angstrom": SPACING if periodic else 0.0, "periodic": periodic}
    same |= {"drift_angstrom_per_s": 0.5, "jitter_angstrom": jitter}
    return xr.Dataset(
        {name: ("sample", np.full(n, value)) for name, value in same.items()}
        | {
            "sample_id": ("sample", np.array([f"drift/test/{i:06d}" for i in range(n)])),
            "specimen": ("sample", np.array([f"lattice/{i}" for i in range(n)])),
            "material": ("sample", np.full(n, "lattice")),
        }
        | {name: (("sample", *dim), np.stack([row[name] for row in rows])) for name, dim in dims.items()}
    )
