"""Draws of a card's seeds: the specimen of a structure seed and the conditions of each of its images.

Every stream is ``SeedSequence(entropy, spawn_key=(structure seed, stream[, image]))``: knowing the noise tells nothing about the truth, and any
specimen can be made without the others.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.datasets.cards import ELECTRON_PER_US_PA, Card, CardInstrument

if TYPE_CHECKING:
    from stemtwin.twin.instrument.scan import RasterScan


class Stream(IntEnum):
    """Independent streams of random numbers of one structure seed."""

    STRUCTURE = 0
    MICROSCOPE = 1
    CONDITIONS = 2


def stream_seed(card: Card, structure_seed: int, stream: Stream, *more: int) -> int:
    """Return the seed of a stream, an integer from 0 to 2^63 - 1."""
    sequence = np.random.SeedSequence(card.seeds.entropy, spawn_key=(structure_seed, stream, *more))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int) -> np.random.Generator:
    """Return the generator of a seed."""
    return np.random.Generator(np.random.Philox(seed))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSample:
    """One specimen in one instrument: everything that the images of a structure seed share.

    Parameters
    ----------
    structure_seed : int
        Its seed, which :func:`stemtwin.twin.samples.library.load_sample` gets too.
    split : str
        The split it belongs to.
    material : str
        Name in the sample library.
    setup : CardInstrument
        Instrument profile, beam energy [eV] and convergence semi-angle [mrad].
    size_angstrom : float or None
        Wanted size of the cell, A; None: the library's own.
    thickness_angstrom : float or None
        Wanted thickness, A; None: the library's own.
    engine : str
        What computes the signals: ``"operator"`` or ``"local"``.
    microscope_seed : int
        Seed of the microscope, which has independent streams of its own for thermal motion and counting noise.
    """

    structure_seed: int
    split: str
    material: str
    setup: CardInstrument
    size_angstrom: float | None
    thickness_angstrom: float | None
    engine: str
    microscope_seed: int

    @property
    def name(self) -> str:
        """``material/structure seed``: the unit of resampling."""
        return f"{self.material}/{self.structure_seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The conditions of one image.

    Parameters
    ----------
    seed : int
        The seed that they were drawn with.
    C10_angstrom, C12_angstrom, phi12_rad : float
        Defocus (C10 = -defocus) and two-fold astigmatism, A and rad.
    field_of_view_angstrom : float
        Height and width of the square frame, A.
    origin_fraction : tuple of float
        Where pixel [0, 0] lies before rotation, (x, y) in units of the cell.
    rotation_rad : float
        Turn of the frame about its centre, rad.
    dose_e_per_angstrom2, dwell_time_us, current_pa : float
        Dose [e-/A^2], time per pixel [us] and probe current [pA]; any two of them give the third.
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
        """Return the raster of this image, for a number of pixels (ny, nx) and a cell of that size (y, x) in A."""
        from stemtwin.twin.instrument.scan import RasterScan

        return RasterScan(
            shape=shape,
            field_of_view_angstrom=(self.field_of_view_angstrom, self.field_of_view_angstrom),
            origin_angstrom=(self.origin_fraction[0] * size_angstrom[1], self.origin_fraction[1] * size_angstrom[0]),
            rotation_rad=self.rotation_rad,
        )


def draw_specimen(card: Card, size: str, split: str, structure_seed: int) -> DrawnSample:
    """Return the specimen of a structure seed."""
    rng = generator(stream_seed(card, structure_seed, Stream.STRUCTURE))
    material = card.generator.material_of(structure_seed)
    setup = material.setups[rng.integers(len(material.setups))]
    thickness = None
    if material.thickness_angstrom is not None:
        low, high = material.thickness_angstrom
        limit = card.sizes[size].thickness_at_most_angstrom
        thickness = float(rng.uniform(low, high if limit is None else min(high, limit)))
    return DrawnSample(
        structure_seed=structure_seed,
        split=split,
        material=material.name,
        setup=card.generator.setups[setup],
        size_angstrom=material.size_angstrom,
        thickness_angstrom=thickness,
        engine=material.engine,
        microscope_seed=stream_seed(card, structure_seed, Stream.MICROSCOPE),
    )


def draw_condition(card: Card, structure_seed: int, image: int) -> Condition:
    """Return the conditions of a specimen's image of that number; the images of a specimen go through the decades of dose in turn."""
    settings = card.generator
    seed = stream_seed(card, structure_seed, Stream.CONDITIONS, image)
    rng = generator(seed)
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
        current_pa=dose * (field / settings.image_shape[1]) ** 2 / (ELECTRON_PER_US_PA * dwell),
    )


def _dose(limits: tuple[float, float], turn: int, fraction: float) -> float:
    """Return a dose [e-/A^2] at a fraction of the logarithm of the decade whose turn it is."""
    low, high = math.log10(limits[0]), math.log10(limits[1])
    decades = max(1, round(high - low))
    return 10 ** (low + (high - low) * (turn % decades + fraction) / decades)
