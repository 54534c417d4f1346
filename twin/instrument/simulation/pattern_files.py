"""Diffraction patterns written to disk as they are computed, for datasets larger than the memory."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.twin import files
from stemtwin.twin.errors import DatasetError, SettingsError
from stemtwin.twin.instrument.hardware import camera_response
from stemtwin.twin.instrument.simulation import diffraction_patterns
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.progress import Progress

CHUNK_BYTES = 32 * 2**20
"""Approximate size of a chunk of patterns, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraExposure:
    """Exposure of the camera.

    Parameters
    ----------
    current_pa : float
        Probe current, pA.
    dwell_time_us : float
        Dwell time at each point, us.
    seed : int
        Seed of the noise, which is independent for each chunk.
    """

    current_pa: float
    dwell_time_us: float
    seed: int = 0


def save_patterns(request: Request, path: str | Path, *, exposed: CameraExposure | None = None, progress: Progress | None = None) -> Path:
    """Compute the patterns of a camera and write them to a zarr folder, chunk by chunk.

    An interrupted or failed run leaves no folder.

    Parameters
    ----------
    request : Request
        A request with a camera; its other detectors are ignored.
    path : str or Path
        New folder. ``xarray.open_zarr`` can read it.
    exposed : CameraExposure, optional
        Exposure of the camera. If it is given, the counts of the camera are written; otherwise the expected fractions of the
        beam, float32.
    progress : callable, optional
        Called with the number of points written since the last call.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SettingsError
        No camera is among the detectors, or the memory does not suffice for a chunk and the scattering matrix.
    DatasetError
        The free disk space does not suffice (checked before any work), the path exists, or zarr is not installed.
    """
    path = Path(path)
    if not diffraction_patterns.has_camera(request):
        message = "The request has no camera, so there are no patterns to write. Add 'pixelated' to its detectors."
        raise SettingsError(message)
    _need_zarr()
    shape = (*request.scan.shape, *diffraction_patterns.the_camera(request).shape_read)
    files.check_writable(path, folder=True, overwrite=False)
    files.check_space(path, 4 * math.prod(shape), f"A cube of {' x '.join(map(str, shape))} patterns")
    found = diffraction_patterns.plan_patterns(request, held=False)
    with files.replacing(path, overwrite=False) as folder:
        _write(found, folder, exposed, progress)
    return path


def _write(found: diffraction_patterns.Patterns, folder: Path, exposed: CameraExposure | None, progress: Progress | None) -> None:
    import dask.array
    import xarray as xr

    found = diffraction_patterns.settled(found)
    camera, scan = found.camera, found.request.scan
    positions, wanted, shape = scan.positions(), diffraction_patterns.visited(scan), (*scan.shape, *camera.shape_read)
    chunks = _chunks(shape)
    dtype = np.float32 if exposed is None or camera.readout_noise_counts else np.uint32
    whole = diffraction_patterns.to_dataset(found, dask.array.zeros(shape, dtype=dtype, chunks=chunks))
    if exposed is not None:
        whole[camera.name].attrs.update(units="counts", long_name="counts of each pixel", **asdict(exposed))
        whole.attrs.update(title="diffraction patterns as counted", camera=json.dumps(asdict(camera)))
    whole.to_zarr(folder, mode="w", compute=False, zarr_format=2, consolidated=True, encoding={camera.name: {"chunks": chunks}})
    for number, region in enumerate(_regions(shape, chunks)):
        patterns = diffraction_patterns.patterns_at(found, positions[region], wanted[region])
        if exposed is not None:
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(exposed.seed, spawn_key=(number,))))
            beam = {"current_pa": exposed.current_pa, "dwell_time_us": exposed.dwell_time_us}
            patterns = camera_response.count_patterns(patterns, camera, **beam, rng=rng)
        dims = whole[camera.name].dims
        piece: Any = xr.Dataset({camera.name: (dims, patterns)})
        piece.to_zarr(folder, zarr_format=2, consolidated=True, region=dict(zip(dims, (*region, slice(None), slice(None)), strict=True)))
        if progress is not None:
            progress(int(wanted[region].sum()))


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of chunks of whole patterns, each of about CHUNK_BYTES, filled along the scan's fast axis first."""
    count = max(1, CHUNK_BYTES // (4 * shape[-1] * shape[-2]))
    out = list(shape)
    for axis in range(len(shape) - 3, -1, -1):
        out[axis] = min(shape[axis], count)
        count = max(1, count // shape[axis])
    return tuple(out)


def _regions(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    scan = len(shape) - 2
    counts = [math.ceil(shape[axis] / chunks[axis]) for axis in range(scan)]
    for index in np.ndindex(*counts):
        yield tuple(slice(i * chunks[axis], min((i + 1) * chunks[axis], shape[axis])) for axis, i in enumerate(index))


def _need_zarr() -> None:
    try:
        import zarr  # noqa: F401 - xarray writes with it
    except ImportError as error:
        message = "Writing patterns to disk needs zarr, which is not installed. Use pip install 'stemtwin[formats]'."
        raise DatasetError(message) from error
