"""Recording of frames with imperfect instruments: conditions, detector readings, and apparent positions of columns.

A generator that uses this module needs the settings ``image_shape``, ``focus_error_angstrom``, ``C12_angstrom``,
``current_pa``, ``dwell_time_us``, ``labels``, ``phonon_configurations``, ``instruments`` and ``materials`` in the card. Each
material needs ``name``, ``instruments``, ``size_angstrom``, ``field_of_view_angstrom``, ``dose_e_per_angstrom2`` and
``perfect``.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from stemtwin.datasets import dose as doses
from stemtwin.datasets.cards import Card
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.kinds import CardModel, Range
from stemtwin.datasets.truth import frame_columns

if TYPE_CHECKING:
    from stemtwin.twin.instrument.hardware.profiles import Profile
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.samples.columns import Columns
    from stemtwin.twin.samples.sample import Sample

DETECTOR = "haadf"
SMOOTH_ANGSTROM = 0.4
"""Standard deviation (A) of the Gaussian with which probe displacements around a column are averaged.

It is close to the standard deviation of the column's image."""
SHIFT_SMOOTH_ANGSTROM, LARGEST_SHIFT = 0.3, 0.6
"""Standard deviation of the Gaussian filter of an image before its shift is determined, and the largest shift, A."""
MERGED_ANGSTROM = 0.7
"""Largest projected distance (A) of neighbouring atoms that count as one column; no instrument of the cards resolves it."""
OUTSIDE_PX = 24
"""Margin around the frame from which scan distortion may move columns into it, px."""
DIGITS = 9
"""Number of decimals of positions in A; the rounding removes differences between machines in the last bits."""
STRAY_ANGSTROM = 40.0
"""Drift of C10 in either direction that the width of the probe window allows for, A."""


class SlowScan(CardModel):
    """Ranges of dwell time (us) and current (pA) for an instrument whose source is too large at the card's usual currents."""

    dwell_time_us: Range
    current_pa: Range


class Imaged(Protocol):
    """Protocol with the properties that a generator's specimen needs for the recording of its frames."""

    @property
    def structure_seed(self) -> int:
        """Seed of the specimen."""
        ...

    @property
    def material(self) -> Any:
        """Material of the specimen, as an entry of ``materials`` in the card."""
        ...

    @property
    def instrument(self) -> "FrameInstrument":
        """Instrument of the frames."""
        ...

    @property
    def microscope_seed(self) -> int:
        """Seed of the microscope."""
        ...

    def sample(self) -> "Sample":
        """Return the sample with the specimen's atoms."""
        ...


class FrameInstrument(CardModel):
    """Instrument of a card: a profile, with its camera length, its C10 of best focus, and an engine for imperfect crystals."""

    profile: str
    camera_length_mm: Annotated[float, Field(gt=0)]
    focus_C10_angstrom: float = 0.0  # noqa: N815 - Krivanek's notation
    engine: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check that the profile and the engine exist."""
        from stemtwin.twin.instrument.hardware.profiles import PROFILES
        from stemtwin.twin.instrument.simulation.engines.registry import ENGINES

        for what, name, known in (("instrument profile", self.profile, PROFILES), ("engine", self.engine, ENGINES)):
            if name not in known:
                message = f"{name!r} is not a known {what}; give one of {', '.join(known)}"
                raise ValueError(message)
        return self


def check_names(where: str, names: Sequence[str], known: dict[str, Any]) -> None:
    """Raise ValueError if a name is not a key of ``known``."""
    for name in names:
        if name not in known:
            message = f"{where} names {name!r}, which is not among {sorted(known)}"
            raise ValueError(message)


def profile_of(instrument: FrameInstrument) -> "Profile":
    """Return the instrument profile of a card's instrument."""
    from stemtwin.twin.instrument.hardware.profiles import find_profile

    return find_profile(instrument.profile)


def largest_step(instrument: FrameInstrument) -> float:
    """Return the largest scan step without aliasing, wavelength / (4 convergence semi-angle), A."""
    from stemtwin.twin.physics.electrons import wavelength

    profile = profile_of(instrument)
    return float(wavelength(profile.energy_ev)) / (4 * profile.semiangle_mrad * 1e-3)


def dwell_times(settings: Any, instrument: FrameInstrument, dose_e_per_angstrom2: float, field_of_view_angstrom: float) -> tuple[float, float]:
    """Return the shortest and longest dwell time [us] for a dose [e-/A^2] on a square field of view [A].

    The probe current lies in the instrument's range; see :func:`stemtwin.datasets.dose.dwell_times`.
    """
    given = settings.slow[instrument.profile] if instrument.profile in getattr(settings, "slow", ()) else settings
    pixel = field_of_view_angstrom / settings.image_shape[1]
    return doses.dwell_times(dose_e_per_angstrom2, pixel, dwell_time_us=given.dwell_time_us, current_pa=given.current_pa)


def check_recording(settings: Any) -> None:
    """Raise ValueError if an instrument is unknown, a dose is not possible, or a raster aliases the image."""
    for material in settings.materials:
        check_names(f"material {material.name!r}", material.instruments, settings.instruments)
        step = material.field_of_view_angstrom[1] / min(settings.image_shape)
        for name in material.instruments:
            most = largest_step(settings.instruments[name])
            if step > most:
                message = (
                    f"material {material.name!r} on {name!r}: scan steps of {step:.3f} A exceed {most:.3f} A, above which the image is aliased; "
                    "give a smaller field of view"
                )
                raise ValueError(message)
        for dose, field, name in itertools.product(material.dose_e_per_angstrom2, material.field_of_view_angstrom, material.instruments):
            low, high = dwell_times(settings, settings.instruments[name], dose, field)
            if low > high:
                message = f"a dose of {dose:g} e-/A^2 on a field of view of {field:g} A needs a dwell time or current outside the card's ranges"
                raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCondition:
    """Conditions of one frame.

    Parameters
    ----------
    seed : int
        Seed with which the conditions were drawn.
    C10_angstrom, focus_error_angstrom : float
        Commanded C10, and its deviation from the C10 of best focus, A.
    C12_angstrom, phi12_rad : float
        Magnitude (A) and azimuth (rad) of the two-fold astigmatism.
    scan : RasterScan
        Commanded raster.
    dose_e_per_angstrom2, dwell_time_us, current_pa : float
        Dose [e-/A^2], dwell time per pixel [us] and probe current [pA]; any two of them determine the third.
    labels : int
        Number of labelled images of the frame's instrument that a participant is allowed to use for the answer to this frame.
    """

    seed: int
    C10_angstrom: float
    focus_error_angstrom: float
    C12_angstrom: float
    phi12_rad: float
    scan: "RasterScan"
    dose_e_per_angstrom2: float
    dwell_time_us: float
    current_pa: float
    labels: int


def draw_condition(card: Card, specimen: Imaged, image: int) -> FrameCondition:
    """Return the conditions of the frame with number ``image`` of a specimen.

    Successive frames cycle through the decades of dose.
    """
    from stemtwin.twin.instrument.scan import RasterScan

    settings, material = card.generator, specimen.material
    seed = stream_seed(card, specimen.structure_seed, Stream.CONDITIONS, image)
    rng = random_generator(seed)
    field = float(rng.uniform(*material.field_of_view_angstrom))
    low, high = np.log10(material.dose_e_per_angstrom2)
    decades = max(1, round(high - low))
    turn = (specimen.structure_seed // len(settings.materials) + image) % decades
    dose = float(10 ** (low + (high - low) * (turn + rng.random()) / decades))
    dwell = math.exp(rng.uniform(*np.log(dwell_times(settings, specimen.instrument, dose, field))))
    error, turned = float(rng.uniform(*settings.focus_error_angstrom)), float(rng.uniform(0, 2 * math.pi))
    origin = (rng.random(2) * material.size_angstrom[::-1]).tolist()
    return FrameCondition(
        seed=seed,
        C10_angstrom=specimen.instrument.focus_C10_angstrom + error,
        focus_error_angstrom=error,
        C12_angstrom=float(rng.uniform(*settings.C12_angstrom)),
        phi12_rad=float(rng.uniform(0, math.pi)),
        scan=RasterScan(
            shape=settings.image_shape, field_of_view_angstrom=(field, field), origin_angstrom=(origin[0], origin[1]), rotation_rad=turned
        ),
        dose_e_per_angstrom2=dose,
        dwell_time_us=dwell,
        current_pa=doses.current(dose, field / settings.image_shape[1], dwell),
        labels=settings.labels[image % len(settings.labels)],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedFrame:
    """One recorded frame and its truth.

    Parameters
    ----------
    readings : ndarray
        Readings (ny, nx) of the analogue-to-digital converter, in its units (adu).
    gain_adu, offset_adu : float
        Mean reading per electron, and mean reading without electrons, adu.
    inner_mrad, outer_mrad : float
        Inner and outer collection angle of the detector, mrad.
    electrons : ndarray
        Expected number (ny, nx) of detected electrons.
    probes : ndarray
        True positions (ny, nx, 2), x and y, of the probe on the specimen, A.
    source_size_angstrom : float
        Source size as a standard deviation, A.
    """

    readings: np.ndarray
    gain_adu: float
    offset_adu: float
    inner_mrad: float
    outer_mrad: float
    electrons: np.ndarray
    probes: np.ndarray
    source_size_angstrom: float


def recorded_frames(sample: "Sample", specimen: Imaged, conditions: Sequence[FrameCondition], card: Card) -> Iterator[RecordedFrame]:
    """Yield the recorded frames of a specimen under given conditions.

    All frames are recorded by one simulated microscope, so its imaging operator is built only once.
    """
    from stemtwin.twin.instrument.scope.microscope import Microscope

    instrument, perfect = specimen.instrument, specimen.material.perfect
    scope = Microscope(
        sample,
        instrument=profile_of(instrument),
        seed=specimen.microscope_seed,
        phonons="auto" if perfect else card.generator.phonon_configurations,
        engine=engine_of(specimen),
        window_angstrom=window_angstrom(sample, instrument, conditions),
        lattice_average="auto" if perfect else False,
    )
    scope.set(camera_length_mm=instrument.camera_length_mm)
    for condition in conditions:
        scope.set(C10=condition.C10_angstrom, C12=condition.C12_angstrom, phi12=condition.phi12_rad, current_pa=condition.current_pa)
        frame = scope.acquire(condition.scan, dwell_time_us=condition.dwell_time_us, detectors=(DETECTOR,))
        said, true = frame[DETECTOR], scope.truth()["expected"]
        yield RecordedFrame(
            readings=said.to_numpy(),
            gain_adu=float(said.attrs["gain_adu"]),
            offset_adu=float(said.attrs["offset_adu"]),
            inner_mrad=float(said.attrs["inner_mrad"]),
            outer_mrad=float(said.attrs["outer_mrad"]),
            electrons=true[DETECTOR].to_numpy().astype(float) * true["incident_electrons"].to_numpy(),
            probes=np.stack([true["specimen_x"].to_numpy(), true["specimen_y"].to_numpy()], axis=-1),
            source_size_angstrom=float(scope.settings.source_size_angstrom),
        )


def engine_of(specimen: Imaged) -> str:
    """Return the name of a specimen's simulation engine; perfect crystals use the engine that averages over the lattice."""
    from stemtwin.twin.instrument.simulation.engines.operator import NAME as OPERATOR

    return OPERATOR if specimen.material.perfect else specimen.instrument.engine


def window_angstrom(sample: "Sample", instrument: FrameInstrument, conditions: Sequence[FrameCondition]) -> float:
    """Return a window width (A) that suffices for the probes of all conditions at all depths.

    With one common window, all conditions use the same imaging operator.
    """
    from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
    from stemtwin.twin.physics.aberrations import Aberrations, add, blur_radius

    profile, radius = profile_of(instrument), 0.0
    for condition, depth, stray in itertools.product(conditions, (0.0, sample.thickness_angstrom), (-STRAY_ANGSTROM, STRAY_ANGSTROM)):
        turned = Aberrations(C10=condition.C10_angstrom + depth + stray, C12=condition.C12_angstrom, phi12=condition.phi12_rad)
        radius = max(radius, blur_radius(add(turned, profile.residual), profile.semiangle_mrad * 1e-3))
    return WINDOW_MARGIN + 2 * radius


def placed(
    columns: "Columns", sample: "Sample", scan: "RasterScan", frame: RecordedFrame, visible_fraction: float
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the projected columns in and around a distorted frame with their apparent positions, up to a common shift.

    The probe of pixel p was at p + u(p). A column at c appears at the position f that solves f + U(f) = c, where U is the
    displacement u averaged with a Gaussian whose standard deviation is 0.4 A. The common shift of all columns by aberrations
    is not included; see :func:`apparent_columns`.

    Parameters
    ----------
    columns : Columns
        Projected columns of the sample's cell, or other objects with positions in the cell.
    sample : Sample
        Periodic sample.
    scan : RasterScan
        Commanded raster.
    frame : RecordedFrame
        Recorded frame with the true positions of the probe.
    visible_fraction : float
        Smallest weight of a visible column, relative to the largest weight in the frame and in a margin of 24 pixels.

    Returns
    -------
    found : dict
        Result of :func:`stemtwin.datasets.truth.frame_columns` for the frame with a margin of 24 pixels on each side.
    at : ndarray
        Apparent positions (n, 2), x and y in the frame, A.
    """
    (dy, dx), (ny, nx) = scan.pitch_angstrom, scan.shape
    pixels = np.stack(np.meshgrid(np.arange(nx) * dx, np.arange(ny) * dy), axis=-1)
    strays = np.asarray(scan.frame_coordinates(frame.probes.reshape(-1, 2))).reshape(ny, nx, 2) - pixels
    mean = [gaussian_filter(strays[..., axis], (SMOOTH_ANGSTROM / dy, SMOOTH_ANGSTROM / dx), mode="nearest") for axis in (0, 1)]
    found = frame_columns(columns, sample.size_angstrom, _wider(scan), visible_fraction)
    true = np.column_stack([found["column_x_angstrom"], found["column_y_angstrom"]]).reshape(-1, 2) - np.array([dx, dy]) * OUTSIDE_PX
    at = true.copy()
    for _ in range(4):
        here = [at[:, 1] / dy, at[:, 0] / dx]
        at = true - np.stack([map_coordinates(one, here, order=1, mode="nearest") for one in mean], axis=-1)
    return found, at


def in_frame(found: dict[str, Any], at: np.ndarray, scan: "RasterScan") -> dict[str, Any]:
    """Return the columns of :func:`placed` that appear in the frame, sorted by y, then x.

    The result has the form of :func:`stemtwin.datasets.truth.frame_columns`.
    """
    (dy, dx), (ny, nx) = scan.pitch_angstrom, scan.shape
    inside = (at[:, 0] >= -dx / 2) & (at[:, 0] < (nx - 0.5) * dx) & (at[:, 1] >= -dy / 2) & (at[:, 1] < (ny - 0.5) * dy)
    at = np.round(at, DIGITS)
    order = np.flatnonzero(inside)[np.lexsort((at[inside, 0], at[inside, 1]))]
    rest = {name: [values[i] for i in order] for name, values in found.items() if isinstance(values, list)}
    return {"n_columns": len(order)} | rest | {"column_x_angstrom": at[order, 0].tolist(), "column_y_angstrom": at[order, 1].tolist()}


def apparent_columns(sample: "Sample", scan: "RasterScan", frame: RecordedFrame, visible_fraction: float) -> dict[str, Any]:
    """Return the projected columns at their apparent positions in a distorted frame; see :func:`placed`.

    Coma shifts the whole image, and so does the defocus of a tilted beam. All positions are therefore shifted by the same
    vector, which moves them to the maxima of the noiseless image (:func:`image_shift`).
    """
    from stemtwin.twin.samples.columns import projected_columns

    found, at = placed(projected_columns(sample, MERGED_ANGSTROM), sample, scan, frame, visible_fraction)
    shift = image_shift(frame.electrons, at[np.array(found["column_visible"], dtype=bool)], scan.pitch_angstrom[1])
    return in_frame(found, at + shift, scan)


def image_shift(electrons: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    """Return the shift (x, y), A, that moves given positions to the maxima of a noiseless image.

    ``electrons`` is the image, shape (ny, nx), and ``places`` are the positions, A, shape (n, 2).
    The image is smoothed with a Gaussian of 0.3 A. The shift maximises the sum of the smoothed image over all positions that
    are at least 0.6 A from the edges, and is at most 0.6 A along each axis. The search starts from a shift of zero and is
    accurate to 1e-4 A. ``step`` is the pixel pitch, A.
    """
    from scipy.optimize import minimize

    upper = (np.array(electrons.shape[::-1]) - 1) * step - LARGEST_SHIFT
    inner = places[((places >= LARGEST_SHIFT) & (places <= upper)).all(axis=1)]
    if not len(inner) or np.ptp(electrons) == 0:
        return np.zeros(2)
    smooth = spline_filter(gaussian_filter(electrons / electrons.max(), SHIFT_SMOOTH_ANGSTROM / step, mode="nearest"), order=3)

    def darkness(shift: np.ndarray) -> float:
        here = (inner + np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT)) / step
        return -float(map_coordinates(smooth, [here[:, 1], here[:, 0]], order=3, prefilter=False, mode="nearest").mean())

    simplex = SHIFT_SMOOTH_ANGSTROM / 3 * np.array([[-1.0, -0.6], [1.0, -0.6], [0.0, 1.2]])
    found = minimize(darkness, np.zeros(2), method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-12, "maxiter": 300})
    return np.round(np.clip(found.x, -LARGEST_SHIFT, LARGEST_SHIFT), 4)


def _wider(scan: "RasterScan") -> "RasterScan":
    """Return a raster widened by 24 pixels on each side, with the same centre."""
    (ny, nx), (dy, dx), (x, y) = scan.shape, scan.pitch_angstrom, scan.origin_angstrom
    more = 2 * OUTSIDE_PX
    return replace(
        scan,
        shape=(ny + more, nx + more),
        field_of_view_angstrom=((ny + more) * dy, (nx + more) * dx),
        origin_angstrom=(x - OUTSIDE_PX * dx, y - OUTSIDE_PX * dy),
    )


def planned_seconds(card: Card, specimen: Imaged) -> float:
    """Return the estimated time (s) for the computation of a specimen's imaging operator."""
    from stemtwin.twin.instrument.simulation.plan import make_plan

    request = imaging_request(card, specimen)
    return make_plan(request, window_angstrom=window_angstrom(specimen.sample(), specimen.instrument, [draw_condition(card, specimen, 0)])).seconds


def imaging_request(card: Card, specimen: Imaged, image: int = 0) -> "Request":
    """Return the simulation request for the expected signal of the frame with number ``image`` of a specimen.

    The request contains neither scan distortion nor instabilities.
    """
    from stemtwin.twin.instrument.detectors import AnnularDetector
    from stemtwin.twin.instrument.settings import Beam
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.physics.aberrations import Aberrations, add

    condition, profile, perfect = draw_condition(card, specimen, image), profile_of(specimen.instrument), specimen.material.perfect
    optics = Aberrations(C10=condition.C10_angstrom, C12=condition.C12_angstrom, phi12=condition.phi12_rad)
    scaled = profile.camera_length_mm / specimen.instrument.camera_length_mm
    found = next(one for one in profile.detectors if isinstance(one, AnnularDetector) and one.name == DETECTOR)
    ring = AnnularDetector(inner_mrad=found.inner_mrad * scaled, outer_mrad=found.outer_mrad * scaled, name=DETECTOR)
    return Request(
        sample=specimen.sample(),
        beam=Beam(
            energy_ev=profile.energy_ev,
            semiangle_mrad=profile.semiangle_mrad,
            aberrations=add(optics, profile.residual),
            source_size_angstrom=profile.source_size_angstrom(condition.current_pa, profile.semiangle_mrad, profile.energy_ev),
            focal_spread_angstrom=profile.focal_spread_angstrom(profile.energy_ev),
        ),
        scan=condition.scan,
        detectors=(ring,),
        engine=engine_of(specimen),
        phonons="auto" if perfect else card.generator.phonon_configurations,
        seed=specimen.microscope_seed,
        lattice_average="auto" if perfect else False,
    )
