"""Small arrays from results, frames and truths."""

import zlib
from typing import Any

import numpy as np
import xarray as xr

import stemtwin as st
from tests.golden.registry import Arrays


def variables(data: xr.Dataset, kind: str, prefix: str = "") -> Arrays:
    """Return the variables of a result and its coordinates, which are a truth."""
    found = {f"{kind}/{prefix}{name}": values.to_numpy() for name, values in data.data_vars.items()}
    places = {f"truth/{prefix}{name}": values.to_numpy() for name, values in data.coords.items()}
    return found | places


def attributes(data: xr.Dataset, names: tuple[str, ...], prefix: str = "") -> Arrays:
    """Return attributes of a result that are numbers."""
    return {f"truth/{prefix}{name}": np.asarray(data.attrs[name], float) for name in names}


def checksum(values: np.ndarray) -> int:
    """Return the CRC-32 of the bits of an array."""
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def frames(name: str, stack: np.ndarray, step: int) -> Arrays:
    """Return every ``step``-th pixel of frames (n, ny, nx), the sum of each frame, and a checksum of each."""
    return {
        f"counts/{name}": stack[:, ::step, ::step],
        f"counts/{name}_sum": stack.reshape(len(stack), -1).sum(axis=1, dtype=np.int64),
        f"bits/{name}_crc32": np.array([checksum(frame) for frame in stack], np.int64),
    }


def beam_numbers(beam: st.Beam) -> np.ndarray:
    """Return all numbers of a beam: energy, convergence, source size, focal spread, tilt, Cartesian aberrations."""
    rest = (
        beam.energy_ev,
        beam.semiangle_mrad,
        beam.source_size_angstrom,
        beam.focal_spread_angstrom,
        *beam.beam_tilt_mrad,
    )
    return np.array([*rest, *beam.aberrations.cartesian().values()])


def sample_numbers(sample: st.Sample, prefix: str = "") -> Arrays:
    """Return the atoms of a sample."""
    sigma = sample.thermal_sigma_angstrom
    return {
        f"truth/{prefix}numbers": sample.numbers,
        f"truth/{prefix}positions": sample.positions_angstrom,
        f"truth/{prefix}sigma": np.zeros(0) if sigma is None else sigma,
        f"truth/{prefix}box": np.array([*sample.size_angstrom, sample.thickness_angstrom]),
    }


def scope_numbers(scope: st.Microscope, scan: st.RasterScan) -> Arrays:
    """Return the numbers of ``scope.truth()``, with the dose on a raster, beside the read-backs of the microscope."""
    truth = scope.truth()
    names = ("C10_angstrom", "C12_angstrom", "C12a_angstrom", "C12b_angstrom", "strehl", "current_factor", "seed")
    found = {f"truth/{name}": np.array(truth[name], float) for name in names}
    film = truth["film"]
    found |= {
        "truth/drift": np.array(truth["drift_angstrom"]),
        "truth/beam": beam_numbers(truth["beam"]),
        "truth/stage": _axes(truth["stage"]),
        "truth/stage_readback": _axes(scope.stage),
        "truth/dose": truth["dose"].on_raster(scan),
        "truth/dose_nominal": scope.dose_map(scan).to_numpy(),
        "truth/film": np.zeros((0, 0)) if film is None else film.height,
        "truth/spent": np.array([scope.spent[name] for name in ("time_s", "beam_s", "electrons", "frames", "moves")]),
    }
    return found | sample_numbers(truth["sample"], "sample_") | _events(truth["events"])


def _axes(position: Any) -> np.ndarray:
    names = ("x_angstrom", "y_angstrom", "z_angstrom", "alpha_mrad", "beta_mrad")
    return np.array([getattr(position, name) for name in names])


def _events(events: Any) -> Arrays:
    listed = list(events)
    return {
        "truth/event_time": np.array([event.time for event in listed], float),
        "truth/event_process": np.array([event.process for event in listed], "U32"),
        "truth/event_site": np.array([(event.site, event.partner) for event in listed], np.int64).reshape(-1, 2),
        "truth/event_position": np.array([event.position for event in listed], float).reshape(-1, 3),
        "truth/event_dose": np.array([event.dose for event in listed], float),
    }
