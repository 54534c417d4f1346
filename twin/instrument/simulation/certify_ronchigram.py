"""Comparison of two solvers on one Ronchigram, and the distance of the result from numerical convergence.

Intensities of a coherent beam are compared in those pixels of the camera that lie in the bright-field disc. The reference is our
multislice of the whole window of the probe. The following results are compared with it: those of abTEM on the same grid (see
:mod:`stemtwin.twin.instrument.simulation.certify`), that of the phase grating of
:func:`stemtwin.twin.instrument.simulation.ronchigram.ronchigram`, and those of our multislice on a finer grid and with
other slices. The effect of thermal motion is computed with the phase grating, from frozen-phonon configurations.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import costs, diffraction_patterns, ronchigram, slice_stacks
from stemtwin.twin.instrument.simulation.certify import FINER, PLACED, Certificate, ComparisonRow, repeated
from stemtwin.twin.instrument.simulation.discretisation import cut
from stemtwin.twin.instrument.simulation.engines import abtem, multislice
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.ronchigram import GRATING, PhaseGrating, SlicedFilm
from stemtwin.twin.physics.engine.operator.ronchigram_kernel import Lens

CONFIGURATIONS = 8
"""Number of frozen-phonon configurations of the phase grating."""
SECONDS_PER_POINT = 1.6e-8
"""Typical time of one step of one wave per point of its window on one core, s: two Fourier transforms and two products."""
ABTEM_TIMES = 3.0
"""Time of abTEM over that of stemtwin for the same wave."""
FLAT, MOVING = "ours, the film as one phase grating", "phase gratings of atoms in motion, atoms at rest"
"""Comparisons that only Ronchigrams have."""
MOTION = (
    f"the atoms are at rest: thermal motion is the difference of the mean of {CONFIGURATIONS} frozen-phonon configurations from that, and "
    "phonons is the standard error of this mean, root mean square over the pixels, both of phase gratings"
)
"""Note of the comparisons with thermal motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shot:
    """A Ronchigram to compare: its request with a coherent beam, camera, probe position, window and pixels."""

    request: Request
    camera: PixelatedDetector
    position: tuple[float, float]
    cells: tuple[int, int]
    inside: np.ndarray

    def film(self, *, finer: float = 1.0, **settings: object) -> PhaseGrating:
        """Return the film in its slices, on a grid that contains the scattered beams up to the far edge of the camera."""
        request = replace(self.request, **settings)
        grid = ronchigram.fine_grid(request, finer * self.angle)
        sliced = SlicedFilm(request=request, grid=grid, slices=cut(request)[0], limit=grid.band_limit)
        return ronchigram.make_film(request, self.camera, self.cells, sliced, multislice.NAME)

    @property
    def angle(self) -> float:
        """Angle between one side of the aperture and the far edge of the camera, rad."""
        return ronchigram.camera_edge(self.request, self.camera) + self.request.beam.semiangle_rad

    def pixels(self, film: PhaseGrating) -> np.ndarray:
        """Return the pixels of a film's pattern in the bright-field disc, float64."""
        return film.pattern(self.request.beam, self.position, 1e-3)[0][self.inside].astype(float)


def certify_ronchigram(request: Request, *, progress: Callable[[str], None] | None = None) -> Certificate:
    """Compare our multislice with abTEM's on a Ronchigram of atoms at rest, and check the numerical convergence of our result.

    Parameters
    ----------
    request : Request
        Request from :func:`stemtwin.twin.instrument.simulation.ronchigram.ronchigram_request`; the beam is taken as coherent.
    progress : callable, optional
        Called with the description of each step as it begins.

    Raises
    ------
    StemtwinError
        A solver cannot compute the Ronchigram.
    """
    say, shot = progress or (lambda _: None), _shot(request)
    say("multislice of the window")
    film = shot.film()
    exact, lines, notes = shot.pixels(film), [], [PLACED]
    slices, grid = film.plan.slices, film.lens.grid

    def line(what: str, other: np.ndarray, ours: np.ndarray = exact) -> None:
        lines.append(_line(shot.camera.name, what, ours, other))

    say("multislice with pixel masks")
    bare = shot.film(oversampling=1)
    bare.lens = _with_pixel_masks(bare.lens)
    masks = shot.pixels(bare)
    for what, same_slices in (("abTEM, our slices, same grid", True), ("abTEM, its own potential, same grid", False)):
        say(what)
        line(what, _by_abtem(shot, bare, same_slices=same_slices), masks)
    del film, bare
    say("convergence: sampling")
    line(f"ours, {FINER:g} times finer grid", shot.pixels(shot.film(finer=FINER)))
    say("convergence: slices")
    if (other := _other_slices(shot, slices.planes)) is not None:
        line(other[0], shot.pixels(shot.film(slice_thickness_angstrom=other[1])))
    say("phase grating")
    still = shot.pixels(ronchigram.make(shot.request, shot.camera, shot.cells, GRATING))
    line(FLAT, still)
    error = {}
    if getattr(request.sample, "thermal_sigma_angstrom", None) is not None:
        say(f"phase gratings of {CONFIGURATIONS} configurations")
        moving = _moving(shot)
        line(MOVING, moving.mean(axis=0), still)
        error[shot.camera.name] = float(np.sqrt((moving.var(axis=0, ddof=1) / CONFIGURATIONS).mean()) / still.mean())
        notes.append(MOTION)
    return Certificate(
        points=int(shot.inside.sum()), grid=grid.shape, slices=len(slices.planes), lines=tuple(lines), standard_error=error, notes=tuple(notes)
    )


def seconds(request: Request) -> float:
    """Return the estimated time of :func:`certify_ronchigram` on one core, s.

    The estimate assumes that abTEM takes three times as long as stemtwin for the same wave.
    """
    shot = _shot(request)
    points = math.prod(ronchigram.fine_grid(shot.request, shot.angle).shape) * math.prod(shot.cells)
    steps = len(cut(shot.request)[0].planes) * (2 + FINER**2 + 2 + 2 * ABTEM_TIMES) + CONFIGURATIONS + 1
    return costs.FIRST_SECONDS + steps * points * SECONDS_PER_POINT


def _shot(request: Request) -> _Shot:
    """Return the Ronchigram of a request with a coherent beam and atoms at rest."""
    coherent = replace(request.beam, source_size_angstrom=0.0, focal_spread_angstrom=0.0)
    asked, camera = replace(request, beam=coherent, phonons="static"), diffraction_patterns.the_camera(request)
    angles = diffraction_patterns.angles(camera)
    ty, tx = (1e3 * tilt for tilt in coherent.tilt_rad)
    inside = np.hypot(angles["ky"][1][:, None] - ty, angles["kx"][1] - tx) < coherent.semiangle_mrad
    x, y = request.scan.points()[0].tolist()
    return _Shot(request=asked, camera=camera, position=(x, y), cells=ronchigram.cells_of(asked, camera), inside=inside)


def _with_pixel_masks(lens: Lens) -> Lens:
    """Return the lens with an aperture whose beams all have the same amplitude, as in abTEM."""
    ky, kx = lens.grid.ky[lens.rows][:, None], lens.grid.kx[lens.columns]
    open_ = np.hypot(ky, kx) <= lens.semiangle / lens.wavelength
    return replace(lens, covered=(open_ / np.sqrt(open_.sum())).astype(np.float32))


def _by_abtem(shot: _Shot, film: PhaseGrating, *, same_slices: bool) -> np.ndarray:
    """Return the pixels computed by abTEM on the film's window, with the film's slices or with abTEM's own potential."""
    ring = ronchigram.disc_of(shot.request, shot.camera)
    one = replace(film.request, detectors=(ring,), antialias=False, oversampling=1, grid=film.plan.grid.shape)
    many = one.sample if isinstance(one.sample, PotentialSlices) else repeated(one.sample, shot.cells)
    whole = replace(one, sample=many, grid=film.lens.grid.shape)
    if same_slices:
        part = slice_stacks.as_slices(one, film.plan)
        tiled = np.tile(part.array, (1, *shot.cells))
        whole = replace(whole, sample=PotentialSlices(array=tiled, sampling_angstrom=part.sampling_angstrom, z_angstrom=part.z_angstrom), grid=None)
    whole = replace(whole, engine=abtem.NAME)
    (pattern,) = next(abtem.patterns(whole, make_plan(whole), 0, np.array([shot.position]), shot.request.beam.aberrations))
    lens = film.lens
    seen = pattern[np.ix_(lens.seen_rows, lens.seen_columns)]
    return (lens.shares @ seen.ravel()).reshape(lens.camera.shape)[shot.inside]


def _other_slices(shot: _Shot, planes: np.ndarray) -> tuple[str, float] | None:
    """Return the description and the thickness [A] of slices half as thick, or twice as thick for atomic planes; None if all are identical."""
    sample = shot.request.sample
    if len(planes) < 2 or isinstance(sample, PotentialSlices):
        return None
    steps = np.diff(planes)
    for what, wanted in (("ours, slices half as thick", float(steps.min()) / 2), ("ours, slices twice as thick", 2 * float(steps.max()))):
        thick = min(wanted, float(sample.thickness_angstrom))
        if not np.array_equal(cut(replace(shot.request, slice_thickness_angstrom=thick))[0].planes, planes):
            return what, thick
    return None


def _moving(shot: _Shot) -> np.ndarray:
    """Return the pixels of phase gratings of the frozen-phonon configurations, shape (configurations, pixels)."""
    asked = replace(shot.request, phonons=CONFIGURATIONS)
    film = ronchigram.make(asked, shot.camera, shot.cells, GRATING)
    return np.stack([shot.pixels(replace(film, transmissions=[one])) for one in film.transmissions])


def _line(name: str, what: str, ours: np.ndarray, other: np.ndarray) -> ComparisonRow:
    """Return one comparison over the pixels."""
    difference, mean = other - ours, float(ours.mean())
    return ComparisonRow(
        detector=name,
        what=what,
        ours=mean,
        other=float(other.mean()),
        largest=float(np.abs(difference).max()) / mean,
        rms=float(np.sqrt((difference**2).mean())) / mean,
    )
