"""Generator of ``sheet-defects``: each class is what its name says, defects keep apart, and the frame lists those that appear in it."""

from collections import Counter

import numpy as np
import pytest

from stemtwin.datasets import cards, generate
from stemtwin.datasets.generators import sheet_defects
from stemtwin.datasets.generators.sheet_defects import CARBON, CLASSES, LAYER, defective_layer, perfect_layer
from stemtwin.datasets.kinds import find_generator
from stemtwin.datasets.recorded_frames import RecordedFrame, draw_condition
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.samples.sample import symbols_of

TEXT = (cards.CARDS / "defects-1.0.0.toml").read_text(encoding="utf-8")
CARD = cards.parse_card(TEXT)
GENERATOR = find_generator("sheet-defects")
MATERIALS = {material.name: material for material in CARD.generator.materials}
CHANGES = {
    "V_X": {"S": -1},
    "V_2X": {"S": -2},
    "V_M": {"Mo": -1},
    "M_M": {"Mo": -1, "W": 1},
    "X_X": {"S": -1, "Se": 1},
    "M_2X": {"S": -2, "Mo": 1},
    "M_ad": {"Mo": 1},
    "V_C": {"C": -1},
    "V_2C": {"C": -2},
    "Si_C": {"C": -1, "Si": 1},
    "N_C": {"C": -1, "N": 1},
}


def atoms(sample):
    """Count the atoms of each element."""
    return Counter(symbols_of(sample.numbers))


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_changes_the_atoms_that_its_name_says(kind):
    """One defect of a class on a perfect layer: the elements that come and go, and no other atom moved."""
    material = MATERIALS["graphene" if kind in CARBON else "mos2-1h"].model_copy(update={"classes": (kind,)})
    sample, made = defective_layer(material, 1e-6, seed=3)
    whole = perfect_layer(material)
    change = atoms(sample)
    change.subtract(atoms(whole))
    assert {element: count for element, count in change.items() if count} == CHANGES[kind]
    assert [name for name, _, _ in made] == [kind]
    places = {tuple(place) for place in np.round(whole.positions_angstrom, 6).tolist()}
    strays = [place for place in np.round(sample.positions_angstrom, 6).tolist() if tuple(place) not in places]
    assert len(strays) == (1 if kind == "M_ad" else 0)
    gone = places - {tuple(place) for place in np.round(sample.positions_angstrom, 6).tolist()}
    at = np.array(made[0][1:])
    for place in [*gone, *map(tuple, strays)]:
        assert np.linalg.norm(np.array(place[:2]) - at) < 0.8


def test_defects_keep_apart_and_are_as_many_as_the_prevalence_says():
    """Around the cell's edges too, at least 4.5 A between any two; the number is the share of the projected columns."""
    material = MATERIALS["wse2-1h"]
    sample, made = defective_layer(material, 0.04, seed=5)
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    places = np.array([[x, y] for _, x, y in made])
    step = places[:, None] - places[None]
    step -= box * np.round(step / box)
    distance = np.linalg.norm(step, axis=-1) + 100 * np.eye(len(places))
    assert distance.min() > 4.0
    assert len(made) == round(0.04 * 2 * (atoms(perfect_layer(material))["W"]))
    assert {name for name, _, _ in made} <= set(LAYER)


def test_splits_hold_wse2_out_and_take_turns():
    """WSe2 is in test alone; materials, prevalences and instruments are all there in every split of std, and no seed in two splits."""
    for split in CARD.splits:
        found = [GENERATOR.specimen(CARD, "std", split, seed) for seed in CARD.structure_seeds("std", split)]
        names = {one.material.name for one in found}
        assert names == set(MATERIALS) - (set() if split == "test" else {"wse2-1h"})
        assert {one.prevalence for one in found} == {"realistic", "rare"}
        pairs = {(one.material.name, one.instrument.profile) for one in found}
        assert pairs == {(name, profile) for name in names for profile in ("nion-60", "nion-100")}
    seeds = [set(CARD.structure_seeds("full", split)) for split in CARD.splits]
    assert sum(map(len, seeds)) == len(set.union(*seeds))


def test_a_frame_lists_the_defects_that_appear_in_it():
    """Without distortion each listed defect is where the raster has it, of its class, and counts are those of the lists."""
    specimen = GENERATOR.specimen(CARD, "tiny", "test", 2_000_000)
    sample, made = specimen.made()
    condition = draw_condition(CARD, specimen, 0)
    probes = condition.scan.positions()
    angles = {"inner_mrad": 60.0, "outer_mrad": 130.0}
    flat = np.ones(probes.shape[:2])
    frame = RecordedFrame(readings=flat, gain_adu=1.0, offset_adu=0.0, electrons=flat, probes=probes, source_size_angstrom=0.0, **angles)
    row = sheet_defects.frame_defects(sample, made, condition, frame, specimen)
    side = condition.scan.field_of_view_angstrom[0]
    assert row["n_defects"] == len(row["defect_name"]) > 3
    assert row["defect_class"] == [CLASSES.index(name) + 1 for name in row["defect_name"]]
    assert row["n_sites"] == pytest.approx(side**2 / (3.16**2 * np.sqrt(3) / 2) * 2, rel=0.05)
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    for kind, x, y in zip(row["defect_name"], row["defect_x_angstrom"], row["defect_y_angstrom"], strict=True):
        matches = []
        for name, mx, my in made:
            for shift in np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 2):
                there = np.asarray(condition.scan.frame_coordinates(np.array([[mx, my]]) + shift * box))[0]
                matches.append(name == kind and np.hypot(*(there - [x, y])) < 1e-6)
        assert any(matches)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('held_out = ["wse2-1h"]', 'held_out = ["wse3-1h"]', "held_out names 'wse3-1h'"),
        ('classes = ["V_C", "V_2C", "Si_C", "N_C"]', 'classes = ["V_X"]', "names the class 'V_X'"),
    ],
)
def test_a_card_that_cannot_be_made_is_refused(old, new, told):
    """A material that does not exist, and a class of another material."""
    with pytest.raises(DatasetError, match=told):
        cards.parse_card(TEXT.replace(old, new))


@pytest.mark.slow
def test_readings_show_silicon_bright_and_pairs_dark():
    """By the microscope itself: at silicon in graphene the readings are well above the mean, at missing pairs below it."""
    specimen = GENERATOR.specimen(CARD, "tiny", "test", 2_000_002)
    row = generate.specimen_rows(CARD, "tiny", specimen)[0]
    step, image = row["sampling_angstrom"], row["image"].astype(float) - row["offset_adu"]
    y, x = np.mgrid[:512, :512] * step

    def level(kind):
        found = [
            image[np.hypot(x - px, y - py) < 0.5].mean()
            for px, py, name in zip(row["defect_x_angstrom"], row["defect_y_angstrom"], row["defect_name"], strict=True)
            if name == kind
        ]
        return np.mean(found)

    assert level("Si_C") > 1.5 * image.mean() > 1.5 * level("V_2C")
