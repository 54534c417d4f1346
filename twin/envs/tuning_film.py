"""Images of a carbon film with gold clusters for aberration correction, computed by wave optics at the convergence semi-angle.

The film is that of ``hardware.tableau`` at a higher magnification: single atoms and small clusters, drawn once per episode.
The film is periodic with the field, so the image for any probe is computed by Fourier transforms.
"""

import functools
import math

import numpy as np

from stemtwin.twin.envs.session import Session, valve_closed
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.timing import ScanTiming, scan_timing
from stemtwin.twin.physics import coherence, noise, phase_diversity
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.phase_diversity import FilmOptics

SIZE = 128
SAMPLING_ANGSTROM = 0.4
"""Number of points along each side, and distance between neighbouring points, A."""
FIELD_ANGSTROM = SIZE * SAMPLING_ANGSTROM
SIGMA_ANGSTROM = 0.5
"""Standard deviation of a cluster's projected density, A; the film has no signal beyond half a cycle per point."""
CLUSTER_ANGSTROM2 = 0.1
"""Dark-field cross-section of a cluster, A^2: three gold atoms of about 0.03 A^2 each."""
BACKGROUND = 0.01
"""Collected fraction of the beam from the carbon."""
FOCI = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
"""Nodes and weights of a Gaussian focal spread of standard deviation 1 (Gauss-Hermite quadrature)."""


def film_optics(wavelength: float, semiangle: float) -> FilmOptics:
    """Return the optics of the images for a wavelength (A) and a convergence semi-angle (rad)."""
    return FilmOptics(wavelength=wavelength, semiangle=semiangle, size=SIZE, sampling=SAMPLING_ANGSTROM)


def draw_film(geometry: FilmOptics, density: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a film with the given mean number of clusters per A^2; see ``phase_diversity.clusters``."""
    return phase_diversity.clusters(geometry, density, SIGMA_ANGSTROM, rng)


def expected_fractions(
    geometry: FilmOptics, film: np.ndarray, aberrations: Aberrations, *, focal_spread: float = 0.0, source_size: float = 0.0, shift=(0.0, 0.0)
) -> np.ndarray:
    """Return the collected fraction of the beam at each point.

    Parameters
    ----------
    geometry : FilmOptics
        Optics of the images.
    film : ndarray
        Fourier coefficients of the film.
    aberrations : Aberrations
        True aberrations, A and rad.
    focal_spread, source_size : float
        Standard deviation of C10, and standard deviation of the source's image, A.
    shift : tuple of float
        Displacement of the field on the film, (x, y), A.

    Returns
    -------
    ndarray
        float64, shape (128, 128).
    """
    foci = [(node * focal_spread, weight) for node, weight in FOCI] if focal_spread else [(0.0, 1.0)]
    blurred = phase_diversity.transfer(geometry, aberrations, foci)
    blurred = blurred * coherence.source_factor(source_size, *geometry.frequencies())
    density = phase_diversity.images(geometry, film, [blurred], np.array([[-shift[1], -shift[0]]]))[0]
    return np.clip(BACKGROUND + CLUSTER_ANGSTROM2 * density, 0.0, 1.0)


def photograph(
    session: Session, geometry: FilmOptics, film: np.ndarray, electrons_per_point: float, dwell_time_us: float
) -> tuple[np.ndarray, float, float]:
    """Acquire an image; return its readings (uint16, shape (128, 128)), its duration (s) and its beam time on the film (s)."""
    setup, scope = session.setup, session.scope
    timing = scan_timing(_scan(), dwell_time_us=dwell_time_us, flyback_us=setup.profile.flyback_us, start_s=0.0)
    middle = scope.time_s + timing.duration_s / 2
    knobs = scope.knobs
    fractions = expected_fractions(
        geometry,
        film,
        setup.aberrations(scope, middle),
        focal_spread=knobs.focal_spread_angstrom,
        source_size=knobs.source_size_angstrom,
        shift=tuple(setup.specimen_shift(scope, np.array([middle]))[0]),
    )
    rng, chain = setup.rng("noise", scope.frames), setup.profile.chain("haadf")
    incident = 0.0 if valve_closed(session) else electrons_per_point
    readings = _read(fractions, incident, chain, timing, rng)
    return np.minimum(readings, 65535).astype(np.uint16), timing.duration_s, timing.count * timing.dwell_s


def duration_s(dwell_time_us: float, flyback_us: float) -> float:
    """Return the duration of an image, s."""
    return scan_timing(_scan(), dwell_time_us=dwell_time_us, flyback_us=flyback_us, start_s=0.0).duration_s


def _read(fractions: np.ndarray, electrons: float, chain: DetectorChain | None, timing: ScanTiming, rng: np.random.Generator) -> np.ndarray:
    """Return counted electrons, or the readings of a detector read-out chain."""
    flat = fractions.reshape(-1)
    if chain is None:
        return noise.count_electrons_by_inversion(flat, electrons, rng).reshape(fractions.shape)
    pulses = chain.detect(flat * electrons, rng)
    return chain.convert(pulses, rng, timing=timing).reshape(fractions.shape)


@functools.cache
def _scan() -> RasterScan:
    return RasterScan(shape=(SIZE, SIZE), field_of_view_angstrom=(FIELD_ANGSTROM, FIELD_ANGSTROM))
