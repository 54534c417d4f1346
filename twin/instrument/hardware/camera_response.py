"""Counts of a camera from expected patterns."""

import numpy as np
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.physics import camera as physics
from stemtwin.twin.physics import noise

MOST_ELECTRONS = 1e9
"""Largest number of electrons at one point that the counters can hold."""


def response(camera: PixelatedDetector, dwell_time_us: float) -> physics.Response:
    """Return a camera's response to one exposure of the given dwell time, us."""
    seconds = dwell_time_us * 1e-6
    return physics.Response(
        spread=camera.point_spread_px,
        efficiency=camera.quantum_efficiency,
        dark=camera.dark_counts_per_s * seconds * camera.binning**2,
        hot=camera.hot_counts_per_s * seconds,
        readout=camera.readout_noise_counts,
        saturation=np.inf if camera.saturation_counts is None else camera.saturation_counts,
    )


def defects(camera: PixelatedDetector) -> physics.Defects:
    """Return a camera's dead and hot pixels. They depend only on the ``defect_seed`` of the camera."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(camera.defect_seed)))
    return physics.draw_defects(camera.shape_read, camera.binning, camera.dead_fraction, camera.hot_fraction, rng)


def count_patterns(
    patterns: np.ndarray, camera: PixelatedDetector, *, current_pa: float, dwell_time_us: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the counts of a camera.

    Parameters
    ----------
    patterns : ndarray
        Expected fraction of the beam in each binned pixel, shape (..., ny, nx); NaN at points that the beam did not
        visit, where the counts are 0.
    camera : PixelatedDetector
        The camera.
    current_pa, dwell_time_us : float
        Probe current, pA; exposure at each point, us.
    rng : numpy.random.Generator
        Source of the noise.

    Returns
    -------
    ndarray
        Counts, uint32, or float32 with readout noise, shaped like ``patterns``.

    Raises
    ------
    SettingsError
        The patterns do not have the camera's size, or the electrons overflow the counters.
    """
    if patterns.shape[-2:] != camera.shape_read:
        message = (
            f"Patterns of {patterns.shape[-2:]} pixels do not match this camera, which reads {camera.shape_read}. "
            "Pass the camera for which the patterns were computed."
        )
        raise SettingsError(message)
    current = checks.number("current_pa", current_pa, "pA", low=0)
    dwell = checks.number("dwell_time_us", dwell_time_us, "us", above=0)
    electrons = noise.electrons_per_point(current, dwell * 1e-6)
    if electrons > MOST_ELECTRONS:
        message = (
            f"{electrons:.3g} electrons at each point overflow the counters (limit {MOST_ELECTRONS:g}). "
            "Use a shorter dwell_time_us or a lower current_pa."
        )
        raise SettingsError(message)
    numbers, pixels = response(camera, dwell), defects(camera)
    seen = ~np.isnan(patterns[..., 0, 0])
    if seen.all():
        return physics.expose(patterns, electrons, numbers, pixels, rng)
    counts = physics.expose(patterns[seen], electrons, numbers, pixels, rng)
    out = np.zeros(patterns.shape, counts.dtype)
    out[seen] = counts
    return out


def expose(patterns: xr.DataArray, camera: PixelatedDetector, *, current_pa: float, dwell_time_us: float, rng: np.random.Generator) -> xr.DataArray:
    """Return the counts of expected patterns as a DataArray with the same coordinates; see :func:`count_patterns`."""
    counts = count_patterns(patterns.to_numpy(), camera, current_pa=current_pa, dwell_time_us=dwell_time_us, rng=rng)
    known = {"units": "counts", "long_name": "counts of each pixel", "current_pa": float(current_pa), "dwell_time_us": float(dwell_time_us)}
    known["electrons_per_point"] = noise.electrons_per_point(current_pa, dwell_time_us * 1e-6)
    return patterns.copy(data=counts).assign_attrs(known)
