"""Scenes of sparse structure: particles, pores and decorated grain boundaries in a field, and their expected dark-field image."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft

from stemtwin.twin.instrument.hardware.profiles import Profile, find_profile
from stemtwin.twin.physics import coherence, electrons, probe, thermal_scattering
from stemtwin.twin.physics.thermal_scattering import Ring
from stemtwin.twin.samples import metals, particles
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.metals import Metal
from stemtwin.twin.samples.sample import Sample

PROFILE = "corrected-200kv"
SEMIANGLE_MRAD = 4.0
"""Convergence semi-angle, mrad; its probe is as wide as the distance between points, so lattices average out."""
CURRENT_PA = 50.0
"""Current that determines the source size, pA."""
PITCH_ANGSTROM = 2.0
"""Distance between neighbouring points of the field, A."""
MARGIN_ANGSTROM = 16.0
"""Width of the margin around the field, A, whose atoms still contribute to the image because the probe is wide."""
FINE = 4
"""Number of cells of the specimen's grid per distance between neighbouring points, along each axis."""
FILM = "carbon-amorphous"
FILM_ANGSTROM, FILM_TILE_ANGSTROM = 20.0, 24.0
"""Thickness of carbon films, and side of their periodic tile, A."""
FOIL_ANGSTROM = 40.0
"""Thickness of the aluminium foil, A."""
SEGREGANT, SEGREGANT_SIGMA, SEGREGANT_DENSITY = 31, 0.12, 0.051
"""Gallium at grain boundaries: atomic number, thermal displacement (A) and density of the solid, 1/A^3."""
LAYER_ANGSTROM = 6.0
"""Width of the gallium layer of a boundary, A."""
FACET_ANGSTROM = (40.0, 90.0)
"""Smallest and largest length of a straight facet of a boundary, A."""
KNOTS = 8
"""Number of spatial frequencies at which cross-sections are computed."""
SIZES = 4
"""Number of particle sizes from which an episode draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRange:
    """Ranges from which a scene is drawn.

    Parameters
    ----------
    particles, pores, boundaries : tuple of int
        Smallest and largest numbers in a field with a side of 256 A; for a smaller side, see :func:`count`.
    diameter : tuple of float
        Smallest and largest diameter of particles, A.
    pore : tuple of float
        Smallest and largest mean radius of pores, A.
    """

    particles: tuple[int, int]
    pores: tuple[int, int]
    boundaries: tuple[int, int]
    diameter: tuple[float, float]
    pore: tuple[float, float]


class Specimen:
    """Maps of the number of atoms of each element, on a fine grid that covers the field and a margin of 16 A around it.

    Parameters
    ----------
    points : int
        Number of points along each side of the field.
    """

    def __init__(self, points: int) -> None:
        self.side = points * PITCH_ANGSTROM + 2 * MARGIN_ANGSTROM
        self.cells = round(self.side / PITCH_ANGSTROM) * FINE
        self.cell = self.side / self.cells
        self.maps: dict[tuple[int, float], np.ndarray] = {}

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates y (cells, 1) and x (1, cells) of the cell centres, A."""
        at = (np.arange(self.cells) + 0.5) * self.cell
        return at[:, None], at[None]

    def of(self, number: int, sigma: float) -> np.ndarray:
        """Return the map of an element: the number of its atoms in each cell, float64 (cells, cells).

        The map is writable. ``sigma`` is the thermal displacement of these atoms, A.
        """
        return self.maps.setdefault((number, sigma), np.zeros((self.cells, self.cells)))

    def add(self, number: int, sigma: float, places: np.ndarray) -> None:
        """Add atoms at positions (x, y), A, shape (n, 2); atoms outside the grid are dropped."""
        at = np.floor(places / self.cell).astype(int)
        at = at[((at >= 0) & (at < self.cells)).all(axis=1)]
        self.of(number, sigma)[...] += np.bincount(at[:, 1] * self.cells + at[:, 0], minlength=self.cells**2).reshape(self.cells, self.cells)

    def image(self) -> np.ndarray:
        """Return the expected fraction of the beam that reaches the detector, at each point of the field, float64 (points, points)."""
        total = sum(scipy.fft.rfft2(atoms) * transfer(*kind, self.cells, self.side) for kind, atoms in self.maps.items())
        whole = scipy.fft.irfft2(total, (self.cells, self.cells)) / self.cell**2
        first = round(MARGIN_ANGSTROM / self.cell) + FINE // 2
        return np.maximum(whole[first : self.cells - first + FINE // 2 : FINE, first : self.cells - first + FINE // 2 : FINE], 0)


@functools.lru_cache(maxsize=32)
def transfer(number: int, sigma: float, cells: int, side: float) -> np.ndarray:
    """Return the Fourier coefficients of one atom's dark-field image, A^2, shape (cells, cells / 2 + 1), read-only.

    The result is the product of two sets of Fourier coefficients: those of the cross-section for scattering into the detector,
    and those of the probe's intensity. This is the model of ``engine="thermal"`` for atoms that scatter once and independently.
    """
    profile: Profile = find_profile(PROFILE)
    wavelength, semiangle = electrons.wavelength(profile.energy_ev), SEMIANGLE_MRAD * 1e-3
    ring = detector_ring(profile)
    fy = scipy.fft.fftfreq(cells, side / cells)
    waves = probe.amplitudes(fy[:, None], fy[None], (1 / side, 1 / side), wavelength, semiangle, profile.residual)
    optical = scipy.fft.rfft2(np.abs(scipy.fft.ifft2(waves)) ** 2)
    optical = np.real(optical / optical[0, 0])
    q = np.hypot(fy[:, None], np.abs(fy[None, : cells // 2 + 1]))
    source = coherence.source_factor(profile.source_size_angstrom(CURRENT_PA, SEMIANGLE_MRAD, profile.energy_ev), q, np.zeros(1))
    knots = np.linspace(0, 2 * semiangle / wavelength, KNOTS)
    scatterer = thermal_scattering.atom(number, sigma, electrons.interaction_constant(profile.energy_ev))
    spectrum, _ = thermal_scattering.into_ring(scatterer, ring, semiangle / wavelength, knots)
    out = optical * source * np.interp(q, knots, spectrum)
    out.setflags(write=False)
    return out


def detector_ring(profile: Profile) -> Ring:
    """Return the collection range of an instrument's dark-field detector, 1/A, whose response is assumed to be uniform."""
    wavelength = electrons.wavelength(profile.energy_ev)
    detector = profile.detector("haadf")
    assert detector is not None
    return Ring(inner=detector.inner_mrad * 1e-3 / wavelength, outer=detector.outer_mrad * 1e-3 / wavelength)  # type: ignore[attr-defined] - a ring


@functools.lru_cache(maxsize=256)
def particle(metal: Metal, diameter: float) -> np.ndarray:
    """Return the positions of the atoms of a particle relative to its centre, A, shape (n, 3), read-only."""
    out = particles.cluster(metal, "wulff", diameter)
    out.setflags(write=False)
    return out


@functools.lru_cache(maxsize=4)
def film() -> Sample:
    """Return the periodic tile of the carbon film."""
    return load_sample(FILM, size_angstrom=(FILM_TILE_ANGSTROM, FILM_TILE_ANGSTROM), thickness_angstrom=FILM_ANGSTROM, seed=0)


@functools.lru_cache(maxsize=4)
def layer() -> tuple[tuple[int, float, float], ...]:
    """Return atomic number, thermal displacement (A) and areal density (1/A^2) of each element in a layer of MoS2."""
    sample = load_sample("mos2-1h", seed=0)
    sigma, area = sample.thermal_sigma_angstrom, math.prod(sample.size_angstrom)
    assert sigma is not None
    return tuple((int(z), float(sigma[sample.numbers == z][0]), float((sample.numbers == z).sum() / area)) for z in np.unique(sample.numbers))


def sizes(span: tuple[float, float]) -> np.ndarray:
    """Return the four possible diameters of particles, A, equally spaced from end to end of ``span``."""
    return np.linspace(*span, SIZES)


def rms(metal: Metal) -> float:
    """Return the root-mean-square thermal displacement of a metal's atoms along one axis, A."""
    return math.sqrt(metal.b / (8 * math.pi**2))


def count(rng: np.random.Generator, span: tuple[int, int], points: int) -> int:
    """Draw the number of structures, at least 1, in a field with ``points`` points along each side.

    The limits ``span`` apply to a field with a side of 256 A. A number drawn within them is multiplied by the ratio of the side
    of this field (``points`` times 2 A) to 256 A, and rounded.
    """
    return max(1, round(int(rng.integers(span[0], span[1] + 1)) * points * PITCH_ANGSTROM / 256))


def place_particle(out: Specimen, rng: np.random.Generator, metal: Metal, diameter: float) -> None:
    """Add a particle of random orientation at a random position in the field."""
    atoms = particle(metal, float(diameter)) @ particles.rotation("random", rng).T
    middle = MARGIN_ANGSTROM + rng.random(2) * (out.side - 2 * MARGIN_ANGSTROM)
    out.add(atomic_number(metal), rms(metal), atoms[:, :2] + middle)


def atomic_number(metal: Metal) -> int:
    """Return the atomic number of a metal."""
    from ase.data import atomic_numbers

    return int(atomic_numbers[metal.symbol])


def on_film(metal: Metal) -> Callable[[np.random.Generator, SceneRange, int], Specimen]:
    """Return the builder of scenes with particles of a metal on amorphous carbon."""

    def make(rng: np.random.Generator, span: SceneRange, points: int) -> Specimen:
        """Return a scene of particles."""
        out, support = Specimen(points), film()
        assert support.thermal_sigma_angstrom is not None
        tile = (support.positions_angstrom[:, :2] + rng.random(2) * FILM_TILE_ANGSTROM) % FILM_TILE_ANGSTROM
        steps = np.arange(math.ceil(out.side / FILM_TILE_ANGSTROM)) * FILM_TILE_ANGSTROM
        corners = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 1, 2)
        out.add(6, float(support.thermal_sigma_angstrom[0]), (corners + tile).reshape(-1, 2))
        for _ in range(count(rng, span.particles, points)):
            place_particle(out, rng, metal, rng.choice(sizes(span.diameter)))
        return out

    return make


def pores_in_a_layer(rng: np.random.Generator, span: SceneRange, points: int) -> Specimen:
    """Return a scene of MoS2 with pores and particles of platinum."""
    out = Specimen(points)
    (y, x), whole = out.axes(), np.ones((out.cells, out.cells))
    for _ in range(count(rng, span.pores, points)):
        middle = MARGIN_ANGSTROM + rng.random(2) * (out.side - 2 * MARGIN_ANGSTROM)
        radius, phases, waves = rng.uniform(*span.pore), rng.uniform(0, 2 * np.pi, 3), rng.uniform(0, 0.2, 3)
        azimuth = np.arctan2(y - middle[1], x - middle[0])
        rim = radius * (1 + sum(wave * np.cos((2 + i) * azimuth + phase) for i, (wave, phase) in enumerate(zip(waves, phases, strict=True))))
        whole *= np.clip((np.hypot(y - middle[1], x - middle[0]) - rim) / out.cell + 0.5, 0, 1)
    for number, sigma, density in layer():
        out.of(number, sigma)[...] = density * out.cell**2 * whole
    for _ in range(count(rng, span.particles, points) // 2):
        place_particle(out, rng, metals.PLATINUM, sizes(span.diameter)[0])
    return out


def decorated_boundary(rng: np.random.Generator, span: SceneRange, points: int) -> Specimen:
    """Return a scene of an aluminium foil whose grain boundaries are wetted by gallium."""
    out = Specimen(points)
    y, x = out.axes()
    free = np.zeros((out.cells, out.cells))
    for _ in range(count(rng, span.boundaries, points)):
        at = MARGIN_ANGSTROM + rng.random(2) * (out.side - 2 * MARGIN_ANGSTROM)
        course = rng.uniform(0, 2 * np.pi)
        for back in (0, np.pi):
            end, way = at, course + back
            while (end > 0).all() and (end < out.side).all():
                way += rng.uniform(-0.6, 0.6)
                begin, end = end, end + rng.uniform(*FACET_ANGSTROM) * np.array([math.cos(way), math.sin(way)])
                distance = distance_to_segment(x, y, begin, end)
                free = np.maximum(free, np.clip((LAYER_ANGSTROM / 2 - distance) / out.cell + 0.5, 0, 1))
    aluminium = 4 / metals.ALUMINIUM.a**3 * FOIL_ANGSTROM * out.cell**2
    out.of(atomic_number(metals.ALUMINIUM), rms(metals.ALUMINIUM))[...] = aluminium * (1 - free)
    out.of(SEGREGANT, SEGREGANT_SIGMA)[...] = SEGREGANT_DENSITY * FOIL_ANGSTROM * out.cell**2 * free
    return out


def distance_to_segment(x: np.ndarray, y: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distances of points (A) from a segment between two points (x, y)."""
    way = end - begin
    along = np.clip(((x - begin[0]) * way[0] + (y - begin[1]) * way[1]) / max(float(way @ way), 1e-12), 0, 1)
    return np.hypot(x - begin[0] - along * way[0], y - begin[1] - along * way[1])


SCENES: dict[str, Callable[[np.random.Generator, SceneRange, int], Specimen]] = {
    "au-particle-carbon": on_film(metals.GOLD),
    "pt-particle-carbon": on_film(metals.PLATINUM),
    "mos2-1h": pores_in_a_layer,
    "al-sigma5-310": decorated_boundary,
}
"""Builders of scenes by the library's name of their sample."""


def prepare(samples: tuple[str, ...], span: SceneRange, points: int) -> None:
    """Compute and cache the common parts of all scenes of the samples: particles, the film, and images of single atoms."""
    for name in samples:
        for metal in {"au-particle-carbon": (metals.GOLD,), "al-sigma5-310": ()}.get(name, (metals.PLATINUM,)):
            for diameter in sizes(span.diameter):
                particle(metal, float(diameter))
        expected_image(name, 0, span, points)


def expected_image(sample: str, seed: int, span: SceneRange, points: int) -> np.ndarray:
    """Return the expected image of a scene, fractions of the beam, float64 (points, points), read-only.

    Parameters
    ----------
    sample : str
        Library name of the sample: ``"au-particle-carbon"``, ``"pt-particle-carbon"``, ``"mos2-1h"`` or ``"al-sigma5-310"``.
    seed : int
        Seed of all random numbers of the scene.
    span : SceneRange
        Ranges from which the scene is drawn.
    points : int
        Number of points along each side of the field.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    image = SCENES[sample](rng, span, points).image()
    image.setflags(write=False)
    return image
