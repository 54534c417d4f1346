"""Ronchigrams of a carbon film for aberration correction, computed by wave optics.

The probe is parked on a thin amorphous film, between its gold clusters. The film acts as a phase grating. A camera
behind the film records the far field. Each region of the aperture shows the film at a magnification that depends on the
local defocus. Regions of flat phase have no texture.
"""

import functools
import math

import numpy as np
import scipy.fft

from stemtwin.twin.envs.session import Session, valve_closed
from stemtwin.twin.physics import coherence, electrons, noise
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator import ronchigram_kernel
from stemtwin.twin.physics.engine.operator.diffraction import Camera
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.overlayer import CARBON, CARBON_DENSITY
from stemtwin.twin.physics.scattering_factors import scattering_factor

PIXELS = 128
"""Number of pixels along each side of the camera."""
EDGE = 1.1
"""Largest angle along each axis of the camera, in units of the convergence semi-angle."""
SIDE_ANGSTROM = 102.4
"""Side of the window, which is also the period of the film, A: twice the side of an image's field."""
POINTS = 320
"""Number of points along each side of the window; scattering up to :func:`highest` does not alias onto the camera."""
MIDDLE = slice(24, 104)
"""Rows and columns of a square within the aperture."""
THICKNESS_ANGSTROM = 30.0
"""Thickness of the film, A."""
FOCI = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
"""Nodes and weights of a Gaussian focal spread of standard deviation 1 (Gauss-Hermite quadrature)."""


@functools.lru_cache(maxsize=4)
def lens(wavelength: float, semiangle: float) -> ronchigram_kernel.Lens:
    """Return the lens with its window, aperture and camera, for a wavelength (A) and a convergence semi-angle (rad)."""
    window = Grid(shape=(POINTS, POINTS), extent=(SIDE_ANGSTROM, SIDE_ANGSTROM))
    pitch = 2 * EDGE * semiangle / wavelength / PIXELS
    camera = Camera(shape=(PIXELS, PIXELS), pitch=(pitch, pitch))
    return ronchigram_kernel.make_lens(window, (1, 1), wavelength, semiangle, camera, limit=math.inf)


def highest(optics: ronchigram_kernel.Lens) -> float:
    """Return the highest spatial frequency of the film that does not alias onto the camera, 1/A."""
    return POINTS / SIDE_ANGSTROM - (1 + EDGE) * optics.semiangle / optics.wavelength


@functools.lru_cache(maxsize=16)
def transmission(optics: ronchigram_kernel.Lens, energy_ev: float, source_size: float, seed: int) -> np.ndarray:
    """Return the transmission of a carbon film of atoms at random positions, complex64, shape (1, 320, 320), read-only.

    The phase of the film is blurred by the image of the source. To first order in the phase this equals the sum over probes
    at all points of the source.

    Parameters
    ----------
    optics : Lens
        See :func:`lens`.
    energy_ev : float
        Beam energy, eV.
    source_size : float
        Standard deviation of the source's image, A.
    seed : int
        Seed of the positions of the atoms.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    atoms = rng.poisson(CARBON_DENSITY * THICKNESS_ANGSTROM * SIDE_ANGSTROM**2 / POINTS**2, optics.grid.shape)
    out = grating(optics, energy_ev, source_size, atoms)
    out.flags.writeable = False
    return out


def grating(optics: ronchigram_kernel.Lens, energy_ev: float, source_size: float, atoms: np.ndarray) -> np.ndarray:
    """Return the transmission of a film from its number of carbon atoms at each point; see :func:`transmission`."""
    grid = optics.grid
    each = electrons.lorentz_factor(energy_ev) * optics.wavelength * scattering_factor("lobato", CARBON, grid.k**2)
    blurred = each * coherence.source_factor(source_size, grid.ky[:, None], grid.kx[None, :])
    held = grid.k < highest(optics)
    spectrum = scipy.fft.fft2(atoms.astype(float)) * np.where(held, blurred, 0.0)
    phase = scipy.fft.ifft2(spectrum).real * (POINTS / SIDE_ANGSTROM) ** 2
    return scipy.fft.ifft2(np.where(held, scipy.fft.fft2(np.exp(1j * phase)), 0.0)).astype(np.complex64)[None]


def expected_pattern(
    optics: ronchigram_kernel.Lens,
    film: np.ndarray,
    aberrations: Aberrations,
    *,
    focal_spread: float = 0.0,
    position: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Return the fraction of the beam in each pixel of the camera.

    Parameters
    ----------
    optics : Lens
        See :func:`lens`.
    film : ndarray
        See :func:`transmission`.
    aberrations : Aberrations
        True aberrations, A and rad.
    focal_spread : float
        Standard deviation of C10, A.
    position : tuple of float
        Position of the parked probe on the film, (x, y), A.

    Returns
    -------
    ndarray
        float32, shape (128, 128).
    """
    foci = [(node * focal_spread, weight) for node, weight in FOCI] if focal_spread else [(0.0, 1.0)]
    return optics.pattern(aberrations, position, film, [0.0], foci=foci)


def expose(session: Session, incident: float, seconds: float, seed: int) -> np.ndarray:
    """Return the Ronchigram of a parked probe, electrons per pixel, uint16, shape (128, 128).

    Parameters
    ----------
    session : Session
        The microscope.
    incident : float
        Incident electrons of the exposure.
    seconds : float
        Duration of the exposure, s.
    seed : int
        Seed of the film's atoms.
    """
    setup, scope = session.setup, session.scope
    knobs, middle = scope.knobs, scope.time_s + seconds / 2
    optics = lens(electrons.wavelength(knobs.energy_ev), knobs.semiangle_mrad * 1e-3)
    fractions = expected_pattern(
        optics,
        transmission(optics, knobs.energy_ev, knobs.source_size_angstrom, seed),
        setup.aberrations(scope, middle),
        focal_spread=knobs.focal_spread_angstrom,
        position=tuple(setup.specimen_shift(scope, np.array([middle]))[0].tolist()),
    )
    rng = setup.rng("Ronchigram", scope.frames)
    counts = noise.count_electrons_by_inversion(fractions.reshape(-1), 0.0 if valve_closed(session) else incident, rng)
    return np.minimum(counts, 65535).astype(np.uint16).reshape(fractions.shape)


def inside(share: float = 1.0) -> np.ndarray:
    """Return the mask of the camera's pixels within a fraction of the aperture's radius, bool."""
    return _distances() < share * PIXELS / (2 * EDGE)


def middle(counts: np.ndarray) -> np.ndarray:
    """Return the central square of a pattern, which lies within the aperture, in electrons, float64, shape (80, 80)."""
    return counts[MIDDLE, MIDDLE].astype(float)


def levels(counts: np.ndarray) -> np.ndarray:
    """Bin a pattern by 2 x 2 pixels, and convert it to grey levels, uint8, shape (64, 64).

    The mean has the level 128, and a deviation of 1 % from the mean is 5 levels. Pixels outside the aperture are 0.
    """
    four = counts.reshape(PIXELS // 2, 2, PIXELS // 2, 2).sum(axis=(1, 3), dtype=float)
    lit = inside().reshape(PIXELS // 2, 2, PIXELS // 2, 2).all(axis=(1, 3))
    mean = float(four[lit].mean())
    contrast = four / mean - 1 if mean > 0 else np.zeros_like(four)
    return np.where(lit & (mean > 0), np.clip(128 + 500 * contrast, 0, 255), 0).astype(np.uint8)


@functools.cache
def _distances() -> np.ndarray:
    y, x = np.indices((PIXELS, PIXELS)) - (PIXELS - 1) / 2
    return np.hypot(y, x)
