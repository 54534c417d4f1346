"""Generator of ``ronchigram``: aberrations of the card's prior, turns of conditions, electrons that add up, and no short cuts."""

import numpy as np
import pytest

from stemtwin.benchmarks import statistics
from stemtwin.benchmarks.answers.values import Values
from stemtwin.benchmarks.families.ronchigram import APERTURE, NAMES, coefficients_of
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets import cards, generate, storage
from stemtwin.datasets.generators import ronchigram
from stemtwin.datasets.kinds import find_generator
from stemtwin.twin.errors import DatasetError

TEXT = (cards.CARDS / "ronchigram-1.0.0.toml").read_text(encoding="utf-8")
CARD = cards.parse_card(TEXT)
GENERATOR = find_generator("ronchigram")


def small() -> cards.Card:
    """The released card with a camera of 32 x 32 px, an aperture of 20 mrad, and films of 24 A: the same aberrations, no focal spread."""
    text = TEXT
    for old, new in (
        ("image_shape = [128, 128]", "image_shape = [32, 32]"),
        ("shape = [128, 128]", "shape = [32, 32]"),
        ("semiangle_mrad = 40.0", "semiangle_mrad = 20.0"),
        ("reference_mrad = 30.0", "reference_mrad = 15.0"),
        ("outer_mrad = 42.0", "outer_mrad = 21.0"),
        ("size_angstrom = 66.0", "size_angstrom = 24.0"),
        ("thickness_angstrom = [15.0, 30.0]", "thickness_angstrom = [8.0, 10.0]"),
        ("thickness_angstrom = [12.0, 24.0]", "thickness_angstrom = [8.0, 10.0]"),
        ("C10_angstrom = -1500.0", "C10_angstrom = -500.0"),
        ("electrons = [1e6, 1e8] ", "electrons = [1e5, 1e7] "),
        ("focal_spread_angstrom = [10.0, 25.0]", "focal_spread_angstrom = [0.0, 0.0]"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return cards.parse_card(text)


def drawn(size: str, split: str) -> list[ronchigram.RonchigramCondition]:
    """Return the conditions of all rows of a split."""
    count = CARD.sizes[size].images_per_specimen[split]
    specimens = [GENERATOR.specimen(CARD, size, split, seed) for seed in CARD.structure_seeds(size, split)]
    return [ronchigram.draw_condition(CARD, specimen, i) for specimen in specimens for i in range(count)]


def test_aberrations_are_normal_about_what_was_set():
    """In units of their own spread: means of 0 and standard deviations of 1, uncorrelated, in each of the twelve coefficients."""
    settings, found = CARD.generator, [one for split in CARD.splits for one in drawn("std", split)]
    scaled = np.array([(one.coefficients - settings.means()) / settings.sigmas() / one.spread for one in found])
    slack = 4.5 / np.sqrt(len(scaled))
    assert np.abs(scaled.mean(axis=0)).max() < slack
    assert np.abs(np.corrcoef(scaled.T) - np.eye(12)).max() < slack
    assert scaled.std(axis=0) == pytest.approx(np.ones(12), abs=slack)


def test_energies_and_decades_of_electrons_take_turns():
    """In every size and split both energies and both decades come equally often."""
    for size in ("tiny", "std"):
        for split in CARD.splits:
            found = drawn(size, split)
            assert 2 * sum(one.energy_ev == 200e3 for one in found) == len(found)
            assert 2 * sum(one.electrons < 1e7 for one in found) == len(found)


def test_splits_share_no_specimen():
    """Structure seeds are apart in all sizes."""
    seeds = {split: set(CARD.structure_seeds("full", split)) for split in CARD.splits}
    assert not (seeds["train"] & seeds["val"] | seeds["train"] & seeds["test"] | seeds["val"] & seeds["test"])


def test_a_card_with_a_missing_aberration_is_refused():
    """Every aberration to third order has a spread, and the angles are in order."""
    for old, new, told in (("C12 = 40.0, ", "", "but must name exactly"), ("outer_mrad = 42.0", "outer_mrad = 35.0", "must be in ascending order")):
        with pytest.raises(DatasetError, match=told):
            cards.parse_card(TEXT.replace(old, new))


@pytest.fixture(scope="module")
def rows() -> dict:
    """Rows of some specimens of a small card, by split."""
    card = small()
    out = {}
    for split, count in (("train", 6), ("test", 6)):
        first = card.splits[split]
        made = [GENERATOR.specimen(card, "tiny", split, seed) for seed in range(first, first + count)]
        out[split] = [row for specimen in made for row in generate.specimen_rows(card, "tiny", specimen)]
    return out


@pytest.mark.slow
def test_the_electrons_of_a_thin_film_arrive(rows):
    """Nearly all electrons are in the camera, most of them in the disc; a row is a pure function of the card."""
    card = small()
    for row in rows["train"]:
        assert 0.7 * row["electrons"] < row["image"].sum() < 1.01 * row["electrons"]
    again = generate.specimen_rows(card, "tiny", GENERATOR.specimen(card, "tiny", "train", 0))
    for here, there in zip(rows["train"], again, strict=False):
        assert all(np.array_equal(here[name], there[name]) for name in here)


@pytest.mark.slow
def test_metadata_and_mean_counts_tell_nothing_of_the_aberrations(rows):
    """A ridge regression of the coefficients on all that is given but the picture scores within the interval of what was set."""
    card, task = small(), find_task("ronchigram")
    data = {split: storage.to_xarray(storage.to_numpy(storage.table_of(rows[split], card), card), card, split) for split in rows}
    names = ("energy_ev", "electrons")
    features = {
        split: np.stack([*(np.log(one[name].values) for name in names), np.log(one["image"].values.mean(axis=(1, 2)))], axis=1)
        for split, one in data.items()
    }
    centre, spread = features["train"].mean(axis=0), features["train"].std(axis=0) + 1e-9
    x, new = ((features[split] - centre) / spread for split in ("train", "test"))
    scale, target = card.generator.sigmas(), coefficients_of(data["train"]) - card.generator.means()
    weights = np.linalg.solve(x.T @ x + len(x) * np.eye(x.shape[1]), x.T @ (target / scale))
    guessed = card.generator.means() + (new @ weights) * scale
    seen, blind = (
        task.score(data["test"], {name: _values(row) for name, row in zip(data["test"]["sample_id"].values.tolist(), table, strict=True)})
        for table in (guessed, np.broadcast_to(card.generator.means(), guessed.shape))
    )
    ends = statistics.interval(task.primary.formula, blind)
    assert ends.low < float(task.primary.formula(seen.sums()))


def _values(coefficients: np.ndarray) -> Values:
    """Return an answer of coefficients and an aperture of 15 mrad."""
    return Values(value=dict(zip((*NAMES, APERTURE), [*coefficients.tolist(), 15.0], strict=True)))
