"""Dataset cards."""

import pickle
import re

import pytest

from stemtwin.datasets import cards, catalog
from stemtwin.datasets.cards import parse_card, read_card
from stemtwin.datasets.kinds import find_generator
from stemtwin.twin.errors import DatasetError, UnknownNameError

RELEASED = cards.CARDS / "atoms-2d-1.0.0.toml"
IMAGE = 'unit = "e-"\nshape = [128, 128]\n'
"""Lines of a column that holds an image."""


@pytest.mark.parametrize("path", sorted(cards.CARDS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_released_card_is_valid_and_named_after_itself(path):
    """A card reads, its file is <name>-<version>.toml, and every column has a unit and a meaning."""
    card = read_card(path)
    assert path.stem == card.id
    assert all(column.unit and column.meaning for column in card.columns)
    assert set(card.sizes) == {"tiny", "std", "full"}


@pytest.mark.parametrize("path", sorted(cards.CARDS.glob("*.toml")), ids=lambda path: path.stem)
def test_splits_share_no_structure_seed(path):
    """In every size, no structure seed is in two splits."""
    card = read_card(path)
    for size in card.sizes:
        seeds = [seed for split in card.splits for seed in card.structure_seeds(size, split)]
        assert len(seeds) == len(set(seeds))


def test_the_card_states_its_limits_in_numbers():
    """Field, thickness, cells and phonon configurations stand among the limits of the card, and its ranges keep to them."""
    card = read_card(RELEASED)
    text = " ".join(card.limits)
    assert all(words in text for words in ("16 to 40 A", "5 to 11 A", "of 30 A", "200 A thick", "tiny 40 A", "8 frozen-phonon", "1 %"))
    assert card.generator.field_of_view_angstrom == (16, 40)
    assert max(m.thickness_angstrom[1] for m in card.generator.materials if m.thickness_angstrom) == 200
    assert card.sizes["tiny"].thickness_at_most_angstrom == 40
    assert card.generator.phonon_configurations == 8
    periodic = [m for m in card.generator.materials if m.engine == "operator"]
    assert all(8 <= m.size_angstrom <= 12 for m in periodic)
    assert [(m.name, m.size_angstrom) for m in card.generator.materials if m not in periodic] == [("graphene-si", 30)]


def test_crystals_are_averaged_over_the_lattice_where_a_card_says_auto():
    """A card's number of configurations is the mean of these as they are; "auto" is the average, which plans fewer, and needs no other digest."""
    text = RELEASED.read_text(encoding="utf-8")
    cards = {which: parse_card(text.replace("phonon_configurations = 8", f"phonon_configurations = {which}")) for which in ("8", '"auto"')}
    assert cards["8"].digest == read_card(RELEASED).digest != cards['"auto"'].digest
    generator = find_generator("atoms-2d")
    seconds = {which: generator.seconds(card, "tiny") for which, card in cards.items()}
    assert seconds['"auto"'] < 0.9 * seconds["8"]
    with pytest.raises(DatasetError, match="phonon_configurations"):
        parse_card(text.replace("phonon_configurations = 8", 'phonon_configurations = "many"'))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('name = "atoms-2d"', 'nam = "atoms-2d"', "name: Field required"),
        ('version = "1.0.0"', 'version = "1.0"', "version: String should match pattern"),
        ("C10_angstrom = [-50.0, 50.0]", "C10_angstrom = [50.0, -50.0]", "starts above its end"),
        ('unit = "eV"\n', "", r"columns\.7\.unit: Field required"),
        ("val = 1_000_000", "val = 3", "share the structure seeds"),
        ("dwell_time_us = [0.5, 3000.0]", "dwell_time_us = [0.5, 0.6]", "needs a dwell time or current outside"),
        ('setups = ["corrected-200kv", "ideal-80kv"]', 'setups = ["corrected-20kv"]', "names the setup 'corrected-20kv'"),
        ('column = "material"', 'column = "matter"', "which the card does not have"),
        ('name = "split"', 'name = "image"', "two columns have the same name"),
        ("[seeds]", "[seeds", "not valid TOML"),
    ],
)
def test_a_wrong_card_is_refused_with_the_key_and_the_reason(old, new, reason):
    """Each mistake in a card ends in one DatasetError that names it."""
    text = RELEASED.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(DatasetError, match=reason):
        parse_card(text.replace(old, new, 1))


def test_an_unknown_name_or_version_names_the_nearest():
    """A misspelt dataset is an UnknownNameError and a misspelt version a DatasetError, each with a did-you-mean."""
    with pytest.raises(UnknownNameError, match=re.escape("Did you mean 'atoms-2d'?")):
        catalog.load_dataset("atom-2d", version="1.0.0")
    with pytest.raises(DatasetError, match=re.escape("Did you mean '1.0.0'?")):
        catalog.load_dataset("atoms-2d", version="1.0.1")
    assert "1.0.0" in catalog.list_datasets()["atoms-2d"]


def test_a_missing_card_says_so(tmp_path):
    """No such file is a DatasetError with the path."""
    with pytest.raises(DatasetError, match=r"nothing\.toml"):
        read_card(tmp_path / "nothing.toml")


def test_the_digest_of_a_released_card_stays():
    """Manifests of builds everywhere hold it: keys that cards learnt later do not enter it where they are not given."""
    assert read_card(RELEASED).digest == "d8a46ef873fff9c3560bf38e92ee70b3e60e89027e1d7d58f6a5b81fc4a0f222"


def test_the_digest_sees_values_and_not_comments():
    """A comment does not change a card's digest, a number does."""
    text = RELEASED.read_text(encoding="utf-8")
    card = parse_card(text)
    assert parse_card(text + "\n# remark\n").digest == card.digest
    assert parse_card(text.replace("[-50.0, 50.0]", "[-50.0, 51.0]")).digest != card.digest
    assert parse_card(text.replace('unit = "e-"', 'unit = "e-"\ncompare = "exact"')).digest != card.digest


def test_a_card_survives_a_pickle():
    """A card goes to another process as it is."""
    card = read_card(RELEASED)
    again = pickle.loads(pickle.dumps(card))
    assert again == card
    assert type(again) is type(card)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (IMAGE, IMAGE.replace("shape = [128, 128]", "shape = [1, 2, 3, 4, 5]"), "shape: Tuple should have at most 4 items"),
        (IMAGE, IMAGE.replace("shape = [128, 128]", "shape = [3, 128, 128]"), "must name 3 dimension"),
        (IMAGE, IMAGE + 'dims = ["y"]\n', "must name 2 dimension"),
        (IMAGE, IMAGE + 'count = "n_columns"\n', "only a ragged column has a count"),
        (IMAGE, IMAGE + "ragged = true\n", "single values and has no shape"),
        ('dtype = "bool"', 'dtype = "bool"\ncount = "column_heaviest"', "which is not a column of single int64 values"),
        ('dtype = "bool"', 'dtype = "bool"\ncount = "structure_seed"', "the dimension 'column' is counted by"),
        ('dtype = "bool"', 'dtype = "bool"\ndims = ["x"]', "cannot share a dimension"),
        ('dtype = "bool"', 'dtype = "bool"\ndims = ["sample"]', "'sample' is the dimension of the rows"),
        ('dtype = "bool"', 'dtype = "bool"\ncompare = "counts"', "needs an integer dtype"),
        ('dtype = "bool"', 'dtype = "bool"\ncube = true', "a cube must be an array of numbers"),
        ('name = "specimen"', 'name = "specimens"', "every dataset needs a column 'specimen'"),
        ('kind = "atoms-2d"', 'kind = "atoms-3d"', "has a kind without a generator.*Did you mean 'atoms-2d'"),
        ('kind = "atoms-2d"', "", "kind: Field required"),
    ],
)
def test_columns_that_cannot_be_are_refused(old, new, reason):
    """Each tie between the columns of a card is checked, and named where it breaks."""
    text = RELEASED.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(DatasetError, match=reason):
        parse_card(text.replace(old, new, 1))
