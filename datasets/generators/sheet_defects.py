"""``sheet-defects``: dark-field frames of dichalcogenide layers and graphene with point defects of eleven classes.

The number of defects in the cell follows from the prevalence, the fraction of sites with a defect. For each defect, the
class is drawn first, and then a site among the sites that allow this class. Frames are recorded, and apparent positions
are determined, as for ``atomic-columns``. The truth is the list of the defects.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from stemtwin.datasets.cards import Card
from stemtwin.datasets.draw import Stream, random_generator, stream_seed
from stemtwin.datasets.kinds import CardModel, Count, DrawnSpecimen, Fraction, Generator, Range, generator
from stemtwin.datasets.recorded_frames import (
    FrameCondition,
    FrameInstrument,
    RecordedFrame,
    check_names,
    check_recording,
    draw_condition,
    image_shift,
    imaging_request,
    in_frame,
    placed,
    planned_seconds,
    profile_of,
    recorded_frames,
)

if TYPE_CHECKING:
    from stemtwin.twin.instrument.simulation.request import Request
    from stemtwin.twin.samples.sample import Sample

CLASSES = ("V_X", "V_2X", "V_M", "M_M", "X_X", "M_2X", "M_ad", "V_C", "V_2C", "Si_C", "N_C")
"""Classes of defects, numbered from 1. In a layer MX2: one chalcogen missing, both chalcogens of a column missing, a
metal missing, a foreign metal, a foreign chalcogen, a metal that replaces both chalcogens of a column, a metal atom on
the hollow site. In graphene: an atom missing, a pair of atoms missing, a silicon atom, a nitrogen atom."""
LAYER, CARBON = CLASSES[:7], CLASSES[7:]
OTHERS = {"Mo": "W", "W": "Mo", "S": "Se", "Se": "S"}
"""Foreign atoms by the host atom that they replace."""
APART_ANGSTROM = 4.5
"""Smallest projected distance between two defects, A; it ensures that two defects have no neighbour in common."""
TALL_ANGSTROM, CHALCOGEN_HEIGHT_ANGSTROM = 12.0, 1.7
"""Height of the box around a layer, and distance from the middle of the layer to a metal atom on a hollow site, A.

The distance is about that of the chalcogens."""
ROW_SECONDS = 0.6
"""Usual time of a frame with an existing imaging operator, s."""


class SheetMaterial(CardModel):
    """Material of a card: a layer of the library, the ranges of its frames, and the classes of its defects."""

    name: str
    instruments: Annotated[tuple[str, ...], Field(min_length=1)]
    size_angstrom: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    field_of_view_angstrom: Range
    dose_e_per_angstrom2: Range
    classes: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def perfect(self) -> bool:
        """Return False, because layers with defects are not perfect crystals."""
        return False


class SheetSettings(CardModel):
    """Settings of the kind ``sheet-defects``, mostly ranges for random draws."""

    image_shape: tuple[Count, Count]
    phonon_configurations: Count
    focus_error_angstrom: Range
    C12_angstrom: Range
    current_pa: Range
    dwell_time_us: Range
    prevalence: Annotated[dict[str, Fraction], Field(min_length=1)]
    """Fractions of sites with a defect, by name; successive specimens cycle through these fractions."""
    held_out: tuple[str, ...]
    """Materials that occur only in the test split."""
    labels: tuple[int, ...] = (0,)
    instruments: dict[str, FrameInstrument]
    materials: Annotated[tuple[SheetMaterial, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the names, that every dose is possible, and that no raster aliases the image."""
        check_recording(self)
        names = {material.name: material for material in self.materials}
        check_names("held_out", self.held_out, names)
        if len(self.held_out) == len(names):
            message = "held_out names all materials, which leaves none for the other splits"
            raise ValueError(message)
        for material in self.materials:
            allowed = CARBON if material.name == "graphene" else LAYER
            wrong = sorted(set(material.classes) - set(allowed))
            if wrong:
                message = f"material {material.name!r} names the class {wrong[0]!r}, which it cannot have; give classes from {', '.join(allowed)}"
                raise ValueError(message)
        return self

    def materials_of(self, split: str) -> tuple[SheetMaterial, ...]:
        """Return the materials of a split: all materials for ``"test"``, all except held-out materials for other splits."""
        return self.materials if split == "test" else tuple(one for one in self.materials if one.name not in self.held_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetSpecimen(DrawnSpecimen):
    """One layer with defects in one instrument.

    Parameters
    ----------
    material : SheetMaterial
        Material of the sample.
    instrument : FrameInstrument
        Instrument of the frames.
    prevalence : str
        Name of the prevalence in the card, such as ``"realistic"`` or ``"rare"``.
    share : float
        Fraction of sites with a defect.
    defects_seed : int
        Seed of the sites and classes of the defects.
    microscope_seed : int
        Seed from which the microscope derives independent random streams.
    """

    material: SheetMaterial
    instrument: FrameInstrument
    prevalence: str
    share: float
    defects_seed: int
    microscope_seed: int

    def sample(self) -> "Sample":
        """Return the layer with its defects."""
        return self.made()[0]

    def made(self) -> "tuple[Sample, list[tuple[str, float, float]]]":
        """Return the layer with its defects, and a list with the class, x and y [A] of each defect."""
        return defective_layer(self.material, self.share, self.defects_seed)


def perfect_layer(material: SheetMaterial) -> "Sample":
    """Return a layer without defects; a dichalcogenide layer lies in the middle of a box with a height of 12 A."""
    from stemtwin.twin.samples.library import load_sample

    tall = None if material.name == "graphene" else TALL_ANGSTROM
    return load_sample(material.name, size_angstrom=material.size_angstrom, thickness_angstrom=tall, seed=0)


def defective_layer(material: SheetMaterial, share: float, seed: int) -> "tuple[Sample, list[tuple[str, float, float]]]":
    """Return a layer with defects, and a list with the class, x and y [A] of each defect.

    Parameters
    ----------
    material : SheetMaterial
        Material of the sample.
    share : float
        Number of defects, as a fraction of the number of sites. The sites are the projected columns of the perfect layer.
    seed : int
        Seed of the sites and classes of the defects.
    """
    from stemtwin.twin.samples.columns import projected_columns

    sample, rng = perfect_layer(material), random_generator(seed)
    count = max(1, round(share * len(projected_columns(sample))))
    made: list[tuple[str, float, float]] = []
    for _ in range(count):
        kind = str(rng.choice(material.classes))
        sample, place = _with_defect(sample, material, kind, made, rng)
        made.append((kind, *place))
    return sample, made


def _with_defect(
    sample: "Sample", material: SheetMaterial, kind: str, made: Sequence[tuple[str, float, float]], rng: np.random.Generator
) -> "tuple[Sample, tuple[float, float]]":
    """Return the layer with one more defect of a class, at a distance from the other defects, and the defect's position."""
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    places = np.array([[x, y] for _, x, y in made]).reshape(-1, 2)

    def free(points: np.ndarray) -> np.ndarray:
        step = points[:, None] - places[None]
        step -= box * np.round(step / box)
        return np.flatnonzero((np.hypot(step[..., 0], step[..., 1]) > APART_ANGSTROM).all(axis=1))

    make: Callable[..., Sample] = _in_graphene if material.name == "graphene" else _in_layer
    before = len(sample.defects)
    sample = make(sample, kind, free, rng)
    at = np.array([one.position_angstrom[:2] for one in sample.defects[before:]])
    at = at[0] + (at - at[0] - box * np.round((at - at[0]) / box)).mean(axis=0)
    return sample, (float(at[0] % box[0]), float(at[1] % box[1]))


def _in_graphene(sample: "Sample", kind: str, free: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> "Sample":
    """Return graphene with a further defect at a free carbon site."""
    from stemtwin.twin.samples.defects import remove, substitute
    from stemtwin.twin.samples.neighbours import within

    carbon = np.flatnonzero(sample.numbers == 6)
    site = int(rng.choice(carbon[free(sample.positions_angstrom[carbon, :2])]))
    if kind == "V_C":
        return remove(sample, [site])
    if kind == "V_2C":
        near, _ = within(sample, sample.positions_angstrom[site], 1.6)
        return remove(sample, [[site, int(rng.choice(near[near != site]))]])
    return substitute(sample, [site], "Si" if kind == "Si_C" else "N")


def _in_layer(sample: "Sample", kind: str, free: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> "Sample":
    """Return a dichalcogenide layer with a further defect at a free site."""
    from scipy.spatial import cKDTree

    from stemtwin.twin.samples.defects import add, remove, substitute
    from stemtwin.twin.samples.sample import symbols_of

    symbols, places = np.array(symbols_of(sample.numbers)), sample.positions_angstrom
    host = next(symbol for symbol in ("Mo", "W") if (symbols == symbol).sum() > len(symbols) / 6)
    native = "Se" if (symbols == "Se").sum() > len(symbols) / 3 else "S"
    metals, middle = np.flatnonzero(symbols == host), sample.thickness_angstrom / 2
    if kind in ("V_M", "M_M"):
        site = int(rng.choice(metals[free(places[metals, :2])]))
        return remove(sample, [site]) if kind == "V_M" else substitute(sample, [site], OTHERS[host])
    box = (sample.size_angstrom[1], sample.size_angstrom[0])
    if kind == "M_ad":
        hollow = _hollows(places[metals, :2], places[symbols == native][:, :2], box)
        x, y = hollow[int(rng.choice(free(hollow)))]
        return add(sample, [host], [[x, y, middle - CHALCOGEN_HEIGHT_ANGSTROM]])
    near = np.flatnonzero((symbols == native) & (places[:, 2] < middle))
    far = np.flatnonzero((symbols == native) & (places[:, 2] > middle))
    one = int(rng.choice(near[free(places[near, :2])]))
    other = int(far[cKDTree(places[far, :2] % box, boxsize=box).query(places[one, :2] % box)[1]])
    if kind == "V_X":
        return remove(sample, [one if rng.random() < 0.5 else other])
    if kind == "X_X":
        return substitute(sample, [one if rng.random() < 0.5 else other], OTHERS[native])
    if kind == "V_2X":
        return remove(sample, [[one, other]])
    return remove(substitute(sample, [one], host), [other])  # the metal replaces one chalcogen


def _hollows(metals: np.ndarray, chalcogens: np.ndarray, box: tuple[float, float]) -> np.ndarray:
    """Return the positions (n, 2), A, of the hollow sites, which lie opposite to the chalcogen columns around each metal."""
    from scipy.spatial import cKDTree

    step = chalcogens[cKDTree(chalcogens % box, boxsize=box).query(metals % box)[1]] - metals
    return (metals - (step - np.array(box) * np.round(step / np.array(box)))) % box


@generator("sheet-defects")
class SheetDefectsGenerator(Generator):
    """Generator of frames of layers under random conditions, with the apparent positions of the defects."""

    settings: ClassVar[type[CardModel]] = SheetSettings

    def specimen(self, card: Card, size: str, split: str, structure_seed: int) -> SheetSpecimen:  # noqa: ARG002 - all sizes draw alike
        """Return the specimen of a structure seed.

        Successive seeds cycle through materials, prevalences and instruments.
        """
        settings = card.generator
        materials, names = settings.materials_of(split), list(settings.prevalence)
        number = structure_seed - card.splits[split]
        material = materials[number % len(materials)]
        prevalence = names[(number // len(materials)) % len(names)]
        turn = number // len(materials) // len(names) + number % len(materials)
        return SheetSpecimen(
            split=split,
            structure_seed=structure_seed,
            name=f"{material.name}/{structure_seed}",
            material=material,
            instrument=settings.instruments[material.instruments[turn % len(material.instruments)]],
            prevalence=prevalence,
            share=settings.prevalence[prevalence],
            defects_seed=stream_seed(card, structure_seed, Stream.STRUCTURE),
            microscope_seed=stream_seed(card, structure_seed, Stream.MICROSCOPE),
        )

    def rows(self, card: Card, size: str, specimen: SheetSpecimen) -> Iterator[dict[str, Any]]:
        """Yield the row of each frame of a specimen: the readings, the conditions and the defects."""
        sample, made = specimen.made()
        conditions = [draw_condition(card, specimen, i) for i in range(card.sizes[size].images_per_specimen[specimen.split])]
        for condition, frame in zip(conditions, recorded_frames(sample, specimen, conditions, card), strict=True):
            yield _facts(specimen, condition, frame) | {"image": frame.readings} | frame_defects(sample, made, condition, frame, specimen)

    def request(self, card: Card, size: str, specimen: SheetSpecimen, image: int) -> "Request":  # noqa: ARG002 - all sizes draw alike
        """Return the simulation request for a frame's expected signal, without scan distortion and instabilities."""
        return imaging_request(card, specimen, image)

    def seconds(self, card: Card, size: str) -> float:
        """Return the estimated time of a build, s.

        The estimate is the sum of the times of all frames and imaging operators. The time of an imaging operator is
        determined only once for each material and instrument.
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


def frame_defects(
    sample: "Sample", made: Sequence[tuple[str, float, float]], condition: FrameCondition, frame: RecordedFrame, specimen: SheetSpecimen
) -> dict[str, Any]:
    """Return the defects that appear in a frame, and the number of sites of the perfect layer in the frame."""
    from stemtwin.twin.samples.columns import Columns, projected_columns

    number, ones = [CLASSES.index(kind) + 1 for kind, _, _ in made], np.ones(len(made))
    listed = Columns(
        x=np.array([x for _, x, _ in made]),
        y=np.array([y for _, _, y in made]),
        occupancy=ones,
        species=tuple(kind for kind, _, _ in made),
        heaviest=np.array(number, dtype=np.int64),
        weight=ones,
    )
    atoms, at = placed(projected_columns(sample), sample, condition.scan, frame, 0.2)
    shift = image_shift(frame.electrons, at[np.array(atoms["column_visible"], dtype=bool)], condition.scan.pitch_angstrom[1])
    found, there = placed(listed, sample, condition.scan, frame, 0.2)
    seen = in_frame(found, there + shift, condition.scan)
    whole = perfect_layer(specimen.material)
    sites, where = placed(projected_columns(whole), whole, condition.scan, frame, 0.2)
    return {
        "n_sites": in_frame(sites, where + shift, condition.scan)["n_columns"],
        "n_defects": seen["n_columns"],
        "defect_x_angstrom": seen["column_x_angstrom"],
        "defect_y_angstrom": seen["column_y_angstrom"],
        "defect_class": seen["column_heaviest"],
        "defect_name": seen["column_species"],
    }


def _facts(specimen: SheetSpecimen, condition: FrameCondition, frame: RecordedFrame) -> dict[str, Any]:
    """Return the columns of a row with the specimen and the conditions of the frame."""
    profile = profile_of(specimen.instrument)
    return {
        "condition_seed": condition.seed,
        "material": specimen.material.name,
        "prevalence": specimen.prevalence,
        "instrument": profile.name,
        "energy_ev": profile.energy_ev,
        "semiangle_mrad": profile.semiangle_mrad,
        "inner_mrad": frame.inner_mrad,
        "outer_mrad": frame.outer_mrad,
        "C10_angstrom": condition.C10_angstrom,
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
