"""``atomic-columns``: dark-field frames of five imperfect instruments, with apparent positions of the atomic columns.

A frame is recorded with the residual and drifting aberrations, the specimen drift, the scan distortion and jitter, and
the detector chain and sensitivity of an instrument profile. The truth is the apparent positions of the projected
columns. A column appears displaced from its position in the undistorted frame by the mean displacement of the probes
around it. The truth also contains the Cramer-Rao bound of each position, for the case that all other columns are known.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from stemtwin.datasets.cards import Card
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.kinds import CardModel, Count, DrawnSpecimen, Fraction, Generator, Range, generator
from stemtwin.datasets.recorded_frames import (
    DETECTOR,
    FrameCondition,
    FrameInstrument,
    RecordedFrame,
    SlowScan,
    apparent_columns,
    check_names,
    check_recording,
    draw_condition,
    imaging_request,
    planned_seconds,
    profile_of,
    recorded_frames,
)

if TYPE_CHECKING:
    from stemtwin.twin.instrument.hardware.profiles import Profile
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.samples.sample import Sample

ROW_SECONDS = 0.3
"""Usual time of a frame with an existing imaging operator, s."""
REACH = 0.5
"""Radius of the disc of pixels that contribute to a column's bound, in units of the distance to the nearest neighbour."""
MOST_REACH_ANGSTROM = 1.2
"""Largest radius of this disc of pixels, A."""
LEAST_VARIANCE = 1e-6
"""Variance of a pixel without electrons and read noise, e-^2."""
LARGEST_BOUND = 9.0
"""Bound of a column whose pixels contain no information, A."""
TURN = 7
"""Step through the list of instruments from one structure seed to the next; it is coprime to all numbers of instruments up to six."""


class ColumnsMaterial(CardModel):
    """Material of a card: the name of a sample for :func:`stemtwin.load_sample`, and ranges from which its specimens and frames are drawn.

    Crystals with ``perfect`` True have no defects.
    """

    name: str
    instruments: Annotated[tuple[str, ...], Field(min_length=1)]
    size_angstrom: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    field_of_view_angstrom: Range
    dose_e_per_angstrom2: Range
    thickness_angstrom: Range | None = None
    knobs: Annotated[dict[str, float | int | str], Field(default_factory=dict)]
    perfect: bool = False


class ColumnsSettings(CardModel):
    """Settings of the kind ``atomic-columns``, mostly ranges for random draws."""

    image_shape: tuple[Count, Count]
    phonon_configurations: Count
    """Number of frozen-phonon configurations of imperfect crystals; perfect crystals are averaged over their lattice."""
    focus_error_angstrom: Range
    C12_angstrom: Range
    current_pa: Range
    dwell_time_us: Range
    slow: Annotated[dict[str, SlowScan], Field(default_factory=dict)]
    """Ranges of dwell time and current for instrument profiles to which the general ranges do not apply."""
    visible_fraction: Fraction
    only_on: Annotated[dict[str, tuple[str, ...]], Field(default_factory=dict)]
    """Names of the instruments of a split, for splits that do not use all instruments."""
    labels: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    """Numbers of labelled images of the same instrument that a participant may use for the answer.

    The images of a specimen cycle through these numbers."""
    instruments: dict[str, FrameInstrument]
    materials: Annotated[tuple[ColumnsMaterial, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the names, that every dose is possible, and that no raster aliases the image."""
        for split, names in self.only_on.items():
            check_names(f"split {split!r}", names, self.instruments)
            for material in self.materials:
                if not set(names) & set(material.instruments):
                    message = f"material {material.name!r} is recorded on none of the instruments of split {split!r}: {', '.join(names)}"
                    raise ValueError(message)
        check_recording(self)
        return self

    def material_of(self, structure_seed: int) -> ColumnsMaterial:
        """Return the material of a structure seed; successive seeds cycle through the materials."""
        return self.materials[structure_seed % len(self.materials)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnsSpecimen(DrawnSpecimen):
    """One specimen in one instrument.

    Parameters
    ----------
    material : ColumnsMaterial
        Material of the sample.
    instrument : FrameInstrument
        Instrument of the frames.
    thickness_angstrom : float or None
        Requested thickness (A) or None for the library's default.
    microscope_seed : int
        Seed from which the microscope derives independent random streams for thermal motion, instabilities, jitter and
        noise.
    """

    material: ColumnsMaterial
    instrument: FrameInstrument
    thickness_angstrom: float | None
    microscope_seed: int

    def sample(self) -> "Sample":
        """Return the specimen's atoms as a :class:`~stemtwin.twin.samples.sample.Sample`, made by :func:`stemtwin.load_sample`."""
        from stemtwin.twin.samples.library import load_sample

        wanted, knobs = self.material.size_angstrom, self.material.knobs
        return load_sample(self.material.name, size_angstrom=wanted, thickness_angstrom=self.thickness_angstrom, seed=self.structure_seed, **knobs)


@generator("atomic-columns")
class AtomicColumnsGenerator(Generator):
    """Generator of frames under random conditions, with the apparent positions of the atomic columns."""

    settings: ClassVar[type[CardModel]] = ColumnsSettings

    def specimen(self, card: Card, size: str, split: str, structure_seed: int) -> ColumnsSpecimen:  # noqa: ARG002 - all sizes draw alike
        """Return the specimen of a structure seed.

        The material and the split determine a list of allowed instruments. The seed and the split select one of them. With M materials,
        successive specimens of one material have structure seeds that differ by M. Their indices in the list then differ by 7 M + 1,
        modulo the length of the list. They have the same instrument if 7 M + 1 is a multiple of this length.
        """
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
        """Yield the row of each frame of a specimen: the readings, the conditions and the truth."""
        sample = specimen.sample()
        conditions = [draw_condition(card, specimen, i) for i in range(card.sizes[size].images_per_specimen[specimen.split])]
        for condition, frame in zip(conditions, recorded_frames(sample, specimen, conditions, card), strict=True):
            truth = apparent_columns(sample, condition.scan, frame, card.generator.visible_fraction)
            places = np.column_stack([truth["column_x_angstrom"], truth["column_y_angstrom"]])
            bound = column_bounds(frame, places, condition.scan.pitch_angstrom[1], profile_of(specimen.instrument))
            labels = {"labels": condition.labels} if "labels" in card.column_names() else {}
            facts = _facts(specimen, condition, sample, frame) | labels
            yield facts | {"image": frame.readings} | truth | {"column_bound_angstrom": bound.tolist()}

    def request(self, card: Card, size: str, specimen: ColumnsSpecimen, image: int) -> "Request":  # noqa: ARG002 - all sizes draw alike
        """Return the simulation request for a frame's expected signal, without scan distortion and instabilities."""
        return imaging_request(card, specimen, image)

    def seconds(self, card: Card, size: str) -> float:
        """Return the estimated time of a build, s.

        The estimate is the sum of the times of all frames and of the imaging operators
        (:class:`~stemtwin.twin.physics.engine.operator.imaging_operator.ImagingOperator`) of all specimens. The time of an
        imaging operator is determined only once for each material and instrument.
        """
        asked, plans, planned = card.sizes[size], {}, 0.0
        for split in card.splits:
            for seed in card.structure_seeds(size, split):
                specimen = self.specimen(card, size, split, seed)
                key = (specimen.material.name, specimen.instrument)
                if key not in plans:
                    plans[key] = planned_seconds(card, specimen)
                planned += plans[key] + ROW_SECONDS * asked.images_per_specimen[split]
        return planned


def column_bounds(frame: RecordedFrame, places: np.ndarray, step: float, profile: "Profile") -> np.ndarray:
    """Return the Cramer-Rao bound of the position of each column, A, shape (n,).

    The bound is the square root of the sum of the smallest variances of x and y. The position of the column is taken as
    unknown; the images of the column and of its neighbours, the background and the gain are taken as known. Only pixels
    whose distance from the column is at most 1.2 A, and at most half the distance to the nearest neighbour, contribute.
    The variance of a pixel is the sum of the variances of its electrons, of their pulse heights and of the read noise. A
    fit of the whole lattice uses the electrons of all columns and may have smaller errors.

    Parameters
    ----------
    frame : RecordedFrame
        Frame with its expected electrons and its gain.
    places : ndarray
        Positions (n, 2) of the columns, x and y in the frame, A.
    step : float
        Pixel pitch, A.
    profile : Profile
        Instrument profile, whose detector chain adds noise.
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
    """Return the pixels of an axis within a distance [A] of a position [A]."""
    return np.arange(max(0, math.ceil((middle - reach) / step)), min(length - 1, math.floor((middle + reach) / step)) + 1)


def _facts(specimen: ColumnsSpecimen, condition: FrameCondition, sample: "Sample", frame: RecordedFrame) -> dict[str, Any]:
    """Return the columns of a row with the specimen and the conditions of the frame."""
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
