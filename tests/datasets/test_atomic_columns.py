"""Generator of ``atomic-columns``: columns where they appear in distorted frames, their bounds, rasters that alias nothing, and who images what."""

import numpy as np
import pytest

from stemtwin.datasets import cards, generate, recorded_frames
from stemtwin.datasets.generators import atomic_columns
from stemtwin.datasets.generators.atomic_columns import column_bounds
from stemtwin.datasets.kinds import find_generator
from stemtwin.datasets.recorded_frames import RecordedFrame, apparent_columns, image_shift
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.samples.columns import projected_columns
from stemtwin.twin.samples.library import load_sample

IDS = ("atoms-2d-2.0.0", "instruments-1.0.0")
TEXTS = {name: (cards.CARDS / f"{name}.toml").read_text(encoding="utf-8") for name in IDS}
CARDS = {name: cards.parse_card(text) for name, text in TEXTS.items()}
GENERATOR = find_generator("atomic-columns")
SAMPLE = load_sample("srtio3-001", size_angstrom=(12.0, 12.0), thickness_angstrom=8.0, seed=0)
SCAN = RasterScan(shape=(96, 96), field_of_view_angstrom=(12.0, 12.0), origin_angstrom=(1.0, 2.0), rotation_rad=0.4)
WIDTH = 0.4
IDEAL = PROFILES["ideal"]
each_card = pytest.mark.parametrize("name", IDS)


def seen(probes: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Return Gaussian columns of a sample as probes (ny, nx, 2) see them, 1000 times their weight over strontium's, moved by a shift."""
    found, box = projected_columns(SAMPLE), np.array(SAMPLE.size_angstrom[::-1])
    image = np.full(probes.shape[:2], 0.5)
    for x, y, weight in zip(found.x, found.y, found.weight, strict=True):
        step = probes - np.array([x, y]) - np.array(shift)
        step -= box * np.round(step / box)
        image += 1000 * weight / found.weight.max() * np.exp(-(step**2).sum(axis=-1) / (2 * WIDTH**2))
    return image


def frame_of(electrons: np.ndarray, probes: np.ndarray, gain: float = 1.0) -> RecordedFrame:
    """Return a frame with these expected electrons."""
    angles = {"inner_mrad": 60.0, "outer_mrad": 120.0}
    return RecordedFrame(readings=electrons, gain_adu=gain, offset_adu=0.0, electrons=electrons, probes=probes, source_size_angstrom=0.0, **angles)


def test_columns_stand_on_their_images_in_a_distorted_frame():
    """Scales, shear, a rotation, a bend and a shift of the probe: every visible column is on the centre of its spot within 0.03 A."""
    places = SCAN.positions()
    middle = places.mean(axis=(0, 1))
    wrong = np.array([[1.02, 0.015], [-0.01, 0.985]])
    probes = middle + (places - middle) @ wrong.T + np.array([0.7, -0.4]) + 0.1 * np.sin(places[..., ::-1] / 4)
    image = seen(probes)
    truth = apparent_columns(SAMPLE, SCAN, frame_of(image, probes), 0.2)
    step, checked = SCAN.pitch_angstrom[1], 0
    for x, y, visible in zip(truth["column_x_angstrom"], truth["column_y_angstrom"], truth["column_visible"], strict=True):
        if visible and 1.5 < x < 10.3 and 1.5 < y < 10.3:
            ix, iy = round(x / step), round(y / step)
            part = image[iy - 5 : iy + 6, ix - 5 : ix + 6] ** 2
            rows, columns = np.mgrid[iy - 5 : iy + 6, ix - 5 : ix + 6] * step
            assert np.hypot((part * columns).sum() / part.sum() - x, (part * rows).sum() / part.sum() - y) < 0.03
            checked += 1
    assert checked > 5
    assert truth["n_columns"] == len(truth["column_species"]) == len(truth["column_x_angstrom"])


def test_without_distortion_the_truth_is_that_of_the_raster():
    """The same columns at the same places as those of the frame that was commanded, and species beside their places."""
    from stemtwin.datasets.truth import frame_columns

    probes = SCAN.positions()
    found, plain = (
        apparent_columns(SAMPLE, SCAN, frame_of(seen(probes), probes), 0.2),
        frame_columns(projected_columns(SAMPLE), SAMPLE.size_angstrom, SCAN, 0.2),
    )
    assert found["n_columns"] == plain["n_columns"]
    assert found["column_species"] == plain["column_species"]
    for axis in "xy":
        np.testing.assert_allclose(found[f"column_{axis}_angstrom"], plain[f"column_{axis}_angstrom"], atol=2e-3)


def test_an_image_that_coma_shifts_takes_its_columns_along():
    """The shift of the whole image, which no one can see, is found to a hundredth of an angstrom."""
    probes = SCAN.positions()
    turn = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])  # into the frame's axes
    shift = (0.21, -0.13)
    plain = apparent_columns(SAMPLE, SCAN, frame_of(seen(probes), probes), 0.2)
    places = np.column_stack([plain["column_x_angstrom"], plain["column_y_angstrom"]])[np.array(plain["column_visible"])]
    assert image_shift(seen(probes, shift), places, SCAN.pitch_angstrom[1]) == pytest.approx(turn @ np.array(shift), abs=0.01)


def test_the_bound_is_that_of_a_gaussian_spot():
    """Of n electrons without background the variance is width^2 / n an axis; pulse heights and read noise raise it, and neighbours hide pixels."""
    step = 0.1
    y, x = np.mgrid[:64, :64] * step
    spot = np.exp(-((x - 3.2) ** 2 + (y - 3.2) ** 2) / (2 * 0.25**2))
    electrons = 5000 * spot / spot.sum()
    place = np.array([[3.2, 3.2]])
    probes = np.zeros((64, 64, 2))
    bound = column_bounds(frame_of(electrons, probes), place, step, IDEAL)
    assert bound == pytest.approx([0.25 * np.sqrt(2 / 5000)], rel=0.03)
    real = PROFILES["corrected-200kv"]
    chain = real.chain("haadf")
    noisy = column_bounds(frame_of(electrons, probes, chain.gain_adu * chain.efficiency), place, step, real)
    assert noisy > bound / np.sqrt(chain.dqe * chain.efficiency)
    more = column_bounds(frame_of(100 * electrons, probes), place, step, IDEAL)
    assert more == pytest.approx(bound / 10, rel=1e-3)
    crowded = column_bounds(frame_of(electrons, probes), np.array([[3.2, 3.2], [3.7, 3.2]]), step, IDEAL)
    assert crowded[0] > bound[0]


def test_a_column_that_nothing_is_known_of_has_the_largest_bound():
    """An empty image bounds nothing."""
    found = column_bounds(frame_of(np.zeros((32, 32)), np.zeros((32, 32, 2))), np.array([[1.0, 1.0]]), 0.1, IDEAL)
    assert found.tolist() == [atomic_columns.LARGEST_BOUND]


@each_card
def test_no_raster_aliases_what_the_optics_pass(name):
    """The largest field of every material on every instrument keeps to the Nyquist step of the probe; a larger one is refused."""
    settings = CARDS[name].generator
    for material in settings.materials:
        for one in material.instruments:
            profile = PROFILES[settings.instruments[one].profile]
            assert material.field_of_view_angstrom[1] / 256 <= recorded_frames.largest_step(settings.instruments[one])
            assert recorded_frames.largest_step(settings.instruments[one]) < 0.7
            assert profile.chain("haadf") is not None
    with pytest.raises(DatasetError, match="above which the image is aliased"):
        cards.parse_card(TEXTS[name].replace("field_of_view_angstrom = [20.0, 50.0]", "field_of_view_angstrom = [20.0, 90.0]"))


@each_card
def test_splits_share_no_specimen_and_have_the_instruments_that_they_name(name):
    """Structure seeds are apart in every size; instruments take turns among those of the split and the material."""
    card = CARDS[name]
    for size in card.sizes:
        seeds = [set(card.structure_seeds(size, split)) for split in card.splits]
        assert sum(map(len, seeds)) == len(set.union(*seeds))
    for split in card.splits:
        found = {GENERATOR.specimen(card, "std", split, seed).instrument.profile for seed in card.structure_seeds("std", split)}
        assert found == set(card.generator.only_on.get(split, card.generator.instruments))


def test_the_library_is_sampled_by_twenty_materials_half_of_them_perfect():
    """Vacancies, dopants, alloys, holes and boundaries are among the others."""
    materials = CARDS["atoms-2d-2.0.0"].generator.materials
    assert len({material.name for material in materials}) == 20
    assert sum(material.perfect for material in materials) == 10
    assert not any(material.perfect and material.knobs for material in materials)


@each_card
def test_doses_labels_and_focus_are_as_the_card_says(name):
    """Every decade of dose of a material comes in turn, currents and dwell times stay in range, and labels go round."""
    card = CARDS[name]
    specimen = GENERATOR.specimen(card, "std", "test", 2_000_001)
    drawn = [recorded_frames.draw_condition(card, specimen, i) for i in range(6)]
    low, high = specimen.material.dose_e_per_angstrom2
    decades = round(np.log10(high / low))
    assert {int(np.log10(one.dose_e_per_angstrom2 / low)) for one in drawn} == set(range(decades))
    assert {one.labels for one in drawn} == set(card.generator.labels)
    for one in drawn:
        assert card.generator.current_pa[0] <= one.current_pa <= card.generator.current_pa[1] * (1 + 1e-9)
        assert abs(one.C10_angstrom - specimen.instrument.focus_C10_angstrom) <= 40
        assert one == recorded_frames.draw_condition(card, specimen, drawn.index(one))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('profile = "nion-60"', 'profile = "nion-61"', "'nion-61' is not a known instrument profile"),
        ("current_pa = [0.2, 150.0]", "current_pa = [0.2, 0.3]", "needs a dwell time or current outside"),
        ('"nion-100", "schottky-200kv"]', '"nion-101", "schottky-200kv"]', "names 'nion-101'"),
    ],
)
def test_a_card_that_cannot_be_recorded_is_refused(old, new, told):
    """A profile that does not exist, a dose for which no current suffices, and an instrument without a table."""
    with pytest.raises(DatasetError, match=told):
        cards.parse_card(TEXTS["atoms-2d-2.0.0"].replace(old, new, 1))


@pytest.mark.slow
def test_readings_of_the_microscope_are_brightest_at_the_columns():
    """Two frames of one specimen by the twin itself, made twice: the same bits, and readings at columns well above the mean."""
    card = CARDS["atoms-2d-2.0.0"]
    specimen = GENERATOR.specimen(card, "tiny", "test", 2_000_001)
    rows = generate.specimen_rows(card, "tiny", specimen)
    again = generate.specimen_rows(card, "tiny", specimen)
    for row, other in zip(rows, again, strict=True):
        assert all(np.array_equal(row[key], other[key]) for key in row)
        step, visible = row["sampling_angstrom"], np.array(row["column_visible"])
        at = np.rint(np.column_stack([row["column_y_angstrom"], row["column_x_angstrom"]])[visible] / step).astype(int).clip(0, 255)
        image = row["image"].astype(float) - row["offset_adu"]
        assert image[at[:, 0], at[:, 1]].mean() > 1.3 * image.mean() > 0
        assert 0 < np.median(np.array(row["column_bound_angstrom"])[visible]) < 0.3
