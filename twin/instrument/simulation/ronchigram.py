"""Ronchigrams: the far field of one stationary probe behind a film, by a phase grating or exactly by multislice."""

import hashlib
import itertools
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.fft
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import (
    costs,
    diffraction_patterns,
    discretisation,
    memory,
    partial_coherence,
    plan,
    results,
    serialisation,
    slice_stacks,
)
from stemtwin.twin.instrument.simulation.engines import multislice
from stemtwin.twin.instrument.simulation.engines.registry import REFERENCE
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations, blur_radius
from stemtwin.twin.physics.engine.operator import diffraction as engine
from stemtwin.twin.physics.engine.operator import ronchigram_kernel
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.physics.potential import Slices
from stemtwin.twin.registry import Registry
from stemtwin.twin.samples.sample import Sample

FILMS = 3
"""Number of films that the process holds."""
UNCHECKED = "phase grating: not compared with multislice (check=False)"
MOST_POINTS = 2**27
"""Largest number of points of a window."""


@dataclass(slots=True, kw_only=True, eq=False)
class PhaseGrating:
    """A film that is prepared for Ronchigrams with one camera and one aperture.

    It contains the transmission functions of one cell for each configuration, the window of the probe (``lens``), and the
    measured error.
    """

    request: Request
    plan: plan.Plan
    camera: PixelatedDetector
    lens: ronchigram_kernel.Lens
    transmissions: list[np.ndarray]
    planes: np.ndarray
    error: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pattern(self, beam: Beam, position: tuple[float, float], tolerance: float) -> tuple[np.ndarray, int]:
        """Return the pattern averaged over phonons, focal spread and source, float32, and the number of averaged coherent patterns."""
        (focus, focus_weights), (source, source_weights) = partial_coherence.nodes(beam, tolerance)
        total, count = np.zeros(self.camera.shape_read, np.float32), 0
        states = itertools.product(zip(focus, focus_weights, strict=True), *[list(zip(source, source_weights, strict=True))] * 2)
        for (df, w), (dy, wy), (dx, wx) in states:
            aberrations = replace(beam.aberrations, C10=beam.aberrations.C10 + float(df))
            for transmissions in self.transmissions:
                at = position[0] + float(dx), position[1] + float(dy)
                total += np.float32(w * wy * wx / len(self.transmissions)) * self.lens.pattern(aberrations, at, transmissions, self.planes)
                count += 1
        return total, count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlicedFilm:
    """A film in the form that an engine of Ronchigrams needs.

    Parameters
    ----------
    request : Request
        The request with the potential that is imaged.
    grid : Grid
        Grid of one cell on which transmission functions are computed.
    slices : Slices
        Slices of the film.
    points : tuple of int, optional
        Number of points (ny, nx) per cell to which computed transmission functions are reduced; None: they are not reduced.
    limit : float
        Band limit of the wave between planes, 1/A.
    """

    request: Request
    grid: Grid
    slices: Slices
    points: tuple[int, int] | None = None
    limit: float = math.inf


RonchigramEngine = Callable[[Request, float], SlicedFilm]
"""Function that slices a film for a camera whose farthest edge is at a given angle from the beam, rad."""

RONCHIGRAM_ENGINES: Registry[RonchigramEngine] = Registry("engine of Ronchigrams")
"""Engines of Ronchigrams by name; the tag ``reference`` marks the engine for comparison."""

GRATING = "grating"

_FILMS: OrderedDict[str, PhaseGrating] = OrderedDict()
_LOCK = threading.Lock()


def ronchigram(
    sample: Sample | PotentialSlices,
    beam: Beam,
    *,
    position_angstrom: tuple[float, float] = (0.0, 0.0),
    camera: PixelatedDetector | str = "ronchigram",
    engine: str = GRATING,
    check: bool = True,
    phonons: int | str = "static",
    coherence_tolerance: float = 1e-3,
    **settings: Any,
) -> xr.Dataset:
    """Return the Ronchigram, the diffraction pattern of one stationary and usually defocused probe.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The film, crystalline or amorphous.
    beam : Beam
        The beam, with all its aberrations. Focal spread and source size are included by an average over coherent
        patterns, and they determine the number of these patterns.
    position_angstrom : tuple of float
        Position (x, y) of the probe, A.
    camera : PixelatedDetector or str
        The camera; by default 512 x 512 pixels up to 1.25 times the convergence semi-angle.
    engine : str
        ``"grating"`` projects the whole film into one plane at the mean depth of its atoms; ``"multislice"`` is exact.
    check : bool
        Whether the grating is compared with multislice at the first pattern of each film. The result states the difference.
    phonons : int or str
        ``"static"``, ``"damped"``, ``"auto"``, or a number of frozen-phonon configurations.
    coherence_tolerance : float
        Largest error in the average over source and focus, for the interference term that varies most rapidly with them.
    **settings
        seed, slice_thickness_angstrom, parametrization, oversampling and tilt_mrad as in ``Request``.

    Returns
    -------
    xarray.Dataset
        The camera's variable, float32, dims (ky, kx), mrad: the fraction of the incident beam in each pixel.

    Raises
    ------
    SettingsError
        A setting is invalid, or the window exceeds the memory.
    SamplingError
        A specimen that is not periodic is smaller than the probe, or a potential is sampled too coarsely.

    Examples
    --------
    >>> import stemtwin as st
    >>> film = st.load_sample("carbon-amorphous", size_angstrom=(60, 60), thickness_angstrom=20)
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=20, aberrations=st.Aberrations(C10=200.0))
    >>> st.ronchigram(film, beam, check=False).ronchigram.dims
    ('ky', 'kx')
    """
    position = checks.pair("position_angstrom", position_angstrom, "A")
    tolerance = checks.number("coherence_tolerance", coherence_tolerance, "of an interference term", low=1e-6, high=0.1)
    request = ronchigram_request(sample, beam, position, camera, phonons, settings)
    return _computed(request, engine, position, tolerance, check=check)


def _computed(request: Request, engine: str, position: tuple[float, float], tolerance: float, *, check: bool) -> xr.Dataset:
    """Return the Ronchigram of a request; the other parameters and the errors are those of :func:`ronchigram`."""
    if engine not in RONCHIGRAM_ENGINES:
        message = f"There is no engine named {engine!r} for Ronchigrams. Use one of {', '.join(RONCHIGRAM_ENGINES)}."
        raise SettingsError(message)
    film, beam = _film(request, engine), request.beam
    if check and REFERENCE not in RONCHIGRAM_ENGINES.tags(engine):
        with film.lock:
            film.error = film.error or _measured_error(film, beam, position)
    values, count = film.pattern(beam, position, tolerance)
    return _dataset(film, request, engine, position, values, count)


def explain_ronchigram(
    sample: Sample | PotentialSlices,
    beam: Beam,
    *,
    position_angstrom: tuple[float, float] = (0.0, 0.0),
    camera: PixelatedDetector | str = "ronchigram",
    phonons: int | str = "static",
    **settings: Any,
) -> plan.Plan:
    """Return the plan of a call of :func:`ronchigram` with ``engine="grating"`` and ``check=True`` without computing the pattern.

    Parameters and errors are those of :func:`ronchigram`.
    """
    request = ronchigram_request(sample, beam, position_angstrom, camera, phonons, settings)
    found, cells = diffraction_patterns.the_camera(request), cells_of(request, diffraction_patterns.the_camera(request))
    exact = RONCHIGRAM_ENGINES[RONCHIGRAM_ENGINES.names(REFERENCE)[0]](request, camera_edge(request, found))
    shape = exact.grid.shape[0] * cells[0], exact.grid.shape[1] * cells[1]
    slices, count = len(exact.slices.planes), request.configurations
    needed = _check_memory(request, exact.grid, shape, exact.grid.shape, slices, found)
    focus, source = partial_coherence.nodes(beam, 1e-3)
    patterns = count * len(focus[0]) * len(source[0]) ** 2
    made = 2 * costs.specimen_seconds(request, exact.grid, slices)
    return plan.Plan(
        engine=GRATING, reason=f"the film in one plane, {patterns} coherent patterns", grid=exact.grid, slices=exact.slices,
        thickness=request.sample.thickness_angstrom, detectors=(disc_of(request, found),), configurations=count, blocks=cells, beams=0,
        waves=0, memory_bytes=needed, seconds=costs.FIRST_SECONDS + made + (patterns + count * slices) * costs.step_seconds(math.prod(shape)),
        exactness="phase grating; it is compared with multislice, and the result states the difference",
    )  # fmt: skip


def clear() -> None:
    """Remove all films from the cache of the process."""
    with _LOCK:
        _FILMS.clear()


def ronchigram_request(sample: Any, beam: Any, position: tuple[float, float], camera: Any, phonons: int | str, settings: dict[str, Any]) -> Request:
    """Return the request of a Ronchigram; parameters and errors are those of :func:`ronchigram`."""
    meaningless = sorted({"scan", "detectors", "grid", "sampling_angstrom", "antialias", "tolerance", "interpolation", "blocks"} & set(settings))
    if meaningless:
        message = f"A Ronchigram has no {', '.join(meaningless)}: its grid follows from the camera. Omit these settings."
        raise SettingsError(message)
    scan = PathScan(positions_angstrom=np.array([position]))
    try:
        request = Request(sample=sample, beam=beam, scan=scan, detectors=(camera,), engine=multislice.NAME, phonons=phonons, **settings)
    except TypeError as error:
        message = f"This Ronchigram cannot be created: {str(error).removeprefix('Request.__init__() ')}."
        raise SettingsError(message) from None
    if not diffraction_patterns.has_camera(request):
        message = f"camera={camera!r} is not a camera. Use a PixelatedDetector, 'ronchigram' or 'pixelated'."
        raise SettingsError(message)
    return request


# ---- films ---------------------------------------------------------------------------------------------------------------------------


def _film(request: Request, kind: str) -> PhaseGrating:
    """Return the film of a request, which is computed unless the process holds it."""
    camera = diffraction_patterns.the_camera(request)
    cells = cells_of(request, camera)
    key = _key(request, camera, cells, kind)
    with _LOCK:
        if key in _FILMS:
            _FILMS.move_to_end(key)
            return _FILMS[key]
    film = make(request, camera, cells, kind)
    with _LOCK:
        _FILMS[key] = film
        while len(_FILMS) > FILMS:
            _FILMS.popitem(last=False)
    return film


def _key(request: Request, camera: PixelatedDetector, cells: tuple[int, int], kind: str) -> str:
    sample = request.sample
    if isinstance(sample, PotentialSlices):
        content = hashlib.sha256(sample.array.tobytes() + sample.z_angstrom.tobytes()).hexdigest()
        content += str(sample.sampling_angstrom)
    else:
        content = sample.digest
    beam = request.beam
    described = [
        content, beam.energy_ev, beam.semiangle_mrad, request.relative_tilt_rad, beam.tilt_rad, serialisation.detector_to_dict(camera), cells, kind,
        request.thermal_motion, request.configurations, request.seed, request.slice_thickness_angstrom, request.parametrization, request.oversampling,
    ]  # fmt: skip
    return json.dumps(described)


def cells_of(request: Request, camera: PixelatedDetector) -> tuple[int, int]:
    """Return the number of cells (y, x) of a window that resolves the camera's pixels and contains the probe at all depths."""
    beam, size = request.beam, request.sample.size_angstrom
    aberrations, thickness = beam.aberrations, request.sample.thickness_angstrom
    through = Aberrations.from_cartesian(**{**aberrations.cartesian(), "C10": aberrations.C10 + thickness})
    radius = max(blur_radius(state, beam.semiangle_rad) for state in (aberrations, through))
    probe = discretisation.WINDOW_MARGIN + 2 * radius
    if not getattr(request.sample, "periodic", True):
        if probe > min(size):
            message = (
                f"The probe needs a window of {probe:.1f} A, but the specimen is not periodic and its cell is {size[0]:.1f} x {size[1]:.1f} A. "
                "Use a larger cell (size_angstrom) or smaller aberrations."
            )
            raise SamplingError(message)
        return 1, 1
    window = max(probe, beam.wavelength_angstrom / (camera.pixel_mrad * 1e-3))
    return tuple(_friendly(math.ceil(window / side - 1e-9)) for side in size)  # type: ignore[return-value]


def _friendly(count: int) -> int:
    """Return the next larger number of cells for which Fourier transforms are fast."""
    return scipy.fft.next_fast_len(max(1, count))


@RONCHIGRAM_ENGINES.register(GRATING)
def _in_one_plane(request: Request, edge: float) -> SlicedFilm:
    """Return the film in one plane, at the mean depth of its atoms.

    Its transmission function holds all spatial frequencies between one side of the aperture and the opposite edge of the camera.
    """
    alpha, wavelength, sample = request.beam.semiangle_rad, request.beam.wavelength_angstrom, request.sample
    slices, _ = discretisation.cut(request)
    grid = fine_grid(request, edge + alpha)
    mean = float(slices.planes.mean()) if isinstance(sample, PotentialSlices) else float(sample.positions_angstrom[:, 2].mean())
    flat = Slices(index=np.zeros_like(slices.index, dtype=int), planes=np.array([mean]), edges=np.empty(0))
    points = _cell_points(2 * (edge + alpha) / wavelength, grid)
    return SlicedFilm(request=_flattened(request, mean), grid=grid, slices=flat, points=points)


@RONCHIGRAM_ENGINES.register(multislice.NAME, REFERENCE)
def _in_slices(request: Request, edge: float) -> SlicedFilm:
    """Return the film in its own slices, on a grid with the usual margin beyond the camera."""
    slices, _ = discretisation.cut(request)
    grid = fine_grid(request, max(edge + request.beam.semiangle_rad, discretisation.LEAST_GRID_ANGLE * 1e-3))
    return SlicedFilm(request=request, grid=grid, slices=slices, limit=grid.band_limit)


def camera_edge(request: Request, camera: PixelatedDetector) -> float:
    """Return an upper limit of the angle between the tilted beam and the middle of an edge of a camera, rad.

    The camera is centred on the optical axis. The limit is the beam tilt plus half the angle that the camera's longer side covers.
    """
    return 0.5e-3 * camera.pixel_mrad * max(camera.shape_read) + math.hypot(*request.beam.tilt_rad)


def disc_of(request: Request, camera: PixelatedDetector) -> AnnularDetector:
    """Return the disc-shaped detector whose radius is the angle :func:`camera_edge`."""
    return AnnularDetector(inner_mrad=0, outer_mrad=camera_edge(request, camera) * 1e3, name=camera.name)


def make(request: Request, camera: PixelatedDetector, cells: tuple[int, int], kind: str) -> PhaseGrating:
    """Return the film of a request, sliced for the Ronchigram engine ``kind``, in a window of ``cells`` (y, x)."""
    return make_film(request, camera, cells, RONCHIGRAM_ENGINES[kind](request, camera_edge(request, camera)), kind)


def make_film(request: Request, camera: PixelatedDetector, cells: tuple[int, int], cut: SlicedFilm, kind: str) -> PhaseGrating:
    """Return a sliced film with its transmission functions, window and camera.

    Parameters
    ----------
    request : Request
        Request from :func:`ronchigram_request`.
    camera : PixelatedDetector
        The camera.
    cells : tuple of int
        Number of cells (y, x) of the window.
    cut : SlicedFilm
        Slices and grid of the film.
    kind : str
        Name of the engine.

    Raises
    ------
    SettingsError
        The window exceeds the memory.
    """
    alpha, wavelength, size = request.beam.semiangle_rad, request.beam.wavelength_angstrom, request.sample.size_angstrom
    cell, planes = cut.points or cut.grid.shape, cut.slices.planes
    shape = (cell[0] * cells[0], cell[1] * cells[1])
    _check_memory(request, cut.grid, shape, cell, len(planes), camera)
    window = Grid(shape=shape, extent=(size[0] * cells[0], size[1] * cells[1]))
    pitch = camera.pixel_mrad * 1e-3 / wavelength
    ty, tx = request.beam.tilt_rad
    lens = ronchigram_kernel.make_lens(
        window,
        cells,
        wavelength,
        alpha,
        engine.Camera(shape=camera.shape_read, pitch=(pitch, pitch), beam=(ty / wavelength, tx / wavelength)),
        limit=cut.limit,
        tilt=request.relative_tilt_rad,
    )
    made = plan.Plan(
        engine=kind, reason="requested", grid=cut.grid, slices=cut.slices, thickness=request.sample.thickness_angstrom,
        detectors=(disc_of(request, camera),),
        configurations=request.configurations, blocks=cells, beams=int(np.count_nonzero(lens.covered)), waves=request.configurations,
        memory_bytes=lens.nbytes, seconds=0.0,
    )  # fmt: skip
    stacks = [
        stack.transmission if cut.points is None else ronchigram_kernel.crop(stack.transmission, cut.points)
        for stack in slice_stacks.stacks(cut.request, made)
    ]
    return PhaseGrating(request=request, plan=made, camera=camera, lens=lens, transmissions=stacks, planes=planes)


def _flattened(request: Request, depth: float) -> Request:
    """Return the request with the slices of a potential added up to one."""
    if not isinstance(request.sample, PotentialSlices):
        return request
    potential = request.sample
    flat = PotentialSlices(array=potential.array.sum(axis=0)[None], sampling_angstrom=potential.sampling_angstrom, z_angstrom=np.array([depth]))
    return replace(request, sample=flat)


def fine_grid(request: Request, angle: float) -> Grid:
    """Return the grid of the transmission functions. It covers one cell of the sample, and its band limit is at least ``angle``, rad."""
    size, wavelength = request.sample.size_angstrom, request.beam.wavelength_angstrom
    if isinstance(request.sample, PotentialSlices):
        grid = Grid(shape=request.sample.array.shape[1:], extent=size)  # type: ignore[arg-type]
        if grid.max_angle(wavelength) < angle:
            message = (
                f"A Ronchigram needs angles to {angle * 1e3:.1f} mrad, but the potential's grid ends at {grid.max_angle(wavelength) * 1e3:.1f} mrad. "
                f"Give a potential with points at most {wavelength / (3 * angle):.3g} A apart, or lower the camera's angle."
            )
            raise SamplingError(message)
        return grid
    step = wavelength * (1 - 1e-5) / (3 * angle)
    return Grid(shape=tuple(fast_length(max(16, math.ceil(side / step))) for side in size), extent=size)  # type: ignore[arg-type]


def _cell_points(width: float, fine: Grid) -> tuple[int, int]:
    """Return the number of points per cell for a range of spatial frequencies of the given width, 1/A."""
    return tuple(min(n, fast_length(max(8, math.ceil(width * side) + 2))) for n, side in zip(fine.shape, fine.extent, strict=True))  # type: ignore[return-value]


def _check_memory(request: Request, fine: Grid, shape: tuple[int, int], cell: tuple[int, int], slices: int, camera: PixelatedDetector) -> int:
    """Return the memory of a film, bytes; raise SettingsError if it exceeds the machine's."""
    points = math.prod(shape)
    needed = memory.program() + memory.of_specimen(fine, slices, request.oversampling, request.configurations)
    needed += 8 * request.configurations * slices * math.prod(cell) + 40 * points + 300 * math.prod(camera.shape_read)
    if points > MOST_POINTS or not memory.fits(needed):
        message = (
            f"The window of this Ronchigram has {shape[0]} x {shape[1]} points and needs about {needed / 2**30:.1f} GiB, "
            "more than is available. Use smaller aberrations, larger camera pixels or a smaller outer_mrad of the camera."
        )
        raise SettingsError(message)
    return needed


# ---- measured error and result -------------------------------------------------------------------------------------------------------


def _measured_error(film: PhaseGrating, beam: Beam, position: tuple[float, float]) -> str:
    """Return the error of a grating as a sentence, compared with multislice of the coherent beam.

    The rms and the largest difference over the pixels of the bright-field disc are divided by the mean.
    """
    coherent = replace(beam, source_size_angstrom=0.0, focal_spread_angstrom=0.0)
    exact, _ = make(film.request, film.camera, film.lens.cells, RONCHIGRAM_ENGINES.names(REFERENCE)[0]).pattern(coherent, position, 1e-3)
    ours, _ = film.pattern(coherent, position, 1e-3)
    angles = diffraction_patterns.angles(film.camera)
    disc = np.hypot(angles["ky"][1][:, None] - beam.tilt_rad[0] * 1e3, angles["kx"][1] - beam.tilt_rad[1] * 1e3) < beam.semiangle_mrad
    difference, mean = (ours - exact)[disc], float(exact[disc].mean())
    rms, worst = float(np.sqrt((difference**2).mean())) / mean, float(np.abs(difference).max()) / mean
    return f"phase grating: in the disc rms {rms:.2e}, largest {worst:.2e} of the mean, relative to multislice, at C10={beam.aberrations.C10:g} A"


def _dataset(film: PhaseGrating, request: Request, kind: str, position: tuple[float, float], values: np.ndarray, count: int) -> xr.Dataset:
    exactness = f"reference: {kind}" if REFERENCE in RONCHIGRAM_ENGINES.tags(kind) else film.error or UNCHECKED
    attrs = results.describe(request, film.plan, exactness)
    settings = json.loads(attrs["stemtwin_settings"])
    settings["detectors"] = [serialisation.detector_to_dict(film.camera)]
    window = film.lens.grid
    settings |= {"position_angstrom": position, "window_angstrom": window.extent, "window_points": window.shape, "patterns": count}
    attrs |= {"title": "Ronchigram", "stemtwin_settings": json.dumps(settings), "patterns_averaged": count}
    here = {
        "units": "1",
        "long_name": "fraction of the incident beam in each pixel",
        "energy_ev": request.beam.energy_ev,
        "semiangle_mrad": request.beam.semiangle_mrad,
        "pixel_mrad": film.camera.pixel_mrad,
        "resolved_mrad": max(window.reciprocal_sampling) * request.beam.wavelength_angstrom * 1e3,
    }
    return xr.Dataset({film.camera.name: (("ky", "kx"), values, here)}, diffraction_patterns.angles(film.camera), attrs)
