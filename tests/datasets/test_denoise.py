"""Generator of ``denoise``: counts around their truth, sites on the columns, vacancies that are dark, and the share of frames and doses."""

import dataclasses

import numpy as np
import pytest

from stemtwin.benchmarks.metrics import vacancies
from stemtwin.datasets import cards, generate
from stemtwin.datasets.generators import denoise
from stemtwin.datasets.kinds import find_generator
from stemtwin.twin.errors import DatasetError

TEXT = (cards.CARDS / "denoise-1.0.0.toml").read_text(encoding="utf-8")
CARD = cards.parse_card(TEXT)
GENERATOR = find_generator("denoise")
SIDE = 40


def small(*changes: tuple[str, str]) -> cards.Card:
    """The released card with frames of 40 x 40 px on cells of 10 A, and one or two phonon configurations; further changes of its text."""
    usual = (
        ("[128, 128]", f"[{SIDE}, {SIDE}]"),
        ("128, 128]", f"{SIDE}, {SIDE}]"),
        ("phonon_configurations = 6", "phonon_configurations = 2"),
        ("cell_angstrom = 20.0", "cell_angstrom = 10.0"),
        ("field_of_view_angstrom = [16.0, 20.0]", "field_of_view_angstrom = [8.0, 9.0]"),
        ("[0.001, 100.0]", "[1e-4, 1e6]"),
        ("metal_vacancy_fraction = 0.04", "metal_vacancy_fraction = 0.1"),
    )
    text = TEXT
    for old, new in (*usual, *changes):
        assert old in text, old
        text = text.replace(old, new)
    return cards.parse_card(text)


def rows_of(card: cards.Card, seed: int = 0) -> list[dict]:
    """Return the rows of a specimen of tiny's train split."""
    return generate.specimen_rows(card, "tiny", GENERATOR.specimen(card, "tiny", "train", seed))


BRIGHT = ("dose_e_per_angstrom2 = [10.0, 1e4]", "dose_e_per_angstrom2 = [1e5, 1e5]")
STILL = ('scans = ["nion-60", "corrected-200kv", "schottky-200kv"]', 'scans = ["ideal"]')


@pytest.fixture(scope="module")
def still() -> list[dict]:
    """Rows of a perfect scan at a high dose."""
    return rows_of(small(BRIGHT, STILL))


@pytest.fixture(scope="module")
def shaken() -> list[dict]:
    """Rows of the roughest scan at the same dose."""
    return rows_of(small(BRIGHT, (STILL[0], 'scans = ["schottky-200kv"]')))


def excess(row: dict) -> np.ndarray:
    """Return the mean squared deviation of the summed counts from the truth in units of Poisson's, by channel."""
    return ((row["image"].sum(axis=0) - row["expected"]) ** 2 / row["expected"]).mean(axis=(1, 2))


def test_counts_of_a_perfect_scan_are_poisson_about_the_truth(still):
    """Single frames and stacks alike: their dose is that of all frames."""
    assert sorted(row["frames"] for row in still) == [1, 8]
    for row in still:
        assert excess(row) == pytest.approx([1, 1], abs=6 * np.sqrt(2 / SIDE**2))
        incident = row["dose_e_per_angstrom2"] * row["sampling_angstrom"] ** 2
        assert 0 < row["expected"].min() < row["expected"].max() < incident


def test_scan_noise_is_in_the_counts_and_not_in_the_truth(still, shaken):
    """The same specimen by the roughest scan: counts stray, the truth is a shifted one of the same mean."""
    for here, there in zip(still, shaken, strict=True):
        assert (excess(there) > np.array([3.0, 1.15]) * excess(here)).all()
        assert there["expected"].mean(axis=(1, 2)) == pytest.approx(here["expected"].mean(axis=(1, 2)), rel=0.05)


def test_frames_that_were_not_taken_are_empty(still):
    """Behind the number of frames there are no counts, and before it in every channel."""
    for row in still:
        assert not row["image"][row["frames"] :].any()
        assert row["image"][: row["frames"]].any(axis=(2, 3)).all()


def test_rows_are_a_pure_function_of_the_card(still):
    """Once more, the same bits."""
    for here, there in zip(still, rows_of(small(BRIGHT, STILL)), strict=True):
        assert all(np.array_equal(here[name], there[name]) for name in here)


def test_sites_with_missing_atoms_are_the_defects_of_the_specimen(still):
    """Each is where the library took an atom, and each place that the frame shows is among them."""
    card = small(BRIGHT, STILL)
    specimen = GENERATOR.specimen(card, "tiny", "train", 0)
    sample = specimen.sample()
    for number, row in enumerate(still):
        scan = denoise.draw_condition(card, specimen, number).scan
        box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
        shifts = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2), axis=-1).reshape(-1, 2) * box
        places = np.concatenate([np.array(defect.position_angstrom[:2]) + shifts for defect in sample.defects])
        removed = np.repeat([len(defect.removed) for defect in sample.defects], len(shifts))
        at = scan.frame_coordinates(places)
        edge = (SIDE - 0.5) * row["sampling_angstrom"]
        inside = ((at > -row["sampling_angstrom"] / 2) & (at < edge)).all(axis=1)
        missing = np.array(row["site_missing"])
        sites = np.column_stack([row["site_x_angstrom"], row["site_y_angstrom"]])
        assert missing.sum() == removed[inside].sum() > 0
        distance = np.linalg.norm(sites[missing > 0][:, None] - at[inside], axis=-1)
        assert distance.min(axis=1).max() < 0.2


def test_single_frames_and_doses_take_turns():
    """In every size and split both numbers of frames and all decades of dose come, and are as many but for one specimen's."""
    for size in ("tiny", "std"):
        for split in CARD.splits:
            found = []
            for seed in CARD.structure_seeds(size, split):
                specimen = GENERATOR.specimen(CARD, size, split, seed)
                found += [denoise.draw_condition(CARD, specimen, i) for i in range(CARD.sizes[size].images_per_specimen[split])]
            singles = [one.frames == 1 for one in found]
            assert {one.frames for one in found} == {1, 8}
            assert sum(singles) * 2 == len(found)
            decades = np.bincount([int(np.log10(one.dose_e_per_angstrom2)) for one in found], minlength=4)[1:]
            assert (decades > 0).sum() >= (3 if size == "std" else 1)
            assert size == "tiny" or decades.max() - decades.min() <= len(found) / 6


def test_splits_share_no_specimen_and_no_crystal():
    """Structure seeds are apart, and so are the vacancies that they draw."""
    seeds = {split: set(CARD.structure_seeds("full", split)) for split in CARD.splits}
    assert not (seeds["train"] & seeds["val"] | seeds["train"] & seeds["test"] | seeds["val"] & seeds["test"])
    first = [GENERATOR.specimen(CARD, "std", split, CARD.splits[split] - CARD.splits[split] % 3 + 3).sample() for split in CARD.splits]
    assert len({sample.digest for sample in first}) == len(first)


def test_a_card_that_cannot_be_recorded_is_refused():
    """A dose for which no current suffices, a setup and a scan that do not exist."""
    for old, new, told in (
        ("current_pa = [0.001, 100.0]", "current_pa = [0.001, 0.01]", "needs a dwell time or current outside"),
        ('setups = ["60kv"]', 'setups = ["90kv"]', "names the setup '90kv'"),
        ('"nion-60"', '"nion-61"', "scans contains 'nion-61', which is not an instrument profile"),
    ):
        with pytest.raises(DatasetError, match=told):
            cards.parse_card(TEXT.replace(old, new))


def moving_like(sample, intact):
    """Return a specimen whose atoms have the thermal motion of those of the intact one at their places."""
    places = {tuple(place): number for number, place in enumerate(np.round(intact.positions_angstrom, 6).tolist())}
    return dataclasses.replace(sample, sites=[places[tuple(place)] for place in np.round(sample.positions_angstrom, 6).tolist()])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_lattice_without_vacancies_fills_all_of_them(seed):
    """By the microscope itself: the intact specimen, in the same conditions, fills every visible vacancy and empties nothing; the truth neither."""
    larger = (("[8.0, 9.0]", "[11.0, 11.0]"), ("cell_angstrom = 10.0", "cell_angstrom = 12.0"))
    card = small(*larger, ("configurations = 2", "configurations = 6"), ("cation_vacancy_fraction = 0.04", "cation_vacancy_fraction = 0.1"))
    specimen = GENERATOR.specimen(card, "tiny", "train", seed)
    intact = specimen.sample(intact=True)
    sample = moving_like(specimen.sample(), intact)
    condition = denoise.draw_condition(card, specimen, 0)
    condition = dataclasses.replace(condition, source_size_angstrom=0.15, C10_angstrom=0.0, C12_angstrom=0.0)
    window = denoise.window_angstrom(sample, specimen.setup, [condition])
    profile = denoise._profiles(specimen.scan)[1]
    truth, filled = (
        denoise.expected(denoise._microscope(one, specimen, card, window, profile), condition.scan, condition, specimen)[0]
        for one in (sample, intact)
    )
    found = denoise.frame_sites(specimen, sample, condition.scan, card)
    sites = vacancies.LatticeSites(
        positions=np.column_stack([found["site_x_angstrom"], found["site_y_angstrom"]]),
        kinds=np.array(found["site_species"]),
        missing=np.array(found["site_missing"]),
    )
    step = condition.scan.pitch_angstrom[1]
    perfect = vacancies.count_invented(filled, truth, sites, step)
    assert perfect["vacancies"] > 0
    assert perfect["filled"] == perfect["vacancies"]
    assert perfect["emptied"] == 0
    here = vacancies.count_invented(truth, truth, sites, step)
    assert here["filled"] == here["emptied"] == 0
