"""Witness rows that ship with the released cards."""

import pytest

from stemtwin.datasets import cards, fetch, generate, witness
from stemtwin.datasets.kinds import find_generator
from stemtwin.twin.errors import DatasetError

RELEASED = [cards.find_card(name, version) for name, versions in cards.list_cards().items() for version in versions]


@pytest.mark.parametrize("card", RELEASED, ids=lambda card: card.id)
def test_every_released_card_has_witnesses_of_each_size(card):
    """The file is of this very card, at most 200 kB, and has the chosen rows of every size with every column."""
    assert witness.path_of(card).stat().st_size <= witness.LIMIT_BYTES == 200_000
    rows, _ = witness.read(card)
    assert {row["size"] for row in rows} == set(card.sizes)
    for size in card.sizes:
        found = {(row["split"], row["structure_seed"]) for row in rows if row["size"] == size}
        assert found == {(split, seed) for split, seed, _ in witness.chosen(card, size)}
        assert {split for split, _ in found} == set(card.splits)
    assert set(card.column_names()) <= set(rows[0])


@pytest.mark.parametrize("card", RELEASED, ids=lambda card: card.id)
def test_the_registry_of_a_released_card_ships(card):
    """A registry beside the card names manifest and files of at least its smallest size."""
    path = fetch.registry_path(card)
    assert path is not None
    assert f"{min(card.sizes, key=card.images)}/manifest.json sha256:" in path.read_text()


def test_all_materials_have_a_witness():
    """In every size of atoms-2d, each material is among the witnesses."""
    card = cards.find_card("atoms-2d", "1.0.0")
    rows, edge = witness.read(card)
    assert edge is None, "whole rows fit"
    for size in card.sizes:
        assert {row["material"] for row in rows if row["size"] == size} == {material.name for material in card.generator.materials}


def test_this_machine_makes_the_published_rows():
    """A graphene specimen of tiny comes out as published, within the tolerances of the house."""
    card = cards.find_card("atoms-2d", "1.0.0")
    split, seed, _ = next(row for row in witness.chosen(card, "tiny") if card.generator.material_of(row[1]).name == "graphene")
    assert witness.check(card, "tiny", generate.specimen_rows(card, "tiny", find_generator(card.kind).specimen(card, "tiny", split, seed))) == 1


@pytest.mark.parametrize("content", [b"", b"PAR1 no table", b"x" * 5000])
def test_a_file_that_is_none_is_refused(card, content):
    """A damaged file is one sentence with the command that writes it again."""
    witness.path_of(card).write_bytes(content)
    with pytest.raises(DatasetError, match=r"holds no witness rows: .*'stemtwin data witness atoms-small'"):
        witness.check(card, "tiny", [{"sample_id": "x"}])


def test_witnesses_of_another_card_are_not_asked(card, finished):
    """Where the card was changed, rows of the old one say nothing."""
    witness.path_of(card).write_bytes(witness._file(card.model_copy(update={"title": "Another"}), [], None))
    assert witness.read(card) == ([], None)
