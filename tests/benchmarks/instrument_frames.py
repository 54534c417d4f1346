"""A small ``atoms-2d`` 2 and ``instruments`` for the tests: the frames of version 1 as readings, with bounds, instruments and labels."""

import numpy as np
import xarray as xr

from stemtwin.benchmarks.families.instruments import AWAY, HOME, LABELS
from tests.benchmarks import frames

GAIN, OFFSET = 8.0, 100.0


def make(n: int = 10, dose: float = 4000.0, seed: int = 0, clusters: int = 5) -> xr.Dataset:
    """Return a dataset of n frames; instruments take turns, and of each the numbers of labels."""
    data = frames.make(n=n, clusters=clusters, dose=dose, seed=seed)
    readings = np.rint(data["image"].values * GAIN + OFFSET).astype(np.uint16)
    names, number = (*HOME, *AWAY), np.arange(n)
    per_row = {
        "gain_adu": np.full(n, GAIN),
        "offset_adu": np.full(n, OFFSET),
        "inner_mrad": np.full(n, 60.0),
        "outer_mrad": np.full(n, 120.0),
        "structure": np.array(["perfect", "imperfect"])[number % 2],
        "focus_error_angstrom": np.linspace(-40, 40, n),
        "instrument": np.array(names)[number % len(names)],
        "labels": np.array(LABELS)[number // len(names) % len(LABELS)],
    }
    bound = np.where(np.isfinite(data["column_x_angstrom"].values), 0.02, np.nan)
    rows = {name: ("sample", values) for name, values in per_row.items()}
    return data.assign(image=(data["image"].dims, readings), column_bound_angstrom=(("sample", "column"), bound), **rows)
