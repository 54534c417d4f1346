"""``atoms-2d``: HAADF images of the sample library, in counted electrons, and the projected atomic columns of each frame."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from stemtwin.datasets import dose as doses
from stemtwin.datasets.cards import Card
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.kinds import CardModel, Count, DrawnSpecimen, Fraction, Generator, Range, Size, generator
from stemtwin.datasets.truth import frame_columns

if TYPE_CHECKING:
    from stemtwin.twin.instrument.detectors import AnnularDetector
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.samples.sample import Sample

IMAGE_SECONDS = 0.2
"""Time of an image with an existing imaging operator on two cores, s."""


class CardMaterial(CardModel):
    """Material of a card: a sample of the library, and ranges from which its specimens and images are drawn."""

    name: str
    setups: Annotated[tuple[str, ...], Field(min_length=1)]
    dose_e_per_angstrom2: Range
    thickness_angstrom: Range | None = None
    size_angstrom: Annotated[float, Field(gt=0)] | None = None
    engine: Literal["operator", "local"] = "operator"


class CardInstrument(CardModel):
    """An instrument at one beam energy and convergence semi-angle, with the angles of its HAADF detector."""

    instrument: str
    energy_ev: Annotated[float, Field(ge=1e3)]
    semiangle_mrad: Annotated[float, Field(gt=0)]
    inner_mrad: Annotated[float, Field(gt=0)]
    outer_mrad: Annotated[float, Field(gt=0)]


class AtomsSettings(CardModel):
    """Settings of the kind ``atoms-2d``, mostly ranges for random draws."""

    image_shape: tuple[Count, Count]
    phonon_configurations: Count | Literal["auto"]
    """Number of frozen-phonon configurations. With ``"auto"``, signals of perfect crystals are averaged over the lattice, with
    2 to 8 configurations: as many as are needed for the error of 8 configurations without this average."""
    field_of_view_angstrom: Range
    C10_angstrom: Range
    C12_angstrom: Range
    current_pa: Range
    dwell_time_us: Range
    visible_fraction: Fraction
    materials: Annotated[tuple[CardMaterial, ...], Field(min_length=1)]
    setups: dict[str, CardInstrument]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the names, and that every dose is possible with a dwell time and a current in range."""
        for material in self.materials:
            for setup in material.setups:
                if setup not in self.setups:
                    message = f"material {material.name!r} names the setup {setup!r}, which is not among {sorted(self.setups)}"
                    raise ValueError(message)
            for dose, field in itertools.product(material.dose_e_per_angstrom2, self.field_of_view_angstrom):
                low, high = self.dwell_times(dose, field)
                if low > high:
                    message = f"a dose of {dose:g} e-/A^2 on a field of view of {field:g} A needs a dwell time or current outside the card's ranges"
                    raise ValueError(message)
        return self

    def material_of(self, structure_seed: int) -> CardMaterial:
        """Return the material of a structure seed; successive seeds cycle through the materials."""
        return self.materials[structure_seed % len(self.materials)]

    def dwell_times(self, dose_e_per_angstrom2: float, field_of_view_angstrom: float) -> tuple[float, float]:
        """Return the shortest and longest dwell time [us] for a dose [e-/A^2] on a square field of view [A]."""
        pixel = field_of_view_angstrom / self.image_shape[1]
        return doses.dwell_times(dose_e_per_angstrom2, pixel, dwell_time_us=self.dwell_time_us, current_pa=self.current_pa)


class AtomsSize(Size):
    """Size of a dataset, and the largest thickness of its specimens, A."""

    thickness_at_most_angstrom: Annotated[float, Field(gt=0)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomsSpecimen(DrawnSpecimen):
    """One specimen in one instrument.

    Parameters
    ----------
    material : str
        Name of the sample in the library, which is built with the structure seed.
    setup : CardInstrument
        Instrument profile, beam energy [eV], convergence semi-angle [mrad] and detector angles [mrad].
    size_angstrom : float or None
        Requested size of the cell (A) or None for the library's default.
    thickness_angstrom : float or None
        Requested thickness (A) or None for the library's default.
    engine : str
        Name of the simulation engine: ``"operator"`` or ``"local"``.
    microscope_seed : int
        Seed from which the microscope derives independent random streams for thermal motion and counting noise.
    """

    material: str
    setup: CardInstrument
    size_angstrom: float | None
    thickness_angstrom: float | None
    engine: str
    microscope_seed: int

    def sample(self) -> "Sample":
        """Return the atoms that :func:`stemtwin.load_sample` builds for the specimen."""
        from stemtwin.twin.samples.library import load_sample

        wanted = None if self.size_angstrom is None else (self.size_angstrom, self.size_angstrom)
        return load_sample(self.material, size_angstrom=wanted, thickness_angstrom=self.thickness_angstrom, seed=self.structure_seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Conditions of one image.

    Parameters
    ----------
    seed : int
        Seed with which the conditions were drawn.
    C10_angstrom, C12_angstrom, phi12_rad : float
        C10 (= -defocus), A; magnitude (A) and azimuth (rad) of the two-fold astigmatism.
    field_of_view_angstrom : float
        Height and width of the square frame, A.
    origin_fraction : tuple of float
        Position (x, y) of pixel [0, 0] before the rotation, in units of the cell's size.
    rotation_rad : float
        Rotation of the frame about its centre, rad.
    dose_e_per_angstrom2, dwell_time_us, current_pa : float
        Dose [e-/A^2], dwell time per pixel [us] and probe current [pA]; any two of them determine the third.
    """

    seed: int
    C10_angstrom: float
    C12_angstrom: float
    phi12_rad: float
    field_of_view_angstrom: float
    origin_fraction: tuple[float, float]
    rotation_rad: float
    dose_e_per_angstrom2: float
    dwell_time_us: float
    current_pa: float

    def scan(self, shape: tuple[int, int], size_angstrom: tuple[float, float]) -> "RasterScan":
        """Return the raster of the image; ``shape`` is in pixels (ny, nx), ``size_angstrom`` the cell's size (y, x), A."""
        from stemtwin.twin.instrument.scan import RasterScan

        return RasterScan(
            shape=shape,
            field_of_view_angstrom=(self.field_of_view_angstrom, self.field_of_view_angstrom),
            origin_angstrom=(self.origin_fraction[0] * size_angstrom[1], self.origin_fraction[1] * size_angstrom[0]),
            rotation_rad=self.rotation_rad,
        )


def draw_condition(card: Card, structure_seed: int, image: int) -> Condition:
    """Return the conditions of the image with number ``image`` of a specimen.

    Successive images cycle through the decades of dose.
    """
    settings = card.generator
    seed = stream_seed(card, structure_seed, Stream.CONDITIONS, image)
    rng = random_generator(seed)
    field = float(rng.uniform(*settings.field_of_view_angstrom))
    dose = _dose(settings.material_of(structure_seed).dose_e_per_angstrom2, structure_seed + image, float(rng.random()))
    dwell = math.exp(rng.uniform(*np.log(settings.dwell_times(dose, field))))
    return Condition(
        seed=seed,
        C10_angstrom=float(rng.uniform(*settings.C10_angstrom)),
        C12_angstrom=float(rng.uniform(*settings.C12_angstrom)),
        phi12_rad=float(rng.uniform(0, math.pi)),
        field_of_view_angstrom=field,
        origin_fraction=(float(rng.random()), float(rng.random())),
        rotation_rad=float(rng.uniform(0, 2 * math.pi)),
        dose_e_per_angstrom2=dose,
        dwell_time_us=dwell,
        current_pa=doses.current(dose, field / settings.image_shape[1], dwell),
    )


def _dose(limits: tuple[float, float], turn: int, fraction: float) -> float:
    """Return a dose [e-/A^2] at a fraction, on the logarithmic scale, of the decade with number ``turn``."""
    low, high = math.log10(limits[0]), math.log10(limits[1])
    decades = max(1, round(high - low))
    return 10 ** (low + (high - low) * (turn % decades + fraction) / decades)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """One recorded image: the counts (ny, nx), e-, and the source size as a standard deviation, A."""

    counts: np.ndarray
    source_size_angstrom: float


@generator("atoms-2d")
class AtomsGenerator(Generator):
    """Generator of images under random conditions, with the projected atomic columns in each image."""

    settings: ClassVar[type[CardModel]] = AtomsSettings
    size: ClassVar[type[Size]] = AtomsSize

    def specimen(self, card: Card, size: str, split: str, structure_seed: int) -> AtomsSpecimen:
        """Return the specimen of a structure seed."""
        rng = random_generator(stream_seed(card, structure_seed, Stream.STRUCTURE))
        material = card.generator.material_of(structure_seed)
        setup = material.setups[rng.integers(len(material.setups))]
        thickness = None
        if material.thickness_angstrom is not None:
            low, high = material.thickness_angstrom
            limit = card.sizes[size].thickness_at_most_angstrom
            thickness = float(rng.uniform(low, high if limit is None else min(high, limit)))
        return AtomsSpecimen(
            split=split,
            structure_seed=structure_seed,
            name=f"{material.name}/{structure_seed}",
            material=material.name,
            setup=card.generator.setups[setup],
            size_angstrom=material.size_angstrom,
            thickness_angstrom=thickness,
            engine=material.engine,
            microscope_seed=stream_seed(card, structure_seed, Stream.MICROSCOPE),
        )

    def rows(self, card: Card, size: str, specimen: AtomsSpecimen) -> Iterator[dict[str, Any]]:
        """Yield the row of each image of a specimen: the counts, the conditions and the truth."""
        from stemtwin.twin.samples.columns import projected_columns

        sample, settings = specimen.sample(), card.generator
        columns = projected_columns(sample)
        conditions = [draw_condition(card, specimen.structure_seed, i) for i in range(card.sizes[size].images_per_specimen[specimen.split])]
        for condition, shot in zip(conditions, microscope_shots(sample, specimen, conditions, card), strict=True):
            scan = condition.scan(settings.image_shape, sample.size_angstrom)
            truth = frame_columns(columns, sample.size_angstrom, scan, settings.visible_fraction)
            yield {"image": shot.counts} | _facts(specimen, condition, sample, shot, card) | truth

    def request(self, card: Card, size: str, specimen: AtomsSpecimen, image: int) -> "Request":  # noqa: ARG002 - the specimen knows its size
        """Return the simulation request for an image's expected signal, with the instrument's residual aberrations."""
        from stemtwin.twin.instrument.hardware.profiles import PROFILES
        from stemtwin.twin.instrument.settings import Beam
        from stemtwin.twin.instrument.simulation.request import Request
        from stemtwin.twin.physics.aberrations import Aberrations, add

        sample, setup, condition = specimen.sample(), specimen.setup, draw_condition(card, specimen.structure_seed, image)
        turned = Aberrations(C10=condition.C10_angstrom, C12=condition.C12_angstrom, phi12=condition.phi12_rad)
        beam = Beam(energy_ev=setup.energy_ev, semiangle_mrad=setup.semiangle_mrad, aberrations=add(turned, PROFILES[setup.instrument].residual))
        scan, phonons = condition.scan(card.generator.image_shape, sample.size_angstrom), card.generator.phonon_configurations
        return Request(
            sample=sample, beam=beam, scan=scan, detectors=(haadf(setup),), phonons=phonons, seed=specimen.microscope_seed, lattice_average="auto"
        )

    def seconds(self, card: Card, size: str) -> float:
        """Return the estimated time of a build, s.

        The estimate is the sum of the times of all images and specimens. For each material and setup, the time is
        determined for one specimen of median thickness and is used for all specimens.
        """
        asked, alike, planned = card.sizes[size], defaultdict(list), 0.0
        for split in card.splits:
            for seed in card.structure_seeds(size, split):
                specimen = self.specimen(card, size, split, seed)
                alike[specimen.material, specimen.setup].append(specimen)
                planned += IMAGE_SECONDS * asked.images_per_specimen[split]
        for those in alike.values():
            middle = sorted(those, key=lambda one: one.thickness_angstrom or 0)[len(those) // 2]
            planned += len(those) * _planned(card, middle)
        return planned


def _planned(card: Card, specimen: AtomsSpecimen) -> float:
    """Return the estimated time (s) for the computation of a specimen's imaging operator."""
    from stemtwin.twin.instrument.settings import Beam
    from stemtwin.twin.instrument.simulation.plan import make_plan
    from stemtwin.twin.instrument.simulation.request import Request

    sample, setup, condition = specimen.sample(), specimen.setup, draw_condition(card, specimen.structure_seed, 0)
    request = Request(
        sample=sample,
        beam=Beam(energy_ev=setup.energy_ev, semiangle_mrad=setup.semiangle_mrad),
        scan=condition.scan(card.generator.image_shape, sample.size_angstrom),
        detectors=(haadf(setup),),
        engine=specimen.engine,
        phonons=card.generator.phonon_configurations,
        lattice_average="auto",  # applies only to phonons="auto"
    )
    return make_plan(request, window_angstrom=_window(sample, setup, [condition])).seconds


def haadf(setup: CardInstrument) -> "AnnularDetector":
    """Return the HAADF detector of an instrument of the card."""
    from stemtwin.twin.instrument.detectors import AnnularDetector

    return AnnularDetector(inner_mrad=setup.inner_mrad, outer_mrad=setup.outer_mrad, name="haadf")


def _facts(specimen: AtomsSpecimen, condition: Condition, sample: "Sample", shot: Shot, card: Card) -> dict[str, Any]:
    """Return the columns of a row with the specimen and the conditions of the image."""
    return {
        "condition_seed": condition.seed,
        "material": specimen.material,
        "instrument": specimen.setup.instrument,
        "energy_ev": specimen.setup.energy_ev,
        "semiangle_mrad": specimen.setup.semiangle_mrad,
        "thickness_angstrom": float(sample.thickness_angstrom),
        "C10_angstrom": condition.C10_angstrom,
        "C12_angstrom": condition.C12_angstrom,
        "phi12_rad": condition.phi12_rad,
        "current_pa": condition.current_pa,
        "dwell_time_us": condition.dwell_time_us,
        "dose_e_per_angstrom2": condition.dose_e_per_angstrom2,
        "source_size_angstrom": float(shot.source_size_angstrom),
        "sampling_angstrom": condition.field_of_view_angstrom / card.generator.image_shape[1],
    }


def microscope_shots(sample: "Sample", specimen: AtomsSpecimen, conditions: Sequence[Condition], card: Card) -> Iterator[Shot]:
    """Yield the recorded images of a specimen under given conditions.

    All images are recorded by one simulated microscope, so its imaging operator is built only once.
    """
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scope.microscope import Microscope

    setup, settings = specimen.setup, card.generator
    scope = Microscope(
        sample,
        instrument=PROFILES[setup.instrument].still(),
        seed=specimen.microscope_seed,
        phonons=settings.phonon_configurations,
        lattice_average="auto",  # applies only to phonons="auto"
        engine=specimen.engine,
        window_angstrom=_window(sample, setup, conditions),
        counting="numpy",
        rotated="spline",
    )
    detector = haadf(setup)
    scope.set(energy_ev=setup.energy_ev, semiangle_mrad=setup.semiangle_mrad)
    for condition in conditions:
        scope.set(C10=condition.C10_angstrom, C12=condition.C12_angstrom, phi12=condition.phi12_rad, current_pa=condition.current_pa)
        scan = condition.scan(settings.image_shape, sample.size_angstrom)
        frame = scope.acquire(scan, dwell_time_us=condition.dwell_time_us, detectors=(detector,))
        yield Shot(counts=frame[detector.name].to_numpy(), source_size_angstrom=scope.settings.source_size_angstrom)


def _window(sample: "Sample", setup: CardInstrument, conditions: Sequence[Condition]) -> float:
    """Return the width (A) of a window that holds the probes of all conditions at all depths of the sample.

    With one common window, all conditions use the same imaging operator.
    """
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
    from stemtwin.twin.physics.aberrations import Aberrations, add, blur_radius

    radius = 0.0
    for condition in conditions:
        for depth in (0.0, sample.thickness_angstrom):
            turned = Aberrations(C10=condition.C10_angstrom + depth, C12=condition.C12_angstrom, phi12=condition.phi12_rad)
            radius = max(radius, blur_radius(add(turned, PROFILES[setup.instrument].residual), setup.semiangle_mrad * 1e-3))
    return WINDOW_MARGIN + 2 * radius
