"""Hidden rows: drawn from a secret root alone, given out without anything that tells their truth, and made again once the root is known."""

import re
from pathlib import Path

import numpy as np
import pytest

from stemtwin.datasets import cards, generate, storage
from stemtwin.datasets.cards import find_card
from stemtwin.datasets.draw import Stream, stream_seed
from stemtwin.datasets.generators import atoms_2d
from stemtwin.datasets.hidden import hidden_card, load_given, load_hidden
from stemtwin.datasets.inputs import write_inputs
from stemtwin.datasets.verify import verify
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.samples.library import load_sample
from tests.datasets.conftest import small_card_text, spots
from tests.datasets.stacks import stacks_card

ROOT = 0xC0FFEE << 230 | 0xDEADBEEF << 90 | 12345


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[cards.Card, Path]:
    """Return the hidden card of the small one and a build of it."""
    folder = tmp_path_factory.mktemp("hidden") / "rows"
    card = hidden_card(cards.parse_card(small_card_text()), size="tiny", split="test", root=ROOT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atoms_2d, "microscope_shots", spots)
        generate.build(card, "tiny", folder)
    return card, folder


def given_bytes(folder: Path) -> bytes:
    """Return all files that a team gets."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.slow
def test_what_teams_get_tells_no_truth(built: tuple[cards.Card, Path], tmp_path: Path) -> None:
    """Only ids and inputs: no truth, condition, seed or name of a specimen in columns, attributes or metadata; ids in an order that tells nothing."""
    card, folder = built
    write_inputs(card, folder, "test", tmp_path / "given")
    truth, given = load_hidden(card, folder, "test"), load_given(find_card("atoms-2d", "1.0.0"), tmp_path / "given", "test")
    told = {column.name for column in card.columns if column.role in ("truth", "condition", "identity")} - {"sample_id"}
    assert set(given.variables) & told == set()
    ids = given["sample_id"].values.astype(str).tolist()
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"atoms-small/test/[0-9a-f]{16}", one) for one in ids)
    content = given_bytes(tmp_path / "given")
    secrets = [str(card.seeds.entropy), hex(card.seeds.entropy)[2:], *map(str, truth["structure_seed"].values.tolist()), card.digest]
    secrets += [one.partition("/")[0] for one in truth["specimen"].values.astype(str).tolist()]
    assert not [one for one in secrets if one.encode() in content]
    made = truth["sample_id"].values.astype(str)
    specimen = truth["specimen"].values.astype(str)[[made.tolist().index(one) for one in ids]]
    assert (specimen[1:] == specimen[:-1]).mean() < 0.6  # rows of a specimen do not lie together


@pytest.mark.slow
def test_rows_follow_from_the_root_alone(built: tuple[cards.Card, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same root makes the same rows; another one, or the released card, shares neither ids nor seeds nor noise."""
    card, folder = built
    monkeypatch.setattr(atoms_2d, "microscope_shots", spots)
    released = cards.parse_card(small_card_text())
    assert verify(card, folder, regenerate=2).rows_made_again > 0
    for other in (
        hidden_card(released, size="tiny", split="test", root=ROOT + (1 << 128)),
        hidden_card(released, size="tiny", split="test", root=ROOT ^ 1 << 127),
    ):
        with pytest.raises(DatasetError):
            verify(other, folder, regenerate=1)
    ours = card.structure_seeds("tiny", "test")
    assert not set(ours) & set(released.structure_seeds("tiny", "test"))
    assert ours[0] > 2**40
    assert ours[-1] < 2**63
    assert stream_seed(card, ours[0], Stream.CONDITIONS) != stream_seed(released, ours[0], Stream.CONDITIONS)


def test_specimens_take_seeds_of_that_width() -> None:
    """A specimen of a wide seed is its own: other defects than those of the seed's lower bits."""
    wide, narrow = (load_sample("mos2-1h", vacancy_fraction=0.1, seed=seed).positions_angstrom for seed in (2**61 + 7, 7))
    assert wide.shape != narrow.shape or not np.array_equal(wide, narrow)


@pytest.mark.slow
def test_the_truth_is_the_released_kind(built: tuple[cards.Card, Path]) -> None:
    """Scoring finds every column of the released card, in its types, and the hash of the content."""
    card, folder = built
    data = load_hidden(card, folder, "test")
    assert set(data.data_vars) == set(card.column_names())
    assert data.attrs["content_sha256"] == storage.content_sha256(storage.content_digests({name: data[name].values for name in data.data_vars}, card))
    assert data.attrs["size"] == "tiny"


def test_a_hidden_card_shares_no_stream_with_the_released_one(tmp_path: Path) -> None:
    """Its inputs hold neither truth nor seeds, it has its own ids, and a build of it is made again from the same root only."""
    released = stacks_card()
    root = 0xBEEF << 240 | 10**15 << 66  # its specimens have as many vacancies as their seeds have thousandths
    card = hidden_card(released, size="tiny", split="test", root=root)
    generate.build(card, "tiny", tmp_path / "built")
    write_inputs(card, tmp_path / "built", "test", tmp_path / "given")
    given, truth = load_given(released, tmp_path / "given", "test"), load_hidden(card, tmp_path / "built", "test")
    assert set(given.data_vars) == {"sample_id", "stack"}
    content = given_bytes(tmp_path / "given")
    seeds = [str(card.seeds.entropy), *map(str, truth["structure_seed"].values.tolist())]
    assert not [one for one in seeds if one.encode() in content]
    assert verify(card, tmp_path / "built", regenerate=2).rows_made_again == 2
    for other in (root + (1 << 128), root + (1000 << 66)):
        with pytest.raises(DatasetError):
            verify(hidden_card(released, size="tiny", split="test", root=other), tmp_path / "built", regenerate=1)


@pytest.mark.parametrize("asked", [{"size": "huge"}, {"split": "hidden"}])
def test_a_size_or_split_that_is_none(asked: dict[str, str]) -> None:
    """The nearest one is named."""
    with pytest.raises(DatasetError, match="has no"):
        hidden_card(find_card("atoms-2d", "1.0.0"), **{"size": "tiny", "split": "test", "root": ROOT, **asked})
