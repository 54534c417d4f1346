"""``denoise``: dark-field and bright-field frames of thin specimens with vacancies, and their noiseless images.

A row holds one frame, or a stack of eight frames among which the dose is divided, recorded with an imperfect scan. The
truth has two parts. The noiseless image is the expected number of electrons in all frames together. Its pixels lie on the
commanded raster, moved as a whole by the mean displacement of the probe in the first frame. The list of lattice sites gives
the number of missing atoms of each site.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from stemtwin.datasets import dose as doses
from stemtwin.datasets.cards import Card
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.kinds import CardModel, Count, DrawnSpecimen, Fraction, Generator, Range, generator
from stemtwin.datasets.truth import frame_columns

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.twin.instrument.detectors import AnnularDetector
    from stemtwin.twin.instrument.hardware.profiles import Profile
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.samples.sample import Sample

CHANNELS = ("haadf", "abf")
ROW_SECONDS = 0.25
"""Usual time of a row with an existing imaging operator, s."""
SITE_DIGITS = 9
"""Number of decimals of site positions in A; the rounding removes differences between machines in the last bits."""


class DenoiseMaterial(CardModel):
    """Material of a card: the name of a sample for :func:`stemtwin.load_sample`, and the vacancies in it.

    ``haadf_range`` and ``abf_range`` are the ranges of the image values, as fractions of the incident beam, that enter the
    peak signal-to-noise ratio (PSNR) and the structural similarity (SSIM).
    """

    name: str
    setups: Annotated[tuple[str, ...], Field(min_length=1)]
    vacancies: Annotated[dict[str, Fraction], Field(min_length=1)]
    haadf_range: Annotated[float, Field(gt=0, le=1)]
    abf_range: Annotated[float, Field(gt=0, le=1)]
    thickness_angstrom: Range | None = None


class DenoiseSetup(CardModel):
    """Beam energy (eV), convergence semi-angle (mrad), and inner and outer angles of the two detectors (mrad)."""

    energy_ev: Annotated[float, Field(ge=1e3)]
    semiangle_mrad: Annotated[float, Field(gt=0)]
    haadf_mrad: Range
    abf_mrad: Range

    def detectors(self) -> "tuple[AnnularDetector, ...]":
        """Return the detectors of the two channels: HAADF, then ABF."""
        from stemtwin.twin.instrument.detectors import AnnularDetector

        angles = dict(zip(CHANNELS, (self.haadf_mrad, self.abf_mrad), strict=True))
        return tuple(AnnularDetector(inner_mrad=inner, outer_mrad=outer, name=name) for name, (inner, outer) in angles.items())


class DenoiseSettings(CardModel):
    """Settings of the kind ``denoise``, mostly ranges for random draws."""

    image_shape: tuple[Count, Count]
    frames: Count
    phonon_configurations: Count
    cell_angstrom: Annotated[float, Field(gt=0)]
    field_of_view_angstrom: Range
    dose_e_per_angstrom2: Range
    current_pa: Range
    dwell_time_us: Range
    C10_angstrom: Range
    C12_angstrom: Range
    source_size_angstrom: Range
    visible_fraction: Fraction
    scans: Annotated[tuple[str, ...], Field(min_length=1)]
    materials: Annotated[tuple[DenoiseMaterial, ...], Field(min_length=1)]
    setups: dict[str, DenoiseSetup]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the names, and that every dose is possible with a dwell time and a current in range."""
        from stemtwin.twin.instrument.hardware.profiles import PROFILES

        for material in self.materials:
            for setup in material.setups:
                if setup not in self.setups:
                    message = f"material {material.name!r} names the setup {setup!r}, which is not among {sorted(self.setups)}"
                    raise ValueError(message)
        for scan in self.scans:
            if scan not in PROFILES:
                message = f"scans contains {scan!r}, which is not an instrument profile; give names from {', '.join(PROFILES)}"
                raise ValueError(message)
        for dose, field, frames in itertools.product(self.dose_e_per_angstrom2, self.field_of_view_angstrom, (1, self.frames)):
            low, high = self.dwell_times(dose / frames, field)
            if low > high:
                message = (
                    f"a dose of {dose:g} e-/A^2 in {frames} frame(s) with a field of view of {field:g} A "
                    "needs a dwell time or current outside the card's ranges"
                )
                raise ValueError(message)
        return self

    def material_of(self, structure_seed: int) -> DenoiseMaterial:
        """Return the material of a structure seed; successive seeds cycle through the materials."""
        return self.materials[structure_seed % len(self.materials)]

    def dwell_times(self, dose_e_per_angstrom2: float, field_of_view_angstrom: float) -> tuple[float, float]:
        """Return the shortest and longest dwell time [us] for a dose [e-/A^2] of a frame with a square field of view [A]."""
        pixel = field_of_view_angstrom / self.image_shape[1]
        return doses.dwell_times(dose_e_per_angstrom2, pixel, dwell_time_us=self.dwell_time_us, current_pa=self.current_pa)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiseSpecimen(DrawnSpecimen):
    """One specimen in one setup.

    Parameters
    ----------
    material : DenoiseMaterial
        Material of the sample.
    setup : DenoiseSetup
        Beam and detectors.
    scan : str
        Name of the instrument profile with the scan distortion and the drift of the frames.
    size_angstrom : float
        Requested size of the cell, A.
    thickness_angstrom : float or None
        Requested thickness (A) or None for the library's default.
    microscope_seed : int
        Seed from which the microscope derives independent random streams for thermal motion, drift, jitter and counting
        noise.
    """

    material: DenoiseMaterial
    setup: DenoiseSetup
    scan: str
    size_angstrom: float
    thickness_angstrom: float | None
    microscope_seed: int

    def sample(self, *, intact: bool = False) -> "Sample":
        """Return the specimen's atoms as a :class:`~stemtwin.twin.samples.sample.Sample`, made by :func:`stemtwin.load_sample`.

        If ``intact`` is True, the sample has no vacancies.
        """
        from stemtwin.twin.samples.library import load_sample

        size, knobs = (self.size_angstrom, self.size_angstrom), {} if intact else self.material.vacancies
        return load_sample(self.material.name, size_angstrom=size, thickness_angstrom=self.thickness_angstrom, seed=self.structure_seed, **knobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiseCondition:
    """Conditions of one row.

    Parameters
    ----------
    seed : int
        Seed with which the conditions were drawn.
    frames : int
        Number of frames among which the dose is divided.
    C10_angstrom, C12_angstrom, phi12_rad, source_size_angstrom : float
        C10 (= -defocus), A; magnitude (A) and azimuth (rad) of the two-fold astigmatism; and source size as a standard
        deviation, A.
    scan : RasterScan
        Commanded raster.
    dose_e_per_angstrom2, dwell_time_us, current_pa : float
        Dose of all frames [e-/A^2], dwell time per pixel and frame [us] and probe current [pA]; any two of them
        determine the third.
    """

    seed: int
    frames: int
    C10_angstrom: float
    C12_angstrom: float
    phi12_rad: float
    source_size_angstrom: float
    scan: "RasterScan"
    dose_e_per_angstrom2: float
    dwell_time_us: float
    current_pa: float


def draw_condition(card: Card, specimen: DenoiseSpecimen, image: int) -> DenoiseCondition:
    """Return the conditions of the row with number ``image`` of a specimen.

    Successive rows alternate between single frames and stacks. Single frames cycle through the decades of dose, and so do
    stacks.
    """
    from stemtwin.twin.instrument.scan import RasterScan

    settings = card.generator
    seed = stream_seed(card, specimen.structure_seed, Stream.CONDITIONS, image)
    rng = random_generator(seed)
    low, high = np.log10(settings.dose_e_per_angstrom2)
    decades = max(1, round(high - low))
    turn = (specimen.structure_seed // len(settings.materials) + image // 2) % decades
    dose = float(10 ** (low + (high - low) * (turn + rng.random()) / decades))
    frames = settings.frames if (specimen.structure_seed + image) % 2 else 1
    field = float(rng.uniform(*settings.field_of_view_angstrom))
    dwell = math.exp(rng.uniform(*np.log(settings.dwell_times(dose / frames, field))))
    origin, turned = rng.uniform(0, specimen.size_angstrom, 2), float(rng.uniform(0, 2 * math.pi))
    return DenoiseCondition(
        seed=seed,
        frames=frames,
        C10_angstrom=float(rng.uniform(*settings.C10_angstrom)),
        C12_angstrom=float(rng.uniform(*settings.C12_angstrom)),
        phi12_rad=float(rng.uniform(0, math.pi)),
        source_size_angstrom=float(rng.uniform(*settings.source_size_angstrom)),
        scan=RasterScan(
            shape=settings.image_shape, field_of_view_angstrom=(field, field), origin_angstrom=tuple(origin.tolist()), rotation_rad=turned
        ),
        dose_e_per_angstrom2=dose,
        dwell_time_us=dwell,
        current_pa=doses.current(dose / frames, field / settings.image_shape[1], dwell),
    )


@generator("denoise")
class DenoiseGenerator(Generator):
    """Generator of noisy frames of specimens with vacancies, and of the same images without noise and distortion."""

    settings: ClassVar[type[CardModel]] = DenoiseSettings

    def specimen(self, card: Card, size: str, split: str, structure_seed: int) -> DenoiseSpecimen:  # noqa: ARG002 - all sizes draw alike
        """Return the specimen of a structure seed."""
        rng = random_generator(stream_seed(card, structure_seed, Stream.STRUCTURE))
        material = card.generator.material_of(structure_seed)
        setup, scan = material.setups[rng.integers(len(material.setups))], card.generator.scans[rng.integers(len(card.generator.scans))]
        return DenoiseSpecimen(
            split=split,
            structure_seed=structure_seed,
            name=f"{material.name}/{structure_seed}",
            material=material,
            setup=card.generator.setups[setup],
            scan=scan,
            size_angstrom=card.generator.cell_angstrom,
            thickness_angstrom=None if material.thickness_angstrom is None else float(rng.uniform(*material.thickness_angstrom)),
            microscope_seed=stream_seed(card, structure_seed, Stream.MICROSCOPE),
        )

    def rows(self, card: Card, size: str, specimen: DenoiseSpecimen) -> Iterator[dict[str, Any]]:
        """Yield the rows of a specimen: the frames, the conditions and the truth."""
        sample = specimen.sample()
        conditions = [draw_condition(card, specimen, i) for i in range(card.sizes[size].images_per_specimen[specimen.split])]
        window = window_angstrom(sample, specimen.setup, conditions)
        real, still = (_microscope(sample, specimen, card, window, profile) for profile in _profiles(specimen.scan))
        for condition in conditions:
            image, offset = recorded(real, condition, specimen, card)
            origin = condition.scan.origin_angstrom
            seen = replace(condition.scan, origin_angstrom=(origin[0] + offset[0], origin[1] + offset[1]))
            facts = _facts(specimen, condition, sample, card)
            truth = expected(still, seen, condition, specimen) * condition.frames
            yield facts | {"image": image, "expected": truth.astype(np.float32)} | frame_sites(specimen, sample, seen, card)

    def request(self, card: Card, size: str, specimen: DenoiseSpecimen, image: int) -> "Request":  # noqa: ARG002 - all sizes draw alike
        """Return the simulation request for a row's expected signals."""
        from stemtwin.twin.instrument.settings import Beam
        from stemtwin.twin.instrument.simulation.request import Request
        from stemtwin.twin.physics.aberrations import Aberrations

        setup, condition = specimen.setup, draw_condition(card, specimen, image)
        turned = Aberrations(C10=condition.C10_angstrom, C12=condition.C12_angstrom, phi12=condition.phi12_rad)
        return Request(
            sample=specimen.sample(),
            beam=Beam(energy_ev=setup.energy_ev, semiangle_mrad=setup.semiangle_mrad, aberrations=turned),
            scan=condition.scan,
            detectors=setup.detectors(),
            phonons=card.generator.phonon_configurations,
            seed=specimen.microscope_seed,
            lattice_average=False,
        )

    def seconds(self, card: Card, size: str) -> float:
        """Return the estimated time of a build, s.

        The estimate is the sum of the times of all rows and imaging operators. The time of an imaging operator is
        determined only once for each material, setup and thickness.
        """
        asked, plans, planned = card.sizes[size], {}, 0.0
        for split in card.splits:
            for seed in card.structure_seeds(size, split):
                specimen = self.specimen(card, size, split, seed)
                sample = specimen.sample()
                key = (specimen.material.name, specimen.setup, sample.thickness_angstrom)
                if key not in plans:
                    plans[key] = _planned(card, specimen, sample)
                planned += plans[key] + ROW_SECONDS * asked.images_per_specimen[split]
        return planned


def _planned(card: Card, specimen: DenoiseSpecimen, sample: "Sample") -> float:
    """Return the estimated time (s) for the computation of a specimen's imaging operator."""
    from stemtwin.twin.instrument.settings import Beam
    from stemtwin.twin.instrument.simulation.engines.operator import NAME as OPERATOR
    from stemtwin.twin.instrument.simulation.plan import make_plan
    from stemtwin.twin.instrument.simulation.request import Request

    setup, condition = specimen.setup, draw_condition(card, specimen, 0)
    request = Request(
        sample=sample,
        beam=Beam(energy_ev=setup.energy_ev, semiangle_mrad=setup.semiangle_mrad),
        scan=condition.scan,
        detectors=setup.detectors(),
        engine=OPERATOR,
        phonons=card.generator.phonon_configurations,
        lattice_average=False,
    )
    return make_plan(request, window_angstrom=window_angstrom(sample, setup, [condition])).seconds


def window_angstrom(sample: "Sample", setup: DenoiseSetup, conditions: Sequence[DenoiseCondition]) -> float:
    """Return a window width (A) that suffices for the probes of all conditions at all depths.

    With one common window, all conditions use the same imaging operator.
    """
    from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
    from stemtwin.twin.physics.aberrations import Aberrations, blur_radius

    probes = (
        Aberrations(C10=c.C10_angstrom + z, C12=c.C12_angstrom, phi12=c.phi12_rad) for c in conditions for z in (0.0, sample.thickness_angstrom)
    )
    return WINDOW_MARGIN + 2 * max(blur_radius(probe, setup.semiangle_mrad * 1e-3) for probe in probes)


def _profiles(scan: str) -> "tuple[Profile, Profile]":
    """Return two profiles with ideal optics, with and without the scan distortion and drift of a given profile.

    Both profiles are free of hysteresis, drifting aberrations, fluctuations of the gun, and the errors that a calibration
    of the scan removes (scales, angle between the axes, rotation). The remaining errors displace the probe, but change
    neither its shape nor its current.
    """
    from stemtwin.twin.instrument.hardware.drift import Instabilities
    from stemtwin.twin.instrument.hardware.profiles import PROFILES

    theirs, none = PROFILES[scan], (0.0, 0.0)
    wrong = replace(theirs.imperfections, hysteresis_fraction=0.0, scale_error=none, non_orthogonality_rad=0.0, rotation_error_rad=0.0)
    drift = Instabilities(
        drift_speed_angstrom_per_s=theirs.instabilities.drift_speed_angstrom_per_s, drift_walk_angstrom=theirs.instabilities.drift_walk_angstrom
    )
    real = replace(PROFILES["ideal"], imperfections=wrong, instabilities=drift, flyback_us=theirs.flyback_us, settle_us=theirs.settle_us)
    return real, real.still()


def _microscope(sample: "Sample", specimen: DenoiseSpecimen, card: Card, window: float, profile: "Profile") -> "Microscope":
    """Return a microscope for a specimen.

    All microscopes of a specimen share the imaging operator and the thermal motion, which follows from the seed.
    """
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.simulation.engines.operator import NAME as OPERATOR

    return Microscope(
        sample,
        instrument=profile,
        seed=specimen.microscope_seed,
        phonons=card.generator.phonon_configurations,
        lattice_average=False,
        engine=OPERATOR,
        window_angstrom=window,
        rotated="spline",
    )


def _set(scope: "Microscope", condition: DenoiseCondition, setup: DenoiseSetup) -> None:
    """Set a microscope to the conditions of a row."""
    scope.set(
        energy_ev=setup.energy_ev,
        semiangle_mrad=setup.semiangle_mrad,
        C10=condition.C10_angstrom,
        C12=condition.C12_angstrom,
        phi12=condition.phi12_rad,
        source_size_angstrom=condition.source_size_angstrom,
        current_pa=condition.current_pa,
    )


def recorded(scope: "Microscope", condition: DenoiseCondition, specimen: DenoiseSpecimen, card: Card) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of the recorded frames, and the offset of the probe positions of the first frame.

    Returns
    -------
    image : ndarray
        Counts (frames, channels, ny, nx), e-. In a row with a single frame, all further frames of the array are 0.
    offset : ndarray
        Mean displacement (x, y) of the first frame's probe positions from the commanded raster, A.
    """
    _set(scope, condition, specimen.setup)
    image = np.zeros((card.generator.frames, len(CHANNELS), *card.generator.image_shape), dtype=np.uint32)
    dwell, detectors = condition.dwell_time_us, specimen.setup.detectors()
    image[0] = _stacked(scope.acquire(condition.scan, dwell_time_us=dwell, detectors=detectors))
    was = scope.truth()["expected"]
    at = np.stack([was["specimen_x"].to_numpy(), was["specimen_y"].to_numpy()], axis=-1)
    offset = (at - condition.scan.positions()).mean(axis=(0, 1))
    for number in range(1, condition.frames):
        image[number] = _stacked(scope.acquire(condition.scan, dwell_time_us=dwell, detectors=detectors))
    return image, offset


def expected(scope: "Microscope", scan: "RasterScan", condition: DenoiseCondition, specimen: DenoiseSpecimen) -> np.ndarray:
    """Return the expected number of electrons in each pixel of one frame, (channels, ny, nx), float64."""
    _set(scope, condition, specimen.setup)
    scope.acquire(scan, dwell_time_us=condition.dwell_time_us, detectors=specimen.setup.detectors())
    found = scope.truth()["expected"]
    return _stacked(found) * found["incident_electrons"].to_numpy()


def _stacked(data: "xr.Dataset") -> np.ndarray:
    """Return the channels of a frame, (channels, ny, nx)."""
    return np.stack([data[name].to_numpy() for name in CHANNELS])


def frame_sites(specimen: DenoiseSpecimen, sample: "Sample", scan: "RasterScan", card: Card) -> dict[str, Any]:
    """Return the sites of the intact lattice in a frame, with the number of missing atoms of each site.

    The sites are the visible projected columns of the specimen without vacancies. A column is visible if its weight in
    the dark field is at least ``visible_fraction`` of the largest weight in the frame.
    """
    from stemtwin.twin.samples.columns import projected_columns

    intact = specimen.sample(intact=True)
    columns = projected_columns(intact)
    present = replace(columns, occupancy=_atoms_near(sample, np.column_stack([columns.x, columns.y])))
    whole, left = (frame_columns(found, intact.size_angstrom, scan, card.generator.visible_fraction) for found in (columns, present))
    seen = np.flatnonzero(whole["column_visible"])
    atoms = np.rint(np.array(whole["column_occupancy"], dtype=float)[seen]).astype(np.int64)
    missing = atoms - np.rint(np.array(left["column_occupancy"], dtype=float)[seen]).astype(np.int64)
    return {
        "n_sites": len(seen),
        "site_x_angstrom": np.round(np.array(whole["column_x_angstrom"], dtype=float)[seen], SITE_DIGITS).tolist(),
        "site_y_angstrom": np.round(np.array(whole["column_y_angstrom"], dtype=float)[seen], SITE_DIGITS).tolist(),
        "site_species": [whole["column_species"][i] for i in seen],
        "site_atoms": atoms.tolist(),
        "site_missing": missing.tolist(),
    }


def _atoms_near(sample: "Sample", places: np.ndarray) -> np.ndarray:
    """Return the number of atoms to which each projected position (n, 2) is the nearest; positions are periodic with the cell."""
    from scipy.spatial import cKDTree

    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    _, nearest = cKDTree(places % box, boxsize=box).query(sample.positions_angstrom[:, :2] % box)
    return np.bincount(nearest, minlength=len(places)).astype(float)


def _facts(specimen: DenoiseSpecimen, condition: DenoiseCondition, sample: "Sample", card: Card) -> dict[str, Any]:
    """Return the columns of a row with the specimen and the conditions."""
    return {
        "condition_seed": condition.seed,
        "material": specimen.material.name,
        "scan": specimen.scan,
        "energy_ev": specimen.setup.energy_ev,
        "semiangle_mrad": specimen.setup.semiangle_mrad,
        "thickness_angstrom": float(sample.thickness_angstrom),
        "C10_angstrom": condition.C10_angstrom,
        "C12_angstrom": condition.C12_angstrom,
        "phi12_rad": condition.phi12_rad,
        "source_size_angstrom": condition.source_size_angstrom,
        "current_pa": condition.current_pa,
        "dwell_time_us": condition.dwell_time_us,
        "dose_e_per_angstrom2": condition.dose_e_per_angstrom2,
        "sampling_angstrom": condition.scan.field_of_view_angstrom[1] / card.generator.image_shape[1],
        "frames": condition.frames,
        "haadf_range": specimen.material.haadf_range,
        "abf_range": specimen.material.abf_range,
    }
