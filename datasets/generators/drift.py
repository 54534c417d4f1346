"""``drift``: frame series, and pairs scanned at 0 and 90 degrees, with the displacement of the probe along every line.

A row holds dark-field frames of a drifting specimen, recorded with an imperfect scan. The truth is the difference
between the true and the commanded positions of the probe on the specimen, in the axes of the first frame. Each scan line is divided into segments of
equal length, called nodes. The displacement is averaged over each segment.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from stemtwin.datasets import dose as doses
from stemtwin.datasets.cards import Card
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.kinds import CardModel, Count, DrawnSpecimen, Generator, Range, generator

if TYPE_CHECKING:
    from stemtwin.twin.instrument.detectors import AnnularDetector
    from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.samples.sample import Sample

PAIR = 2
"""Number of frames of a pair, whose second frame is rotated by 90 degrees. Any other number of frames is a series."""
NOISE_STREAM, SCAN_STREAM = 3, 4
"""Numbers of the random streams of each row: one for the counting noise, and one for drift and jitter."""
ROW_SECONDS = 0.2
"""Usual time of a row with an existing imaging operator, s."""


class DriftMaterial(CardModel):
    """Material of a card: the name of a sample for :func:`stemtwin.load_sample`, the size of its cell and the period of its projection.

    ``repeat_angstrom`` is the shortest period of the projection, A, or 0 if the projection is not periodic. ``knobs`` are
    settings of the sample, which are passed to :func:`stemtwin.load_sample`.
    """

    name: str
    cell_angstrom: Annotated[float, Field(gt=0)]
    repeat_angstrom: Annotated[float, Field(ge=0)] = 0.0
    thickness_angstrom: Range | None = None
    knobs: Annotated[dict[str, float], Field(default_factory=dict)]


class DriftSetup(CardModel):
    """Beam energy (eV), convergence semi-angle (mrad), and inner and outer angle of the dark-field detector (mrad)."""

    energy_ev: Annotated[float, Field(ge=1e3)]
    semiangle_mrad: Annotated[float, Field(gt=0)]
    haadf_mrad: Range

    def detectors(self) -> "tuple[AnnularDetector]":
        """Return the dark-field detector."""
        from stemtwin.twin.instrument.detectors import AnnularDetector

        return (AnnularDetector(inner_mrad=self.haadf_mrad[0], outer_mrad=self.haadf_mrad[1], name="haadf"),)


class DriftSettings(CardModel):
    """Settings of the kind ``drift``, mostly ranges for random draws."""

    image_shape: tuple[Count, Count]
    nodes: Count
    frames: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
    phonon_configurations: Count
    field_of_view_angstrom: Range
    dose_e_per_angstrom2: Range
    current_pa: Range
    dwell_time_us: Range
    flyback_us: Annotated[float, Field(ge=0)]
    settle_us: Annotated[float, Field(ge=0)]
    pause_s: Annotated[float, Field(ge=0)]
    drift_angstrom: Range
    fastest_drift_angstrom_per_s: Annotated[float, Field(gt=0)]
    walk_fraction: Annotated[float, Field(ge=0)]
    line_jitter_angstrom: Range
    line_wander_lines: Range
    hum_angstrom: Range
    hum_hz: Annotated[tuple[float, ...], Field(min_length=1)]
    settling_fraction: Range
    settling_time_us: Range
    C10_angstrom: Range
    C12_angstrom: Range
    source_size_angstrom: Range
    materials: Annotated[tuple[DriftMaterial, ...], Field(min_length=1)]
    setups: Annotated[tuple[DriftSetup, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the number of nodes, and that every dose is possible with a dwell time and a current in range."""
        if self.image_shape[0] != self.image_shape[1] or self.image_shape[1] % self.nodes:
            message = f"image_shape {list(self.image_shape)} must be square and divisible by the number of nodes per line, {self.nodes}"
            raise ValueError(message)
        for dose, field in ((d, f) for d in self.dose_e_per_angstrom2 for f in self.field_of_view_angstrom):
            for frames in self.frames:
                low, high = self.dwell_times(dose / frames, field)
                if low > high:
                    message = (
                        f"a dose of {dose:g} e-/A^2 in {frames} frames with a field of view of {field:g} A "
                        "needs a dwell time or current outside the card's ranges"
                    )
                    raise ValueError(message)
        return self

    def material_of(self, structure_seed: int) -> DriftMaterial:
        """Return the material of a structure seed; successive seeds cycle through the materials."""
        return self.materials[structure_seed % len(self.materials)]

    def dwell_times(self, dose_e_per_angstrom2: float, field_of_view_angstrom: float) -> tuple[float, float]:
        """Return the shortest and longest dwell time [us] for a dose [e-/A^2] of a frame with a square field of view [A]."""
        pixel = field_of_view_angstrom / self.image_shape[1]
        return doses.dwell_times(dose_e_per_angstrom2, pixel, dwell_time_us=self.dwell_time_us, current_pa=self.current_pa)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSpecimen(DrawnSpecimen):
    """One specimen in one setup.

    Parameters
    ----------
    material : DriftMaterial
        Material of the sample.
    setup : DriftSetup
        Beam and detector.
    size_angstrom : float
        Requested size of the cell, A.
    thickness_angstrom : float or None
        Requested thickness (A) or None for the library's default.
    phonon_seed : int
        Seed of the thermal motion.
    """

    material: DriftMaterial
    setup: DriftSetup
    size_angstrom: float
    thickness_angstrom: float | None
    phonon_seed: int

    def sample(self) -> "Sample":
        """Return the specimen's atoms as a :class:`~stemtwin.twin.samples.sample.Sample`, made by :func:`stemtwin.load_sample`."""
        from stemtwin.twin.samples.library import load_sample

        size = (self.size_angstrom, self.size_angstrom)
        return load_sample(
            self.material.name, size_angstrom=size, thickness_angstrom=self.thickness_angstrom, seed=self.structure_seed, **self.material.knobs
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftCondition:
    """Conditions of one row.

    Parameters
    ----------
    seed : int
        Seed with which the conditions were drawn.
    scan : RasterScan
        Commanded raster of the first frame.
    frames : int
        Number of frames. Two frames are a pair, scanned at 0 and 90 degrees.
    dose_e_per_angstrom2, dwell_time_us, current_pa : float
        Dose of all frames together [e-/A^2], dwell time per pixel and frame [us] and probe current [pA].
    C10_angstrom, C12_angstrom, phi12_rad, source_size_angstrom : float
        C10 (= -defocus), A; magnitude (A) and azimuth (rad) of the two-fold astigmatism; and source size as a standard
        deviation, A.
    velocity_angstrom_per_s : tuple of float
        Drift velocity (vy, vx) along the axes of the specimen, A/s.
    walk_angstrom : float
        Standard deviation of the random walk along each axis after 1 s, A.
    imperfections : ScanImperfections
        Jitter, hum and settling of the scan.
    """

    seed: int
    scan: "RasterScan"
    frames: int
    dose_e_per_angstrom2: float
    dwell_time_us: float
    current_pa: float
    C10_angstrom: float
    C12_angstrom: float
    phi12_rad: float
    source_size_angstrom: float
    velocity_angstrom_per_s: tuple[float, float]
    walk_angstrom: float
    imperfections: "ScanImperfections"

    @property
    def turns_rad(self) -> tuple[float, ...]:
        """Rotation of each frame's raster relative to the raster of the first frame, rad."""
        return (0.0, math.pi / 2) if self.frames == PAIR else (0.0,) * self.frames


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _imperfections(settings: DriftSettings, rng: np.random.Generator) -> "ScanImperfections":
    """Return the imperfections of a row's scan: jitter, wander of similar size, hum with a third harmonic, and settling."""
    from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections

    jitter, hum = _log_uniform(rng, *settings.line_jitter_angstrom), _log_uniform(rng, *settings.hum_angstrom)
    wander, lines = jitter * float(rng.uniform(0.5, 1.5)), float(rng.uniform(*settings.line_wander_lines))
    split, phases = float(rng.uniform(0, math.pi / 2)), rng.uniform(0, 2 * math.pi, 2)
    return ScanImperfections(
        line_jitter_angstrom=jitter,
        line_wander_angstrom=wander,
        line_wander_lines=lines,
        hum_angstrom=(hum * math.sin(split), hum * math.cos(split)),
        hum_hz=float(settings.hum_hz[rng.integers(len(settings.hum_hz))]),
        hum_harmonics=((1, 1.0), (3, float(rng.uniform(0.0, 0.35)))),
        hum_phase_rad=(float(phases[0]), float(phases[1])),
        settling_fraction=float(rng.uniform(*settings.settling_fraction)),
        settling_time_us=float(rng.uniform(*settings.settling_time_us)),
    )


def draw_condition(card: Card, specimen: DriftSpecimen, image: int) -> DriftCondition:
    """Return the conditions of the row with number ``image`` of a specimen.

    Successive rows cycle through the numbers of frames and the decades of dose.
    """
    from stemtwin.twin.instrument.scan import RasterScan

    settings = card.generator
    seed = stream_seed(card, specimen.structure_seed, Stream.CONDITIONS, image)
    rng = random_generator(seed)
    round_, shape = specimen.structure_seed // len(settings.materials), settings.image_shape
    frames = settings.frames[(round_ + image) % len(settings.frames)]
    low, high = np.log10(settings.dose_e_per_angstrom2)
    decades = max(1, round(high - low))
    dose = float(10 ** (low + (high - low) * ((round_ + 2 * image + image // len(settings.frames)) % decades + rng.random()) / decades))
    field = float(rng.uniform(*settings.field_of_view_angstrom))
    dwell = math.exp(rng.uniform(*np.log(settings.dwell_times(dose / frames, field))))
    origin, turned = rng.uniform(0, specimen.size_angstrom, 2), float(rng.uniform(0, 2 * math.pi))
    line_s = (shape[1] * dwell + settings.flyback_us + settings.settle_us) * 1e-6
    whole_s = frames * shape[0] * line_s + (frames - 1) * settings.pause_s
    most = max(min(settings.drift_angstrom[1], settings.fastest_drift_angstrom_per_s * whole_s), settings.drift_angstrom[0])
    drift, direction = _log_uniform(rng, settings.drift_angstrom[0], most), float(rng.uniform(0, 2 * math.pi))
    return DriftCondition(
        seed=seed,
        scan=RasterScan(shape=shape, field_of_view_angstrom=(field, field), origin_angstrom=tuple(origin.tolist()), rotation_rad=turned),
        frames=frames,
        dose_e_per_angstrom2=dose,
        dwell_time_us=dwell,
        current_pa=doses.current(dose / frames, field / shape[1], dwell),
        C10_angstrom=float(rng.uniform(*settings.C10_angstrom)),
        C12_angstrom=float(rng.uniform(*settings.C12_angstrom)),
        phi12_rad=float(rng.uniform(0, math.pi)),
        source_size_angstrom=float(rng.uniform(*settings.source_size_angstrom)),
        velocity_angstrom_per_s=(drift / whole_s * math.sin(direction), drift / whole_s * math.cos(direction)),
        walk_angstrom=settings.walk_fraction * drift / math.sqrt(whole_s),
        imperfections=_imperfections(settings, rng),
    )


def rasters(condition: DriftCondition) -> "list[RasterScan]":
    """Return the commanded raster of each frame.

    All rasters have the same centre. The raster of the second frame of a pair is rotated by 90 degrees.
    """
    from dataclasses import replace

    return [replace(condition.scan, rotation_rad=condition.scan.rotation_rad + turn) for turn in condition.turns_rad]


def true_points(card: Card, condition: DriftCondition, seed: int) -> np.ndarray:
    """Return the true positions (x, y) of the probe on the specimen (A) in the order of the scan.

    The shape of the array is (frames, ny nx, 2).

    Parameters
    ----------
    card : Card
        Card of the dataset.
    condition : DriftCondition
        Conditions of the row.
    seed : int
        Seed of the random walk and of the jitter.
    """
    from stemtwin.twin.instrument.hardware.drift import Course, Instabilities
    from stemtwin.twin.instrument.hardware.scan_distortion import true_positions
    from stemtwin.twin.instrument.timing import scan_timing

    settings, rng = card.generator, random_generator(seed)
    walk = Instabilities(drift_angstrom_per_s=condition.velocity_angstrom_per_s, drift_walk_angstrom=condition.walk_angstrom)
    course, clock, points = Course(walk, seed), 0.0, []
    for scan in rasters(condition):
        timing = scan_timing(scan, dwell_time_us=condition.dwell_time_us, flyback_us=settings.flyback_us, settle_us=settings.settle_us, start_s=clock)
        points.append(true_positions(scan, timing, condition.imperfections, course.drift_angstrom, rng))
        clock += timing.duration_s + settings.pause_s
    return np.stack(points)


def displacement(card: Card, condition: DriftCondition, points: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the displacement of the probe from the commanded rasters, averaged over nodes, and the spread within nodes.

    A node is one of the segments of equal length into which each scan line is divided.

    Returns
    -------
    field : ndarray
        Mean displacements (frames, lines, nodes, 2), x and y in the axes of the first frame, A, float32. The length of
        the first axis is the card's largest number of frames; frames that were not recorded are 0.
    within : float
        Root mean square difference between the displacement of a pixel and the mean displacement of its node, A.
    """
    settings, angle = card.generator, -condition.scan.rotation_rad
    ny, nx = settings.image_shape
    nominal = np.stack([scan.positions().reshape(-1, 2) for scan in rasters(condition)])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    pixels = ((points - nominal) @ turn.T).reshape(condition.frames, ny, settings.nodes, nx // settings.nodes, 2)
    means = pixels.mean(axis=3)
    field = np.zeros((max(settings.frames), ny, settings.nodes, 2), dtype=np.float32)
    field[: condition.frames] = means
    within = float(np.sqrt(((pixels - means[:, :, :, None]) ** 2).sum(axis=-1).mean()))
    return field, within


def window_angstrom(sample: "Sample", setup: DriftSetup, conditions: Sequence[DriftCondition]) -> float:
    """Return a window width (A) that suffices for the probes of all conditions at all depths.

    With one common window, all conditions use the same imaging operator.
    """
    from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
    from stemtwin.twin.physics.aberrations import Aberrations, blur_radius

    probes = (
        Aberrations(C10=c.C10_angstrom + z, C12=c.C12_angstrom, phi12=c.phi12_rad) for c in conditions for z in (0.0, sample.thickness_angstrom)
    )
    return WINDOW_MARGIN + 2 * max(blur_radius(probe, setup.semiangle_mrad * 1e-3) for probe in probes)


def request(card: Card, specimen: DriftSpecimen, sample: "Sample", condition: DriftCondition, points: np.ndarray) -> "Request":
    """Return the simulation request for the expected signal at ``points``, A, shape (n, 2).

    For periodic crystals, the frozen-phonon signals are averaged over the translations of the lattice.
    """
    from stemtwin.twin.instrument.scan import PathScan
    from stemtwin.twin.instrument.settings import Beam
    from stemtwin.twin.instrument.simulation.engines.operator import NAME as OPERATOR
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.physics.aberrations import Aberrations

    beam = Beam(
        energy_ev=specimen.setup.energy_ev,
        semiangle_mrad=specimen.setup.semiangle_mrad,
        aberrations=Aberrations(C10=condition.C10_angstrom, C12=condition.C12_angstrom, phi12=condition.phi12_rad),
        source_size_angstrom=condition.source_size_angstrom,
    )
    return Request(
        sample=sample,
        beam=beam,
        scan=PathScan(positions_angstrom=points),
        detectors=specimen.setup.detectors(),
        engine=OPERATOR,
        phonons=card.generator.phonon_configurations,
        seed=specimen.phonon_seed,
        lattice_average=specimen.material.repeat_angstrom > 0,
    )


@generator("drift")
class DriftGenerator(Generator):
    """Generator of frames of drifting specimens, recorded with imperfect scans, and of the probe's displacements."""

    settings: ClassVar[type[CardModel]] = DriftSettings

    def specimen(self, card: Card, size: str, split: str, structure_seed: int) -> DriftSpecimen:  # noqa: ARG002 - all sizes draw alike
        """Return the specimen of a structure seed."""
        rng = random_generator(stream_seed(card, structure_seed, Stream.STRUCTURE))
        material = card.generator.material_of(structure_seed)
        return DriftSpecimen(
            split=split,
            structure_seed=structure_seed,
            name=f"{material.name}/{structure_seed}",
            material=material,
            setup=card.generator.setups[rng.integers(len(card.generator.setups))],
            size_angstrom=material.cell_angstrom,
            thickness_angstrom=None if material.thickness_angstrom is None else float(rng.uniform(*material.thickness_angstrom)),
            phonon_seed=stream_seed(card, structure_seed, Stream.MICROSCOPE),
        )

    def rows(self, card: Card, size: str, specimen: DriftSpecimen) -> Iterator[dict[str, Any]]:
        """Yield the rows of a specimen: the frames, the conditions and the truth."""
        from stemtwin.twin.instrument.simulation.plan import make_plan
        from stemtwin.twin.instrument.simulation.simulate import expected
        from stemtwin.twin.physics.noise import count_electrons_by_inversion, electrons_per_point

        sample, shape = specimen.sample(), card.generator.image_shape
        conditions = [draw_condition(card, specimen, i) for i in range(card.sizes[size].images_per_specimen[specimen.split])]
        window = window_angstrom(sample, specimen.setup, conditions)
        for image, condition in enumerate(conditions):
            points = true_points(card, condition, stream_seed(card, specimen.structure_seed, SCAN_STREAM, image))
            field, within = displacement(card, condition, points)
            asked = request(card, specimen, sample, condition, points.reshape(-1, 2))
            (signal,), *_ = expected(asked, make_plan(asked, window_angstrom=window))
            rng = random_generator(stream_seed(card, specimen.structure_seed, NOISE_STREAM, image))
            incident = electrons_per_point(condition.current_pa, condition.dwell_time_us * 1e-6)
            frames = np.zeros((max(card.generator.frames), *shape), dtype=np.uint32)
            frames[: condition.frames] = count_electrons_by_inversion(np.asarray(signal), incident, rng).reshape(-1, *shape)
            yield _facts(specimen, condition, sample, card) | {"image": frames, "displacement": field, "within_angstrom": within}

    def seconds(self, card: Card, size: str) -> float:
        """Return the estimated time of a build, s.

        The estimate is the sum of the times of all rows, and of one imaging operator for each specimen. The time of an
        operator is estimated once for each material and setup.
        """
        from stemtwin.twin.instrument.simulation.plan import make_plan

        asked, plans, planned = card.sizes[size], {}, 0.0
        for split in card.splits:
            for seed in card.structure_seeds(size, split):
                specimen = self.specimen(card, size, split, seed)
                key = (specimen.material.name, specimen.setup)
                if key not in plans:
                    sample, condition = specimen.sample(), draw_condition(card, specimen, 0)
                    one = request(card, specimen, sample, condition, condition.scan.positions().reshape(-1, 2))
                    plans[key] = make_plan(one, window_angstrom=window_angstrom(sample, specimen.setup, [condition])).seconds
                planned += plans[key] + ROW_SECONDS * asked.images_per_specimen[split]
        return planned


def _facts(specimen: DriftSpecimen, condition: DriftCondition, sample: "Sample", card: Card) -> dict[str, Any]:
    """Return the columns of a row with the specimen and the conditions."""
    settings, wrong = card.generator, condition.imperfections
    angles = np.zeros(max(settings.frames), dtype=np.float32)
    angles[: condition.frames] = condition.turns_rad
    return {
        "condition_seed": condition.seed,
        "material": specimen.material.name,
        "periodic": specimen.material.repeat_angstrom > 0,
        "repeat_angstrom": specimen.material.repeat_angstrom,
        "energy_ev": specimen.setup.energy_ev,
        "semiangle_mrad": specimen.setup.semiangle_mrad,
        "thickness_angstrom": float(sample.thickness_angstrom),
        "C10_angstrom": condition.C10_angstrom,
        "C12_angstrom": condition.C12_angstrom,
        "phi12_rad": condition.phi12_rad,
        "source_size_angstrom": condition.source_size_angstrom,
        "current_pa": condition.current_pa,
        "dwell_time_us": condition.dwell_time_us,
        "flyback_us": settings.flyback_us + settings.settle_us,
        "pause_s": settings.pause_s,
        "dose_e_per_angstrom2": condition.dose_e_per_angstrom2,
        "sampling_angstrom": condition.scan.field_of_view_angstrom[1] / settings.image_shape[1],
        "frames": condition.frames,
        "rotation_rad": angles,
        "drift_angstrom_per_s": math.hypot(*condition.velocity_angstrom_per_s),
        "walk_angstrom": condition.walk_angstrom,
        "jitter_angstrom": math.hypot(wrong.line_jitter_angstrom, wrong.line_wander_angstrom),
        "hum_angstrom": math.hypot(*wrong.hum_angstrom),
        "settling_fraction": wrong.settling_fraction,
    }
