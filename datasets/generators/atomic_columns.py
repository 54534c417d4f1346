"""``atomic-columns``: dark-field readings of five instruments with their faults, and where each atomic column appears in the frame.

A frame is what an instrument profile records: its residual and straying aberrations, drift, scan distortion and jitter, detector chain and sensitivity.
The truth is the projected columns at the places where they appear: from its place in the undistorted frame a column is taken along by the mean
displacement of the probes around it. Beside each stands the Cramer-Rao bound of that one column alone.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from stemtwin.datasets.cards import Card
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.generators.atoms_2d import ELECTRON_PER_US_PA
from stemtwin.datasets.kinds import CardModel, Count, DrawnSpecimen, Fraction, Generator, Range, generator
from stemtwin.datasets.truth import frame_columns

if TYPE_CHECKING:
    from stemtwin.twin.instrument.hardware.profiles import Profile
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.samples.sample import Sample

DETECTOR = "haadf"
ROW_SECONDS = 0.3
"""Usual time of a frame whose operator is there, s."""
SMOOTH_ANGSTROM = 0.4
"""Standard deviation of the mean of displacements around a column, A: about that of its image."""
SHIFT_SMOOTH_ANGSTROM, LARGEST_SHIFT = 0.3, 0.6
"""Standard deviation by which an image is smoothed where its shift is sought, and the largest shift, A."""
OUTSIDE_PX = 24
"""Columns so far outside the frame may be drawn into it by its distortion, px."""
REACH = 0.5
"""Part of the distance to the nearest neighbour within which pixels tell of a column."""
MOST_REACH_ANGSTROM = 1.2
LEAST_VARIANCE = 1e-6
"""e-^2: of a pixel without electrons and read noise."""
DIGITS = 9
"""Decimals of places, A: what is left of the last bits of a sine goes with them."""
LARGEST_BOUND = 9.0
"""Bound of a column that its pixels do not tell of, A."""
TURN = 7
"""Instruments by which the next specimen goes further: no number of instruments up to six has a part in common with it."""
STRAY_ANGSTROM = 40.0
"""C10 that a window holds beside what is commanded: the instrument's focus strays."""


class ColumnsInstrument(CardModel):
    """An instrument profile, its camera length, the C10 that is its best focus, and the engine of samples that are no perfect crystal."""

    profile: str
    camera_length_mm: Annotated[float, Field(gt=0)]
    focus_C10_angstrom: float = 0.0
    engine: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check that there is such a profile and such an engine."""
        from stemtwin.twin.instrument.hardware.profiles import PROFILES
        from stemtwin.twin.instrument.simulation.engines.registry import ENGINES

        for what, name, known in (("instrument profile", self.profile, PROFILES), ("engine", self.engine, ENGINES)):
            if name not in known:
                message = f"{name!r} is no {what}; give one of {', '.join(known)}"
                raise ValueError(message)
        return self


class ColumnsMaterial(CardModel):
    """A sample of the library, how its specimens differ, and what is drawn of it; without knobs it is a perfect crystal."""

    name: str
    instruments: Annotated[tuple[str, ...], Field(min_length=1)]
    size_angstrom: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    field_of_view_angstrom: Range
    dose_e_per_angstrom2: Range
    thickness_angstrom: Range | None = None
    knobs: dict[str, float | int | str] = {}
    perfect: bool = False


class ColumnsSettings(CardModel):
    """The ranges from which ``atomic-columns`` draws."""

    image_shape: tuple[Count, Count]
    phonon_configurations: Count
    """Frozen-phonon configurations of samples that are no perfect crystal; perfect ones are averaged over their lattice."""
    focus_error_angstrom: Range
    C12_angstrom: Range
    current_pa: Range
    dwell_time_us: Range
    visible_fraction: Fraction
    only_on: dict[str, tuple[str, ...]] = {}
    """Instruments of a split, where it has not all of them."""
    labels: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    """Labelled images of the same instrument that an answer may use: the images of a specimen go through these numbers in turn."""
    instruments: dict[str, ColumnsInstrument]
    materials: Annotated[tuple[ColumnsMaterial, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the names, that every dose can be had, and that no raster aliases what the optics pass."""
        for split, names in self.only_on.items():
            _check_names(f"split {split!r}", names, self.instruments)
        for material in self.materials:
            _check_names(f"material {material.name!r}", material.instruments, self.instruments)
            for split, names in self.only_on.items():
                if not set(names) & set(material.instruments):
                    message = f"material {material.name!r} is on none of the instruments of split {split!r}: {', '.join(names)}"
                    raise ValueError(message)
            for dose, field in itertools.product(material.dose_e_per_angstrom2, material.field_of_view_angstrom):
                low, high = self.dwell_times(dose, field)
                if low > high:
                    message = f"a dose of {dose:g} e-/A^2 on a field of {field:g} A needs a dwell time or current outside the card's ranges"
                    raise ValueError(message)
            step = material.field_of_view_angstrom[1] / min(self.image_shape)
            for name in material.instruments:
                if step > self.largest_step(name):
                    message = (
                        f"material {material.name!r} on {name!r}: steps of up to {step:.3f} A alias what the optics pass, at most "
                        f"{self.largest_step(name):.3f} A do not; give a smaller field"
                    )
                    raise ValueError(message)
        return self

    def largest_step(self, instrument: str) -> float:
        """Return the largest step of a raster that samples all spatial frequencies of an image, wavelength / (4 semi-angle), A."""
        from stemtwin.twin.physics.electrons import wavelength

        profile = profile_of(self.instruments[instrument])
        return float(wavelength(profile.energy_ev)) / (4 * profile.semiangle_mrad * 1e-3)

    def material_of(self, structure_seed: int) -> ColumnsMaterial:
        """Return the material of a structure seed: they take turns."""
        return self.materials[structure_seed % len(self.materials)]

    def dwell_times(self, dose_e_per_angstrom2: float, field_of_view_angstrom: float) -> tuple[float, float]:
        """Return the shortest and longest dwell time [us] that give a dose [e-/A^2] on a square field [A] with a current in range."""
        charge = dose_e_per_angstrom2 * (field_of_view_angstrom / self.image_shape[1]) ** 2 / ELECTRON_PER_US_PA
        return max(self.dwell_time_us[0], charge / self.current_pa[1]), min(self.dwell_time_us[1], charge / self.current_pa[0])


def _check_names(where: str, names: Sequence[str], known: dict[str, Any]) -> None:
    """Raise ValueError where an instrument has no table."""
    for name in names:
        if name not in known:
            message = f"{where} names the instrument {name!r}, which is not among {sorted(known)}"
            raise ValueError(message)


def profile_of(instrument: ColumnsInstrument) -> "Profile":
    """Return the instrument profile of a setup."""
    from stemtwin.twin.instrument.hardware.profiles import find_profile

    return find_profile(instrument.profile)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnsSpecimen(DrawnSpecimen):
    """One specimen in one instrument.

    Parameters
    ----------
    material : ColumnsMaterial
        What it is made of.
    instrument : ColumnsInstrument
        What it is imaged with.
    thickness_angstrom : float or None
        Wanted thickness, A; None: the library's own.
    microscope_seed : int
        Seed of the microscope, which has independent streams of its own for thermal motion, instabilities, jitter and noise.
    """

    material: ColumnsMaterial
    instrument: ColumnsInstrument
    thickness_angstrom: float | None
    microscope_seed: int

    def sample(self) -> "Sample":
        """Return the sample of the library."""
        from stemtwin.twin.samples.library import load_sample

        wanted, knobs = self.material.size_angstrom, self.material.knobs
        return load_sample(self.material.name, size_angstrom=wanted, thickness_angstrom=self.thickness_angstrom, seed=self.structure_seed, **knobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnsCondition:
    """The conditions of one frame.

    Parameters
    ----------
    seed : int
        The seed that they were drawn with.
    C10_angstrom, focus_error_angstrom, C12_angstrom, phi12_rad : float
        Commanded C10, its deviation from the best focus, and two-fold astigmatism, A and rad.
    scan : RasterScan
        The raster that is commanded.
    dose_e_per_angstrom2, dwell_time_us, current_pa : float
        Dose [e-/A^2], time per pixel [us] and probe current [pA]; any two of them give the third.
    labels : int
        Labelled images of the same instrument that an answer may use.
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


def draw_condition(card: Card, specimen: ColumnsSpecimen, image: int) -> ColumnsCondition:
    """Return the conditions of a specimen's frame of that number; its frames go through the decades of dose in turn."""
    from stemtwin.twin.instrument.scan import RasterScan

    settings, material = card.generator, specimen.material
    seed = stream_seed(card, specimen.structure_seed, Stream.CONDITIONS, image)
    rng = random_generator(seed)
    field = float(rng.uniform(*material.field_of_view_angstrom))
    low, high = np.log10(material.dose_e_per_angstrom2)
    decades = max(1, round(high - low))
    turn = (specimen.structure_seed // len(settings.materials) + image) % decades
    dose = float(10 ** (low + (high - low) * (turn + rng.random()) / decades))
    dwell = math.exp(rng.uniform(*np.log(settings.dwell_times(dose, field))))
    error, turned = float(rng.uniform(*settings.focus_error_angstrom)), float(rng.uniform(0, 2 * math.pi))
    origin = (rng.random(2) * material.size_angstrom[::-1]).tolist()
    return ColumnsCondition(
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
        current_pa=dose * (field / settings.image_shape[1]) ** 2 / (ELECTRON_PER_US_PA * dwell),
        labels=settings.labels[image % len(settings.labels)],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedFrame:
    """One recorded frame and what it truly was.

    Parameters
    ----------
    readings : ndarray
        (ny, nx) what the converter said.
    gain_adu, offset_adu : float
        Mean reading of an electron, and of none.
    inner_mrad, outer_mrad : float
        Angles of the detector.
    electrons : ndarray
        (ny, nx) expected detected electrons.
    probes : ndarray
        (ny, nx, 2) true places of the probe on the specimen (x, y), A.
    source_size_angstrom : float
        A, one standard deviation.
    """

    readings: np.ndarray
    gain_adu: float
    offset_adu: float
    inner_mrad: float
    outer_mrad: float
    electrons: np.ndarray
    probes: np.ndarray
    source_size_angstrom: float


def recorded_frames(
    sample: "Sample", specimen: ColumnsSpecimen, conditions: Sequence[ColumnsCondition], card: Card
) -> Iterator[RecordedFrame]:
    """Record frames with the twin's microscope: one per specimen, so that its imaging operator is built once and serves all frames."""
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


def engine_of(specimen: ColumnsSpecimen) -> str:
    """Return the engine of a specimen: of a perfect crystal the one that averages over its lattice."""
    from stemtwin.twin.instrument.simulation.engines.operator import NAME as OPERATOR

    return OPERATOR if specimen.material.perfect else specimen.instrument.engine


def window_angstrom(sample: "Sample", instrument: ColumnsInstrument, conditions: Sequence[ColumnsCondition]) -> float:
    """Return the width [A] that holds the probes of all conditions anywhere in the sample, so that they share one imaging operator."""
    from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
    from stemtwin.twin.physics.aberrations import Aberrations, add, blur_radius

    profile, radius = profile_of(instrument), 0.0
    for condition, depth, stray in itertools.product(conditions, (0.0, sample.thickness_angstrom), (-STRAY_ANGSTROM, STRAY_ANGSTROM)):
        turned = Aberrations(C10=condition.C10_angstrom + depth + stray, C12=condition.C12_angstrom, phi12=condition.phi12_rad)
        radius = max(radius, blur_radius(add(turned, profile.residual), profile.semiangle_mrad * 1e-3))
    window = WINDOW_MARGIN + 2 * radius
    return window


@generator("atomic-columns")
class AtomicColumnsGenerator(Generator):
    """Frames of one specimen each time, under drawn conditions, and the columns where they appear in them."""

    settings: ClassVar[type[CardModel]] = ColumnsSettings

    def specimen(self, card: Card, size: str, split: str, structure_seed: int) -> ColumnsSpecimen:  # noqa: ARG002 - all sizes draw alike
        """Return the specimen of a structure seed; instruments take turns, one further each time that a material comes again."""
        settings = card.generator
        rng = random_generator(stream_seed(card, structure_seed, Stream.STRUCTURE))
        material = settings.material_of(structure_seed)
        allowed = settings.only_on.get(split, tuple(settings.instruments))
        names = [name for name in material.instruments if name in allowed]
        turn = TURN * structure_seed + structure_seed // len(settings.materials) + list(card.splits).index(split)
        return ColumnsSpecimen(
            split=split,
            structure_seed=structure_seed,
            name=f"{material.name}/{structure_seed}",
            material=material,
            instrument=settings.instruments[names[turn % len(names)]],
            thickness_angstrom=None if material.thickness_angstrom is None else float(rng.uniform(*material.thickness_angstrom)),
            microscope_seed=stream_seed(card, structure_seed, Stream.MICROSCOPE),
        )

    def rows(self, card: Card, size: str, specimen: ColumnsSpecimen) -> Iterator[dict[str, Any]]:
        """Yield readings, conditions and truth of each frame of a specimen."""
        sample = specimen.sample()
        conditions = [draw_condition(card, specimen, i) for i in range(card.sizes[size].images_per_specimen[specimen.split])]
        for condition, frame in zip(conditions, recorded_frames(sample, specimen, conditions, card), strict=True):
            truth = apparent_columns(sample, condition.scan, frame, card.generator.visible_fraction)
            places = np.column_stack([truth["column_x_angstrom"], truth["column_y_angstrom"]])
            bound = column_bounds(frame, places, condition.scan.pitch_angstrom[1], profile_of(specimen.instrument))
            labels = {"labels": condition.labels} if "labels" in card.column_names() else {}
            facts = _facts(specimen, condition, sample, frame) | labels
            yield facts | {"image": frame.readings} | truth | {"column_bound_angstrom": bound.tolist()}

    def seconds(self, card: Card, size: str) -> float:
        """Return the planned time of a build, s: the plans of the operators of one specimen of each material and instrument, and the frames."""
        asked, plans, planned = card.sizes[size], {}, 0.0
        for split in card.splits:
            for seed in card.structure_seeds(size, split):
                specimen = self.specimen(card, size, split, seed)
                key = (specimen.material.name, specimen.instrument)
                if key not in plans:
                    plans[key] = _planned(card, specimen)
                planned += plans[key] + ROW_SECONDS * asked.images_per_specimen[split]
        return planned


def _planned(card: Card, specimen: ColumnsSpecimen) -> float:
    """Return the planned time of a specimen's imaging operator, s."""
    from stemtwin.twin.instrument.simulation.plan import make_plan

    request = imaging_request(card, specimen)
    return make_plan(request, window_angstrom=window_angstrom(request.sample, specimen.instrument, [draw_condition(card, specimen, 0)])).seconds


def imaging_request(card: Card, specimen: ColumnsSpecimen) -> "Request":
    """Return the request of a specimen's first frame by a perfect scan: what decides its expected signal."""
    from stemtwin.twin.instrument.settings import Beam
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.physics.aberrations import Aberrations, add

    condition, profile, perfect = draw_condition(card, specimen, 0), profile_of(specimen.instrument), specimen.material.perfect
    optics = Aberrations(C10=condition.C10_angstrom, C12=condition.C12_angstrom, phi12=condition.phi12_rad)
    scaled = profile.camera_length_mm / specimen.instrument.camera_length_mm
    found = profile.detector(DETECTOR)
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
        detectors=(replace(found, inner_mrad=found.inner_mrad * scaled, outer_mrad=found.outer_mrad * scaled, sensitivity=None),),
        engine=engine_of(specimen),
        phonons="auto" if perfect else card.generator.phonon_configurations,
        lattice_average="auto" if perfect else False,
    )


def apparent_columns(sample: "Sample", scan: "RasterScan", frame: RecordedFrame, visible_fraction: float) -> dict[str, Any]:
    """Return the projected columns at the places where they appear in a distorted frame.

    The probe of pixel p was at p + u(p). A column at c appears at the f with f + mean of u around f = c, the mean under a Gaussian of 0.4 A. Coma
    and defocus of a tilted beam shift an image as a whole: all places move along, by what puts them on the brightest places of the noiseless image.

    Parameters
    ----------
    sample : Sample
        The specimen.
    scan : RasterScan
        The raster that was commanded.
    frame : RecordedFrame
        True places of the probe, and expected electrons.
    visible_fraction : float
        A column is visible from this fraction of the largest weight in and just outside the frame on.

    Returns
    -------
    dict
        As :func:`stemtwin.datasets.truth.frame_columns`, sorted by y, then x.
    """
    from stemtwin.twin.samples.columns import projected_columns

    (dy, dx), (ny, nx) = scan.pitch_angstrom, scan.shape
    pixels = np.stack(np.meshgrid(np.arange(nx) * dx, np.arange(ny) * dy), axis=-1)
    strays = np.asarray(scan.frame_coordinates(frame.probes.reshape(-1, 2))).reshape(ny, nx, 2) - pixels
    mean = [gaussian_filter(strays[..., axis], (SMOOTH_ANGSTROM / dy, SMOOTH_ANGSTROM / dx), mode="nearest") for axis in (0, 1)]
    found = frame_columns(projected_columns(sample), sample.size_angstrom, _wider(scan), visible_fraction)
    true = np.column_stack([found["column_x_angstrom"], found["column_y_angstrom"]]).reshape(-1, 2) - np.array([dx, dy]) * OUTSIDE_PX
    at = true.copy()
    for _ in range(4):
        here = [at[:, 1] / dy, at[:, 0] / dx]
        at = true - np.stack([map_coordinates(one, here, order=1, mode="nearest") for one in mean], axis=-1)
    at += image_shift(frame.electrons, at[np.array(found["column_visible"], dtype=bool)], dx)
    inside = (at[:, 0] >= -dx / 2) & (at[:, 0] < (nx - 0.5) * dx) & (at[:, 1] >= -dy / 2) & (at[:, 1] < (ny - 0.5) * dy)
    at = np.round(at, DIGITS)
    order = np.flatnonzero(inside)[np.lexsort((at[inside, 0], at[inside, 1]))]
    rest = {name: [values[i] for i in order] for name, values in found.items() if isinstance(values, list)}
    return {"n_columns": len(order)} | rest | {"column_x_angstrom": at[order, 0].tolist(), "column_y_angstrom": at[order, 1].tolist()}


def image_shift(electrons: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    """Return the shift (x, y), A, that puts places (n, 2), A, on the brightest places of a noiseless image (ny, nx), at most 0.6 A.

    The sum of the image, smoothed by 0.3 A, over all places is largest there; it is sought from no shift uphill, and is exact to 1e-4 A.
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
    """Return the raster with more pixels on each side, about the same centre."""
    (ny, nx), (dy, dx), (x, y) = scan.shape, scan.pitch_angstrom, scan.origin_angstrom
    more = 2 * OUTSIDE_PX
    return replace(
        scan,
        shape=(ny + more, nx + more),
        field_of_view_angstrom=((ny + more) * dy, (nx + more) * dx),
        origin_angstrom=(x - OUTSIDE_PX * dx, y - OUTSIDE_PX * dy),
    )


def column_bounds(frame: RecordedFrame, places: np.ndarray, step: float, profile: "Profile") -> np.ndarray:
    """Return the Cramer-Rao bound of the place of each column alone, the root of the summed variances of x and y, A, (n,).

    All but the place of that one column is taken as known: its image, those of its neighbours, the background and the gain. The pixels nearer than
    half the distance to the nearest neighbour, at most 1.2 A, tell of it; the variance of a pixel is that of its electrons, of their pulse heights
    and of the read noise. Who fits the whole lattice has more than this one column's electrons, and may do better.

    Parameters
    ----------
    frame : RecordedFrame
        Expected electrons and electronics.
    places : ndarray
        (n, 2) x and y in the frame, A.
    step : float
        A/px.
    profile : Profile
        The instrument, whose detector chain adds noise.
    """
    from scipy.spatial import cKDTree

    if not len(places):
        return np.empty(0)
    chain = profile.chain(DETECTOR)
    dqe, read = (1.0, 0.0) if chain is None else (chain.dqe, chain.read_noise_adu)
    efficiency = 1.0 if chain is None else chain.efficiency
    pulses = frame.electrons * efficiency
    variance = pulses / dqe + (read / frame.gain_adu) ** 2 * efficiency**2 + LEAST_VARIANCE
    slopes = [gradient / step for gradient in np.gradient(pulses)[::-1]]
    near = cKDTree(places).query(places, k=2)[0][:, 1] if len(places) > 1 else np.full(1, np.inf)
    out = np.full(len(places), LARGEST_BOUND)
    for number, ((x, y), reach) in enumerate(zip(places, np.minimum(REACH * near, MOST_REACH_ANGSTROM), strict=True)):
        rows, columns = (_span(middle, reach, step, length) for middle, length in zip((y, x), pulses.shape, strict=True))
        inside = np.hypot(rows[:, None] * step - y, columns * step - x) <= reach
        sx, sy = (slope[np.ix_(rows, columns)][inside] for slope in slopes)
        weight = 1 / variance[np.ix_(rows, columns)][inside]
        xx, yy, xy = (float(np.sum(weight * product)) for product in (sx * sx, sy * sy, sx * sy))
        determinant = xx * yy - xy * xy
        if determinant > 0:
            out[number] = min(LARGEST_BOUND, math.sqrt((xx + yy) / determinant))
    return out


def _span(middle: float, reach: float, step: float, length: int) -> np.ndarray:
    """Return the pixels of an axis within a reach [A] of a place [A]."""
    return np.arange(max(0, math.ceil((middle - reach) / step)), min(length - 1, math.floor((middle + reach) / step)) + 1)


def _facts(specimen: ColumnsSpecimen, condition: ColumnsCondition, sample: "Sample", frame: RecordedFrame) -> dict[str, Any]:
    """Return the columns of a row that say what was imaged and how."""
    profile = profile_of(specimen.instrument)
    return {
        "condition_seed": condition.seed,
        "material": specimen.material.name,
        "structure": "perfect" if specimen.material.perfect else "imperfect",
        "instrument": profile.name,
        "energy_ev": profile.energy_ev,
        "semiangle_mrad": profile.semiangle_mrad,
        "inner_mrad": frame.inner_mrad,
        "outer_mrad": frame.outer_mrad,
        "thickness_angstrom": float(sample.thickness_angstrom),
        "C10_angstrom": condition.C10_angstrom,
        "focus_error_angstrom": condition.focus_error_angstrom,
        "C12_angstrom": condition.C12_angstrom,
        "phi12_rad": condition.phi12_rad,
        "current_pa": condition.current_pa,
        "dwell_time_us": condition.dwell_time_us,
        "dose_e_per_angstrom2": condition.dose_e_per_angstrom2,
        "source_size_angstrom": frame.source_size_angstrom,
        "sampling_angstrom": condition.scan.pitch_angstrom[1],
        "gain_adu": frame.gain_adu,
        "offset_adu": frame.offset_adu,
    }
