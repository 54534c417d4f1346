"""Random electron counts at a given dose, drawn from expected signals."""

from typing import TYPE_CHECKING

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.physics import noise

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.twin.instrument.scan import RasterScan


def counted_electrons(data: "xr.Dataset", scan: "RasterScan", dose_e_per_angstrom2: float, seed: int) -> "xr.Dataset":
    """Return randomly drawn electron counts (Poisson noise) for signals that are expected fractions of the beam.

    Parameters
    ----------
    data : Dataset
        Expected signals of the scan, as fractions of the incident beam.
    scan : RasterScan
        Raster of the signals. Its pitch and the dose determine the number of incident electrons at each point.
    dose_e_per_angstrom2 : float
        Dose, e-/A^2.
    seed : int
        Seed of the Poisson noise.

    Raises
    ------
    SettingsError
        The dose is not positive, or exceeds 1e12 e-/A^2.
    """
    dy, dx = scan.pitch_angstrom
    incident = checks.number("dose_e_per_angstrom2", dose_e_per_angstrom2, "e-/A^2", above=0, high=1e12) * dy * dx
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(3, 0))))
    out = data.copy()
    for name in data:
        counts = noise.count_electrons(data[name].to_numpy(), incident, rng)
        out[name] = (data[name].dims, counts, {**data[name].attrs, "units": "electrons", "long_name": "detected electrons"})
    out.attrs["dose_e_per_angstrom2"] = dose_e_per_angstrom2
    return out
