r"""A specimen as planes that transmit a mean wave and scatter diffusely into rings, in place of many frozen-phonon configurations.

A plane scatters the fraction :math:`\int |\psi|^2 \mu` into a ring. mu is a sum over the atoms of the plane. It contains
the thermal diffuse cross-sections of `thermal_scattering` and the fraction of the coherent cross-sections that remains
after interference. For a kind e of atoms (one element with one thermal displacement) with n_e atoms of scattering
amplitude f_e, this fraction is the ratio of sum(Re conj(F_e) F) to sum(n_e abs(f_e)^2), where the sums run over the ring,
F is the kinematic amplitude of the whole specimen on the Ewald sphere, and F_e is the contribution of the kind. The
fraction is 1 in an amorphous film or a monolayer, and small on a zone axis, where few beams are excited.

Diffusely scattered electrons pass the planes below and spread there incoherently, as described by their mean square angle.
In these planes they can scatter again: into the ring from smaller angles, out of the ring, and back into the ring from
larger angles. This second scattering, summed over all pairs of planes, is another term of mu.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from threadpoolctl import threadpool_limits

from stemtwin.twin.physics import potential, thermal_scattering
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.potential import Slices
from stemtwin.twin.physics.thermal_scattering import FAR, Atom, Ring

STEP = 0.1
"""Distance between the spatial frequencies at which cross-sections are computed, 1/A."""
ROWS = 256
"""Number of rows of reciprocal space whose structure factors are summed together."""
DIGITS = 3
"""Decimals to which thermal displacements, A, are rounded; atoms of one element with equal rounded values share cross-sections."""
DISC, FREQUENCIES = 48, 400
"""Directions of the aperture along each axis, and spatial frequencies, in the table of the fraction scattered into a ring."""
FADED = 3.0
"""A diffuse spread damps spatial frequencies by exp(-x^2); frequencies beyond this x are left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThermalAtoms:
    """Atoms of a specimen in thermal motion, divided into slices.

    Parameters
    ----------
    positions : ndarray
        x, y, z, A, shape (n, 3).
    numbers : ndarray
        Atomic numbers, shape (n,).
    sigma : ndarray
        Thermal displacements, 1-D rms, A, shape (n,).
    slices : Slices
        Division of the atoms into slices.
    tilt : tuple of float
        Specimen tilt (ty, tx), rad.
    """

    positions: np.ndarray
    numbers: np.ndarray
    sigma: np.ndarray
    slices: Slices
    tilt: tuple[float, float] = (0.0, 0.0)

    def kinds(self) -> list[tuple[int, float, np.ndarray]]:
        """Return the atomic number, the thermal displacement (1-D rms, A) and the mask of the atoms for each kind of atom."""
        rounded = np.round(self.sigma, DIGITS)
        pairs = sorted({(int(z), float(s)) for z, s in zip(self.numbers, rounded, strict=True)})
        return [(z, s, (self.numbers == z) & (rounded == s)) for z, s in pairs]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalOptics:
    """Optical parameters on which the cross-sections depend.

    Parameters
    ----------
    wavelength : float
        Wavelength, A.
    interaction : float
        Interaction constant sigma, rad/(V A).
    radius : float
        Radius of the aperture, alpha / lambda, 1/A.
    parametrization : str
        Name of the parametrization of the scattering factors.
    oversampling : int
        Factor by which exp(i sigma V) is sampled more finely than the wave.
    """

    wavelength: float
    interaction: float
    radius: float
    parametrization: str = "kirkland"
    oversampling: int = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThermalSpecimen:
    """Planes that transmit and scatter diffusely.

    Parameters
    ----------
    grid : Grid
        Points of the waves.
    planes : ndarray
        Depths, A, shape (n,).
    transmission : ndarray
        Mean transmission of each plane, complex64, shape (n, ny, nx).
    sections : ndarray
        Fraction of the intensity at each point that is scattered into each ring, float32, shape (D, n, ny, nx).
    rim : ndarray, optional
        Mean signal of the plane waves at the aperture's edge, float64, shape (D,).
    """

    grid: Grid
    planes: np.ndarray
    transmission: np.ndarray
    sections: np.ndarray
    rim: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.transmission.nbytes + self.sections.nbytes


def build(atoms: ThermalAtoms, grid: Grid, rings: Sequence[Ring], optics: ThermalOptics) -> ThermalSpecimen:
    """Return the mean planes and the ring cross-sections of a specimen on a periodic grid.

    Parameters
    ----------
    atoms : ThermalAtoms
        Atoms of the specimen.
    grid : Grid
        Points of the waves.
    rings : sequence of Ring
        One ring for each channel.
    optics : ThermalOptics
        Optical parameters.
    """
    kinds = atoms.kinds()
    found = [thermal_scattering.atom(z, s, optics.interaction, optics.parametrization) for z, s, _ in kinds]
    transmission = potential.transmissions(
        atoms.positions, atoms.numbers, atoms.slices, grid, optics.interaction,
        parametrization=optics.parametrization, oversampling=optics.oversampling, sigma=atoms.sigma,
    )  # fmt: skip
    sections = np.empty((len(rings), *transmission.shape), np.float32)
    with threadpool_limits(1, user_api="blas"):
        structure = Structure(atoms, kinds, grid)
        q = _frequencies(math.ceil(math.hypot(np.abs(structure.ky).max(), structure.kx.max()) / STEP) + 1)
        loss = np.exp(np.minimum(structure.fields([each.loss(q) for each in found], q), 0))
        transmission *= loss.astype(np.float32)
        for number, ring in enumerate(rings):
            sections[number] = _section(atoms, found, structure, ring, optics, q)
    return ThermalSpecimen(grid=grid, planes=atoms.slices.planes, transmission=transmission, sections=sections)


def _section(atoms: ThermalAtoms, found: list[Atom], structure: "Structure", ring: Ring, optics: ThermalOptics, q: np.ndarray) -> np.ndarray:
    """Return the fraction that each plane scatters into a ring, directly or after a second scattering, shape (n, ny, nx)."""
    below, beyond = Ring(inner=0.0, outer=ring.inner), Ring(inner=ring.outer, outer=max(FAR, ring.outer + 1))
    shares = coherent_shares(atoms, found, structure.grid, ring, optics)
    into = {of: [_into(each, of, optics.radius, len(q)) for each in found] for of in (below, ring, beyond)}
    once = structure.fields([all_of_it - (1 - share) * coherent for (all_of_it, coherent), share in zip(into[ring], shares, strict=True)], q)
    counts = [int(mask.sum()) for _, _, mask in structure.kinds]
    for of, pairs in into.items():
        thermal = [all_of_it - coherent for all_of_it, coherent in pairs]
        strongest = found[int(np.argmax([n * t[0] for n, t in zip(counts, thermal, strict=True)]))]
        kicks = [_again(each, strongest, of, ring, len(q)) for each in found]
        k, share = thermal_scattering.emitted(strongest, of)
        angle = optics.wavelength * math.sqrt(float(share @ k**2))
        once += structure.fields(thermal, q) * structure.below(kicks, q, angle, atoms.tilt)
    return once


def _frequencies(count: int) -> np.ndarray:
    return STEP * np.arange(count)


@functools.lru_cache(maxsize=256)
def _into(each: Atom, of: Ring, radius: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra of an atom's scattering into a ring at the first ``count`` frequencies: the total and its coherent part."""
    return thermal_scattering.into_ring(each, of, radius, _frequencies(count))


@functools.lru_cache(maxsize=256)
def _again(each: Atom, source: Atom, of: Ring, ring: Ring, count: int) -> np.ndarray:
    """Return the gain of a ring by a second scattering, at the first ``count`` frequencies."""
    return thermal_scattering.again_into_ring(each, source, of, ring, _frequencies(count))


class Structure:
    """Structure factors on the grid points with kx >= 0, complex64, for each slice of the specimen and each kind of atom."""

    def __init__(self, atoms: ThermalAtoms, kinds: list[tuple[int, float, np.ndarray]], grid: Grid) -> None:
        self.grid, self.kinds, self.planes = grid, kinds, atoms.slices.planes
        self.ky, self.kx = grid.ky, np.abs(grid.kx[: grid.shape[1] // 2 + 1])
        self.k = np.hypot(self.ky[:, None], self.kx)
        places = [[atoms.positions[mask & (atoms.slices.index == i), :2] for _, _, mask in kinds] for i in range(len(self.planes))]
        self._sums: list[list[np.ndarray | None]] = [[None] * len(kinds) for _ in self.planes]

        def work(queue: Iterator[int]) -> None:
            for i in queue:
                self._sums[i] = [_sum(self.ky, self.kx, at) if len(at) else None for at in places[i]]

        threads.spread(work, range(len(self.planes)))

    def spectrum(self, plane: int, radial: list[np.ndarray]) -> np.ndarray:
        """Return the Fourier coefficients of a sum of radial functions about the atoms of a plane, complex64, shape (ny, nx // 2 + 1).

        ``radial`` holds the Fourier coefficients of the function of each kind of atom about the origin, shape (ny, nx // 2 + 1).
        """
        total = np.zeros(self.k.shape, np.complex64)
        for factors, table in zip(self._sums[plane], radial, strict=True):
            if factors is not None:
                total += table * factors
        return total

    def fields(self, radial: list[np.ndarray], q: np.ndarray) -> np.ndarray:
        """Return the sum of radial functions about the atoms of each plane, on the grid in real space, float32, shape (n, ny, nx).

        ``radial`` holds the Fourier transform of the function of each kind of atom, A^2, at the spatial frequencies ``q``, 1/A.
        """
        tables, out = self._tables(radial, q), np.empty((len(self.planes), *self.grid.shape), np.float32)

        def work(queue: Iterator[int]) -> None:
            for i in queue:
                out[i] = self._values(self.spectrum(i, tables))

        threads.spread(work, range(len(self.planes)))
        return out

    def below(self, radial: list[np.ndarray], q: np.ndarray, angle: float, tilt: tuple[float, float]) -> np.ndarray:
        """Return the probability of a second scattering in the planes below each plane, float32, shape (n, ny, nx).

        ``radial`` holds the Fourier transform of the cross-section of each kind of atom, A^2, at the spatial frequencies
        ``q``, 1/A. An electron spreads as a Gaussian with the root mean square angle ``angle``, rad.
        """
        tables = self._tables(radial, q)
        spectra = [self.spectrum(i, tables) for i in range(len(self.planes))]
        out = np.empty((len(self.planes), *self.grid.shape), np.float32)

        def work(queue: Iterator[int]) -> None:
            """Compute the slices in a queue: each is the sum over all deeper slices."""
            for i in queue:
                total = np.zeros(self.k.shape, np.complex64)
                for j in range(i + 1, len(self.planes)):
                    distance = self.planes[j] - self.planes[i]
                    reach = FADED / (np.pi * distance * angle)
                    rows, columns = np.flatnonzero(np.abs(self.ky) <= reach), int(np.searchsorted(self.kx, reach, "right"))
                    along_y = _flight(self.ky[rows], distance, angle, tilt[0])
                    along_x = _flight(self.kx[:columns], distance, angle, tilt[1])
                    total[rows, :columns] += spectra[j][rows, :columns] * along_y[:, None] * along_x
                out[i] = self._values(total)

        threads.spread(work, range(len(self.planes)))
        return out

    def _tables(self, radial: list[np.ndarray], q: np.ndarray) -> list[np.ndarray]:
        return [(np.interp(self.k, q, each) / math.prod(self.grid.extent)).astype(np.float32) for each in radial]

    def _values(self, half: np.ndarray) -> np.ndarray:
        return np.asarray(scipy.fft.irfft2(half, s=self.grid.shape, norm="forward"))


def _sum(ky: np.ndarray, kx: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the sum over atoms of exp(-2 pi i k.r), complex64, shape (ky, kx)."""
    return _ramps(ky, places[:, 1]) @ _ramps(kx, places[:, 0]).T


def _ramps(k: np.ndarray, at: np.ndarray) -> np.ndarray:
    turns = np.outer(k, at)
    turns -= np.rint(turns)
    phase, out = (-2 * np.pi * turns).astype(np.float32), np.empty(turns.shape, np.complex64)
    np.cos(phase, out=out.real)
    np.sin(phase, out=out.imag)
    return out


def _flight(k: np.ndarray, distance: float, angle: float, tilt: float) -> np.ndarray:
    """Return the factors of a free flight along one axis: a Gaussian spread, and the shift of a tilted specimen's plane against the beam."""
    return np.exp(-((np.pi * k * distance * angle) ** 2) - 2j * np.pi * k * distance * math.tan(tilt)).astype(np.complex64)


@functools.lru_cache(maxsize=64)
def _landed(ring: Ring, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return spatial frequencies (1/A) and the fraction of the aperture's directions that each one scatters into a ring."""
    line = radius * (2 * (np.arange(DISC) + 0.5) / DISC - 1)
    y, x = (a.ravel() for a in np.meshgrid(line, line, indexing="ij"))
    inside = np.hypot(y, x) < radius
    radii = np.linspace(0, ring.outer + radius, FREQUENCIES)
    return radii, np.array([ring.contains(np.hypot(y[inside], x[inside] + each)).mean() for each in radii])


def coherent_shares(atoms: ThermalAtoms, found: list[Atom], grid: Grid, ring: Ring, optics: ThermalOptics) -> list[float]:
    """Return the coherent scattering into a ring from each kind of atom, as a fraction of its value without interference.

    A kind is one element with one thermal displacement. The calculation is kinematic. Amplitudes add up with the phases of
    the atoms' positions and depths, with k on the Ewald sphere of a wave along the beam. Each k is weighted by the fraction
    of the aperture's directions from which scattering by k leads into the ring.
    """
    kinds = atoms.kinds()
    most_y, most_x = (int((ring.outer + optics.radius) * side) + 1 for side in grid.extent)
    radii, landed = _landed(ring, optics.radius)
    ky, kx = np.arange(-most_y, most_y + 1) / grid.extent[0], np.arange(0, most_x + 1) / grid.extent[1]
    blocks = [slice(start, start + ROWS) for start in range(0, len(ky), ROWS)]
    places = [[atoms.positions[mask & (atoms.slices.index == i), :2] for _, _, mask in kinds] for i in range(len(atoms.slices.planes))]
    out = np.zeros((len(blocks), 2, len(kinds)))
    tan_y, tan_x = math.tan(atoms.tilt[0]), math.tan(atoms.tilt[1])

    def work(queue: Iterator[int]) -> None:
        """Sum over the blocks of spatial frequencies in a queue."""
        for number in queue:
            y = ky[blocks[number], None]
            k2 = y**2 + kx**2
            seen = np.interp(np.sqrt(k2), radii, landed, right=0) * np.where(kx > 0, 2.0, 1.0)
            if not seen.any():
                continue
            amplitudes = np.zeros((len(kinds), *k2.shape), np.complex128)
            for z, of_plane in zip(atoms.slices.planes, places, strict=True):
                phase = np.exp(1j * np.pi * z * (optics.wavelength * k2 - 2 * (y * tan_y + kx * tan_x)))
                for kind, at in enumerate(of_plane):
                    if len(at):
                        amplitudes[kind] += phase * _sum(ky[blocks[number]], kx, at)
            waves = [each.wave(np.sqrt(k2)) * np.exp(-2 * (np.pi * each.sigma) ** 2 * k2) for each in found]
            total = sum(w * a for w, a in zip(waves, amplitudes, strict=True))
            for kind, (wave, amplitude) in enumerate(zip(waves, amplitudes, strict=True)):
                out[number, 0, kind] = (seen * ((wave * amplitude).conj() * total).real).sum()
                out[number, 1, kind] = (seen * np.abs(wave) ** 2).sum() * kinds[kind][2].sum()

    threads.spread(work, range(len(blocks)))
    joint, alone = out.sum(axis=0)
    return [float(j / max(a, 1e-300)) for j, a in zip(joint, alone, strict=True)]
