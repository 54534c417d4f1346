"""``ronchigram``: Ronchigrams of films and crystals with a stationary probe and a wide aperture, and their aberrations.

A row holds one Ronchigram in counted electrons. The truth has two parts: the Cartesian coefficients of all aberrations up to
third order, and the largest usable aperture. Within this aperture, the phase of the aberrations beyond first order, which
focus and stigmator cannot correct, stays within pi/4.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from stemtwin.datasets.cards import Card
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.kinds import CardModel, Count, DrawnSpecimen, Fraction, Generator, Range, generator

if TYPE_CHECKING:
    from stemtwin.twin.instrument.detectors import PixelatedDetector
    from stemtwin.twin.instrument.settings import Beam
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.physics.aberrations import Aberrations
    from stemtwin.twin.samples.sample import Sample

COEFFICIENTS = ("C10", "C12a", "C12b", "C21a", "C21b", "C23a", "C23b", "C30", "C32a", "C32b", "C34a", "C34b")
"""Cartesian coefficients to third order, in the order of all arrays of coefficients."""
FIRST_ORDER = 3
"""Number of coefficients that focus and two-fold stigmator correct."""
LEAST_APERTURE_MRAD, APERTURE_DIGITS = 5.0, 6
NOISE_STREAM = 3
"""Number of the random stream of each row for the counting noise."""
FIRST_SECONDS, ROW_SECONDS = 4.0, 0.4
"""Usual time for a specimen including its transmission function, and for a row, s."""


class RonchigramMaterial(CardModel):
    """Material of a card: a sample of the library, its size (A) and the range of its thickness, A."""

    name: str
    size_angstrom: Annotated[float, Field(gt=0)]
    thickness_angstrom: Range
    amorphous: bool


class RonchigramSettings(CardModel):
    """Settings of the kind ``ronchigram``, mostly ranges for random draws."""

    image_shape: tuple[Count, Count]
    outer_mrad: Annotated[float, Field(gt=0)]
    semiangle_mrad: Annotated[float, Field(gt=0)]
    reference_mrad: Annotated[float, Field(gt=0)]
    energy_ev: Annotated[tuple[float, ...], Field(min_length=1)]
    electrons: Range
    focal_spread_angstrom: Range
    C10_angstrom: float
    sigma_angstrom: dict[str, Annotated[float, Field(gt=0)]]
    spread: Range
    coherence_tolerance: Fraction
    materials: Annotated[tuple[RonchigramMaterial, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check that every aberration has a standard deviation, and that the angles are in ascending order."""
        wanted = sorted({name.rstrip("ab") for name in COEFFICIENTS})
        if sorted(self.sigma_angstrom) != wanted:
            message = f"sigma_angstrom names {sorted(self.sigma_angstrom)}, but must name exactly {wanted}"
            raise ValueError(message)
        if not self.reference_mrad <= self.semiangle_mrad <= self.outer_mrad:
            angles = f"reference_mrad {self.reference_mrad:g}, semiangle_mrad {self.semiangle_mrad:g} and outer_mrad {self.outer_mrad:g}"
            message = f"{angles} must be in ascending order"
            raise ValueError(message)
        return self

    def sigmas(self) -> np.ndarray:
        """Return the standard deviations of the Cartesian coefficients, A, shape (12,), before multiplication by a row's ``spread``."""
        return np.array([self.sigma_angstrom[name.rstrip("ab")] for name in COEFFICIENTS])

    def means(self) -> np.ndarray:
        """Return the means of the Cartesian coefficients, A, shape (12,): the commanded C10, and 0 for all other coefficients."""
        return np.array([self.C10_angstrom if name == "C10" else 0.0 for name in COEFFICIENTS])

    def camera(self) -> "PixelatedDetector":
        """Return the camera of the Ronchigrams."""
        from stemtwin.twin.instrument.detectors import PixelatedDetector

        return PixelatedDetector(shape=self.image_shape, outer_mrad=self.outer_mrad, name="ronchigram")


def aberrations_of(coefficients: np.ndarray) -> "Aberrations":
    """Return the aberrations with given Cartesian coefficients (12,), A."""
    from stemtwin.twin.physics.aberrations import Aberrations

    named: Mapping[str, float] = dict(zip(COEFFICIENTS, np.asarray(coefficients, dtype=float).tolist(), strict=True))
    return Aberrations.from_cartesian(**named)


def flat_aperture_mrad(coefficients: np.ndarray, semiangle_mrad: float, energy_ev: float) -> float:
    """Return the largest aperture, mrad, within which the phase of the aberrations beyond first order stays within pi/4.

    Parameters
    ----------
    coefficients : ndarray
        Cartesian coefficients (12,), A. The first three (focus and two-fold astigmatism) are ignored, as if corrected.
    semiangle_mrad : float
        Upper limit of the result, mrad; the lower limit is 5 mrad.
    energy_ev : float
        Beam energy, eV.
    """
    from stemtwin.twin.physics.electrons import wavelength
    from stemtwin.twin.physics.phase_error import flat_angle

    beyond = np.where(np.arange(len(COEFFICIENTS)) < FIRST_ORDER, 0.0, coefficients)
    angle = flat_angle(wavelength(energy_ev), semiangle_mrad * 1e-3, aberrations_of(beyond))
    return max(LEAST_APERTURE_MRAD, round(1e3 * angle, APERTURE_DIGITS))


@dataclass(frozen=True, slots=True, kw_only=True)
class RonchigramSpecimen(DrawnSpecimen):
    """One specimen: a material with a drawn thickness.

    Parameters
    ----------
    material : RonchigramMaterial
        Material of the sample.
    thickness_angstrom : float
        Requested thickness, A.
    """

    material: RonchigramMaterial
    thickness_angstrom: float

    def sample(self) -> "Sample":
        """Return the atoms of the specimen, as a sample of the library."""
        from stemtwin.twin.samples.library import load_sample

        size = (self.material.size_angstrom, self.material.size_angstrom)
        return load_sample(self.material.name, size_angstrom=size, thickness_angstrom=self.thickness_angstrom, seed=self.structure_seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class RonchigramCondition:
    """Conditions of one row.

    Parameters
    ----------
    seed : int
        Seed with which the conditions were drawn.
    energy_ev, electrons, focal_spread_angstrom, spread : float
        Beam energy [eV], mean number of incident electrons, focal spread as a standard deviation of C10 [A], and size of
        the aberrations relative to the card's standard deviations.
    coefficients : ndarray
        Cartesian coefficients (12,), A.
    position_angstrom : tuple of float
        Position (x, y) of the stationary probe, A.
    """

    seed: int
    energy_ev: float
    electrons: float
    focal_spread_angstrom: float
    spread: float
    coefficients: np.ndarray
    position_angstrom: tuple[float, float]

    def with_coefficients(self, coefficients: np.ndarray) -> Self:
        """Return these conditions with their Cartesian coefficients replaced by ``coefficients``, A, shape (12,)."""
        return replace(self, coefficients=coefficients)

    def beam(self, semiangle_mrad: float) -> "Beam":
        """Return the beam for a convergence semi-angle, mrad."""
        from stemtwin.twin.instrument.settings import Beam

        return Beam(
            energy_ev=self.energy_ev,
            semiangle_mrad=semiangle_mrad,
            aberrations=aberrations_of(self.coefficients),
            focal_spread_angstrom=self.focal_spread_angstrom,
        )


def draw_condition(card: Card, specimen: RonchigramSpecimen, image: int) -> RonchigramCondition:
    """Return the conditions of the row with number ``image`` of a specimen.

    Successive rows cycle through the decades of the number of electrons.
    """
    settings = card.generator
    seed = stream_seed(card, specimen.structure_seed, Stream.CONDITIONS, image)
    rng = random_generator(seed)
    low, high = np.log10(settings.electrons)
    decades = max(1, round(high - low))
    turn = (specimen.structure_seed // len(settings.materials) + image) % decades
    energy = settings.energy_ev[(specimen.structure_seed + image) % len(settings.energy_ev)]
    spread = math.exp(rng.uniform(*np.log(settings.spread)))
    x, y = rng.uniform(0, specimen.material.size_angstrom, 2).tolist()
    return RonchigramCondition(
        seed=seed,
        energy_ev=energy,
        electrons=float(10 ** (low + (high - low) * (turn + rng.random()) / decades)),
        focal_spread_angstrom=float(rng.uniform(*settings.focal_spread_angstrom)),
        spread=spread,
        coefficients=settings.means() + spread * settings.sigmas() * rng.standard_normal(len(COEFFICIENTS)),
        position_angstrom=(x, y),
    )


def expected(card: Card, sample: "Sample", condition: RonchigramCondition) -> np.ndarray:
    """Return the expected number of electrons in each pixel, (ny, nx), float64."""
    from stemtwin.twin.instrument.simulation.ronchigram import ronchigram

    settings, camera = card.generator, card.generator.camera()
    data = ronchigram(
        sample,
        condition.beam(settings.semiangle_mrad),
        position_angstrom=condition.position_angstrom,
        camera=camera,
        check=False,
        phonons="static",
        coherence_tolerance=settings.coherence_tolerance,
    )
    return data[camera.name].to_numpy().astype(float) * condition.electrons


@generator("ronchigram")
class RonchigramGenerator(Generator):
    """Generator of Ronchigrams of films and crystals, with their aberrations."""

    settings: ClassVar[type[CardModel]] = RonchigramSettings

    def specimen(self, card: Card, size: str, split: str, structure_seed: int) -> RonchigramSpecimen:  # noqa: ARG002 - all sizes draw alike
        """Return the specimen of a structure seed; successive seeds cycle through the materials."""
        rng = random_generator(stream_seed(card, structure_seed, Stream.STRUCTURE))
        materials = card.generator.materials
        material = materials[structure_seed % len(materials)]
        return RonchigramSpecimen(
            split=split,
            structure_seed=structure_seed,
            name=f"{material.name}/{structure_seed}",
            material=material,
            thickness_angstrom=float(rng.uniform(*material.thickness_angstrom)),
        )

    def rows(self, card: Card, size: str, specimen: RonchigramSpecimen) -> Iterator[dict[str, Any]]:
        """Yield the rows of a specimen: the Ronchigram, the conditions and the truth."""
        from stemtwin.twin.physics.noise import count_electrons_by_inversion

        sample, settings = specimen.sample(), card.generator
        for image in range(card.sizes[size].images_per_specimen[specimen.split]):
            condition = draw_condition(card, specimen, image)
            rng = random_generator(stream_seed(card, specimen.structure_seed, NOISE_STREAM, image))
            counts = count_electrons_by_inversion(expected(card, sample, condition), 1.0, rng)
            yield {
                "condition_seed": condition.seed,
                "material": specimen.material.name,
                "amorphous": specimen.material.amorphous,
                "energy_ev": condition.energy_ev,
                "semiangle_mrad": settings.semiangle_mrad,
                "reference_mrad": settings.reference_mrad,
                "pixel_mrad": settings.camera().pixel_mrad,
                "set_C10_angstrom": settings.C10_angstrom,
                "electrons": condition.electrons,
                "thickness_angstrom": float(sample.thickness_angstrom),
                "focal_spread_angstrom": condition.focal_spread_angstrom,
                "spread": condition.spread,
                "image": counts,
                "aperture_mrad": flat_aperture_mrad(condition.coefficients, settings.semiangle_mrad, condition.energy_ev),
            } | {f"{name}_angstrom": float(value) for name, value in zip(COEFFICIENTS, condition.coefficients, strict=True)}

    def request(self, card: Card, size: str, specimen: RonchigramSpecimen, image: int) -> "Request":  # noqa: ARG002 - all sizes draw alike
        """Return the simulation request for a row's Ronchigram; its scan is the single position of the probe."""
        from stemtwin.twin.instrument.simulation.ronchigram import ronchigram_request

        settings, condition = card.generator, draw_condition(card, specimen, image)
        beam = condition.beam(settings.semiangle_mrad)
        return ronchigram_request(specimen.sample(), beam, condition.position_angstrom, settings.camera(), "static", {})

    def seconds(self, card: Card, size: str) -> float:
        """Return the estimated time of a build (s) as the sum of typical times of specimens and rows."""
        asked = card.sizes[size]
        return sum(count * (FIRST_SECONDS + ROW_SECONDS * asked.images_per_specimen[split]) for split, count in asked.specimens.items())
