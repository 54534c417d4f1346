"""``atomic-columns``: dark-field readings of five instruments with their faults, and where each atomic column appears in the frame.

A frame is what an instrument profile records: residual and straying aberrations, drift, scan distortion and jitter, detector chain and sensitivity.
The truth is the projected columns at the places where they appear: from its place in the undistorted frame a column is taken along by the mean
displacement of the probes around it. Beside each stands the Cramer-Rao bound of that one column alone.
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
    planned_seconds,
    profile_of,
    recorded_frames,
)

if TYPE_CHECKING:
    from stemtwin.twin.instrument.hardware.profiles import Profile
    from stemtwin.twin.samples.sample import Sample

ROW_SECONDS = 0.3
"""Usual time of a frame whose operator is there, s."""
REACH = 0.5
"""Part of the distance to the nearest neighbour within which pixels tell of a column."""
MOST_REACH_ANGSTROM = 1.2
LEAST_VARIANCE = 1e-6
"""e-^2: of a pixel without electrons and read noise."""
LARGEST_BOUND = 9.0
"""Bound of a column that its pixels do not tell of, A."""
TURN = 7
"""Instruments by which the next specimen goes further: no number of instruments up to six has a part in common with it."""


class ColumnsMaterial(CardModel):
    """A sample of the library, how its specimens differ, and what is drawn of it; without knobs it is a perfect crystal."""

    name: str
    instruments: Annotated[tuple[str, ...], Field(min_length=1)]
    size_angstrom: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    field_of_view_angstrom: Range
    dose_e_per_angstrom2: Range
    thickness_angstrom: Range | None = None
    knobs: Annotated[dict[str, float | int | str], Field(default_factory=dict)]
    perfect: bool = False


class ColumnsSettings(CardModel):
    """The ranges from which ``atomic-columns`` draws."""

    image_shape: tuple[Count, Count]
    phonon_configurations: Count
    """Frozen-phonon configurations of samples that are not perfect crystals; perfect ones are averaged over their lattice."""
    focus_error_angstrom: Range
    C12_angstrom: Range
    current_pa: Range
    dwell_time_us: Range
    slow: Annotated[dict[str, SlowScan], Field(default_factory=dict)]
    """Other dwell times and currents, by instrument profile."""
    visible_fraction: Fraction
    only_on: Annotated[dict[str, tuple[str, ...]], Field(default_factory=dict)]
    """Instruments of a split, where it has not all of them."""
    labels: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    """Labelled images of the same instrument that an answer may use: the images of a specimen go through these numbers in turn."""
    instruments: dict[str, FrameInstrument]
    materials: Annotated[tuple[ColumnsMaterial, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the names, that every dose can be had, and that no raster aliases what the optics pass."""
        for split, names in self.only_on.items():
            check_names(f"split {split!r}", names, self.instruments)
            for material in self.materials:
                if not set(names) & set(material.instruments):
                    message = f"material {material.name!r} is on none of the instruments of split {split!r}: {', '.join(names)}"
                    raise ValueError(message)
        check_recording(self)
        return self

    def material_of(self, structure_seed: int) -> ColumnsMaterial:
        """Return the material of a structure seed: they take turns."""
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
        Wanted thickness, A; None: the library's own.
    microscope_seed : int
        Seed of the microscope, which has independent streams of its own for thermal motion, instabilities, jitter and noise.
    """

    material: ColumnsMaterial
    instrument: FrameInstrument
    thickness_angstrom: float | None
    microscope_seed: int

    def sample(self) -> "Sample":
        """Return the sample of the library."""
        from stemtwin.twin.samples.library import load_sample

        wanted, knobs = self.material.size_angstrom, self.material.knobs
        return load_sample(self.material.name, size_angstrom=wanted, thickness_angstrom=self.thickness_angstrom, seed=self.structure_seed, **knobs)


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
                    plans[key] = planned_seconds(card, specimen)
                planned += plans[key] + ROW_SECONDS * asked.images_per_specimen[split]
        return planned


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


def _facts(specimen: ColumnsSpecimen, condition: FrameCondition, sample: "Sample", frame: RecordedFrame) -> dict[str, Any]:
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
