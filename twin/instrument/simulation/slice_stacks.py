"""Transmission functions of a request, one stack of slices for each frozen-phonon configuration."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import scipy.fft

from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import LATIN, Request
from stemtwin.twin.physics import electrons, phonons, potential
from stemtwin.twin.physics.engine.local.film_slices import FilmSlices
from stemtwin.twin.physics.engine.local.tiles import Rectangle
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.potential import Slices

SPECIMEN_STREAM = 0
"""First part of the spawn key of the thermal displacements."""
LATIN_STREAM = 16
"""First part of the spawn key of thermal displacements that are drawn together."""

HEAVIEST_OF_FILMS = 14
"""Largest atomic number in slices that may be joined; amorphous films consist of carbon, silicon, silicon nitride or oxide."""


def film_of(request: Request, slices: Slices, thickness: float | None) -> FilmSlices | None:
    """Return the slices of films, which can be joined up to ``thickness`` (A), or None if ``thickness`` is None.

    A slice belongs to a film if it contains only light atoms, up to silicon. The result is also None for a potential.
    """
    if thickness is None or isinstance(request.sample, PotentialSlices):
        return None
    heaviest = np.zeros(len(slices.planes), int)
    np.maximum.at(heaviest, slices.index, request.sample.numbers)
    return FilmSlices(inside=heaviest <= HEAVIEST_OF_FILMS, thickness=thickness)


def positions(request: Request, configuration: int) -> np.ndarray:
    """Return the atoms' positions (x, y, z), A, shape (n, 3), in one frozen-phonon configuration.

    With ``displacements="independent"``, the positions of configuration i do not depend on the number of configurations.
    """
    sample = request.sample
    assert not isinstance(sample, PotentialSlices)  # callers pass samples only
    if sample.thermal_sigma_angstrom is None or request.thermal_motion != "frozen":
        return sample.positions_angstrom
    sigma, sites = sample.thermal_sigma_angstrom, sample.sites
    if sites is None or not len(sites):
        return sample.positions_angstrom + _displacements(request, configuration, sigma)
    unit = _displacements(request, configuration, np.ones(int(sites.max()) + 1))  # drawn for every site, occupied or not
    return sample.positions_angstrom + sigma[:, None] * unit[sites]


def _displacements(request: Request, configuration: int, sigma: np.ndarray) -> np.ndarray:
    """Return the displacements of one configuration, A, shape (n, 3), for rms displacements ``sigma``, A, shape (n,)."""
    together = request.displacements == LATIN
    key = (LATIN_STREAM, request.configurations) if together else (SPECIMEN_STREAM, configuration)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(request.seed, spawn_key=key)))
    return phonons.latin_displacements(sigma, request.configurations, rng)[configuration] if together else phonons.displacements(sigma, rng)


def stacks(request: Request, plan: Plan) -> Iterator[SliceStack]:
    """Iterate over the specimen's slices, one stack per configuration, up to the plan's largest number of configurations.

    If ``depths_angstrom`` of the request extends beyond the exit face, each stack extends to the largest depth, with vacuum
    behind the exit face.
    """
    return (_stack(request, plan, configuration) for configuration in range(plan.most_configurations))


class Configurations(Sequence[SliceStack]):
    """The specimen's slices, one stack per configuration, computed on access. Only the last stack is kept in memory.

    Parameters
    ----------
    request, plan : Request, Plan
        The request and its plan.
    """

    def __init__(self, request: Request, plan: Plan) -> None:
        self._request, self._plan = request, plan
        self._last: tuple[int, SliceStack] | None = None

    def __len__(self) -> int:
        """Return the number of configurations."""
        return self._plan.most_configurations

    def __getitem__(self, number: int) -> SliceStack:  # type: ignore[override]
        """Return one configuration; an IndexError beyond the last configuration ends a loop."""
        if not 0 <= number < len(self):
            message = f"configuration={number} is out of range: it must be 0 to {len(self) - 1}."
            raise IndexError(message)
        last = self._last
        if last is None or last[0] != number:
            last = self._last = None  # its memory is freed before the next stack is computed
            last = self._last = (number, _stack(self._request, self._plan, number))
        return last[1]


def _stack(request: Request, plan: Plan, configuration: int) -> SliceStack:
    """Return the specimen's slices in one configuration."""
    return SliceStack(
        grid=plan.grid,
        wavelength=request.beam.wavelength_angstrom,
        transmission=_transmission(request, plan, configuration),
        planes=plan.slices.planes,
        thickness=max(plan.thickness, *(request.depths_angstrom or (0.0,))),
        tilt=request.relative_tilt_rad,
    )


class Parts:
    """A specimen that is divided into rectangles. Each rectangle is used as a periodic cell with the atoms that lie in it.

    Parameters
    ----------
    request, plan : Request, Plan
        The request, and its plan with slices and grid of the whole field.
    """

    def __init__(self, request: Request, plan: Plan) -> None:
        self.request, self.plan = request, plan
        self._places: dict[int, np.ndarray] = {}

    def content(self, cut: Rectangle, configuration: int) -> dict[str, np.ndarray]:
        """Return the atoms of a rectangle as plain arrays.

        Positions are relative to the rectangle, rounded to 1e-9 A, and sorted, so equal rectangles have equal content.
        """
        sample, field = self.request.sample, self.plan.grid
        if isinstance(sample, PotentialSlices):
            rows, columns = ((start + np.arange(n)) % whole for start, n, whole in zip(cut.corner, cut.grid.shape, field.shape, strict=True))
            return {"potential": sample.array[:, rows[:, None], columns]}
        places = self._places.get(configuration)
        if places is None:
            places = self._places.setdefault(configuration, positions(self.request, configuration))
        inside = np.round(places[:, :2] - np.array(cut.origin[::-1]), 9)
        if sample.periodic:
            inside = np.round(inside % np.array(field.extent[::-1]), 9)
        kept = np.flatnonzero(((inside >= 0) & (inside < np.array(cut.grid.extent[::-1]))).all(axis=1))
        kept = kept[np.lexsort((inside[kept, 0], inside[kept, 1], sample.numbers[kept], self.plan.slices.index[kept]))]
        found = {"places": inside[kept], "numbers": sample.numbers[kept], "slices": self.plan.slices.index[kept]}
        if self.request.thermal_motion == "damped" and sample.thermal_sigma_angstrom is not None:
            found["sigma"] = sample.thermal_sigma_angstrom[kept]
        return found

    def stack(self, cut: Rectangle, configuration: int) -> SliceStack:
        """Return a rectangle's slices in one configuration."""
        request, plan, found = self.request, self.plan, self.content(cut, configuration)
        interaction = electrons.interaction_constant(request.beam.energy_ev)
        if "potential" in found:
            fine = (_refine(v, request.oversampling) for v in found["potential"])
            transmission = np.stack([potential.transmission(v, interaction, cut.grid) for v in fine])
        else:
            transmission = potential.transmissions(
                found["places"],
                found["numbers"],
                replace(plan.slices, index=found["slices"]),
                cut.grid,
                interaction,
                parametrization=request.parametrization,
                oversampling=request.oversampling,
                sigma=found.get("sigma"),
            )
        return SliceStack(
            grid=cut.grid,
            wavelength=request.beam.wavelength_angstrom,
            transmission=transmission,
            planes=plan.slices.planes,
            thickness=plan.thickness,
            tilt=request.relative_tilt_rad,
        )


def as_slices(request: Request, plan: Plan) -> PotentialSlices:
    """Return the projected potentials of the first configuration on the wave's grid, for use by another solver."""
    sample = request.sample
    if isinstance(sample, PotentialSlices):
        return sample
    at, index = positions(request, 0), plan.slices.index
    sigma = sample.thermal_sigma_angstrom if request.thermal_motion == "damped" else None
    arrays = [
        potential.projected_potential(
            at[inside], sample.numbers[inside], plan.grid, parametrization=request.parametrization, sigma=None if sigma is None else sigma[inside]
        )
        for inside in (index == i for i in range(len(plan.slices.planes)))
    ]
    return PotentialSlices(array=np.stack(arrays), sampling_angstrom=plan.grid.sampling, z_angstrom=plan.slices.planes)


def _transmission(request: Request, plan: Plan, configuration: int) -> np.ndarray:
    interaction = electrons.interaction_constant(request.beam.energy_ev)
    sample = request.sample
    if isinstance(sample, PotentialSlices):
        fine = [_refine(v, request.oversampling) for v in sample.array]
        return np.stack([potential.transmission(v, interaction, plan.grid) for v in fine])
    return potential.transmissions(
        positions(request, configuration),
        sample.numbers,
        plan.slices,
        plan.grid,
        interaction,
        parametrization=request.parametrization,
        oversampling=request.oversampling,
        sigma=sample.thermal_sigma_angstrom if request.phonons == "damped" else None,
    )


def _refine(v: np.ndarray, times: int) -> np.ndarray:
    """Interpolate a periodic array by its Fourier coefficients on a grid that is ``times`` finer."""
    if times == 1:
        return v
    ny, nx = v.shape
    half = scipy.fft.rfft2(v)
    out = np.zeros((times * ny, times * nx // 2 + 1), half.dtype)
    top, bottom = (ny + 1) // 2, ny // 2
    out[:top, : nx // 2 + 1], out[times * ny - bottom :, : nx // 2 + 1] = half[:top], half[top:]
    if ny % 2 == 0:  # a Nyquist coefficient belongs to both frequencies
        out[ny // 2, : nx // 2 + 1] = out[times * ny - ny // 2, : nx // 2 + 1] = 0.5 * half[ny // 2]
    if nx % 2 == 0:
        out[:, nx // 2] *= 0.5
    return scipy.fft.irfft2(out * times**2, s=(times * ny, times * nx)).astype(np.float32)
