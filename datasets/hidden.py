"""Hidden data: rows of a released card that are drawn from a secret root, so that nobody can compute their truth before the root is published.

All random numbers of a card follow from its entropy, and the specimens themselves from their structure seeds. Both are secret here, and rows are
named by digests, in whose order they are given out.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from stemtwin.datasets import cubes, storage
from stemtwin.datasets.cards import Card, Seeds, known
from stemtwin.datasets.inputs import shown_card
from stemtwin.datasets.manifest import check_file, read_manifest

if TYPE_CHECKING:
    import xarray as xr

POLICY = "secret: entropy and structure seeds follow from a key that is published afterwards"
SEED_BITS = 62
"""Width of the first structure seed: too many to be searched, and all of a split fit into int64."""


def hidden_card(card: Card, *, size: str, split: str, root: int, further: int = 0) -> Card:
    """Return the card of hidden rows: one split of one size of a released card, drawn from another root.

    Parameters
    ----------
    card : Card
        The released card.
    size, split : str
        Number and kind of the rows.
    root : int
        Secret, 256 bits: the upper 128 are the entropy, others the first structure seed.
    further : int
        Specimens beyond those of the size, which come last.

    Raises
    ------
    DatasetError
        The card has no such size or split.
    """
    asked = card.sizes[known("size", size, card.sizes, card.id)]
    known("split", split, card.splits, card.id)
    counts = {"specimens": {split: asked.specimens[split] + further}, "images_per_specimen": {split: asked.images_per_specimen[split]}}
    changed = {
        "schema_": "stemtwin/dataset-card@2",  # rows of schema 1 are named in the order of their seeds
        "seeds": Seeds(entropy=root >> 128, policy=POLICY),
        "splits": {split: root % (1 << 128) >> (128 - SEED_BITS)},
        "sizes": {size: asked.model_copy(update=counts)},
    }
    return card.model_copy(update=changed)


def load_hidden(card: Card, folder: Path, split: str) -> "xr.Dataset":
    """Return the rows of a finished build of a hidden card, truth included, after checking its files against their hashes.

    Parameters
    ----------
    card : Card
        From :func:`hidden_card`.
    folder : Path
        A finished build of it.
    split : str
        Its split.

    Raises
    ------
    DatasetError
        A file is missing or damaged.
    """
    manifest = read_manifest(folder)
    for entry in manifest.files:
        if entry.split == split and entry.carrier in ("netcdf", "zarr"):
            check_file(folder, entry)
    data = storage.read_netcdf(folder / manifest.paths(split, "netcdf")[0], card)
    if cubes.cubes_of(card):
        data = data.merge(cubes.labelled_cubes(folder, split, card))
    return data.assign_attrs(size=manifest.size, content_sha256=manifest.splits[split].content_sha256)


def load_given(card: Card, folder: Path, split: str) -> "xr.Dataset":
    """Return the inputs of a split that :func:`stemtwin.datasets.inputs.write_inputs` wrote: what test takers have.

    Parameters
    ----------
    card : Card
        The released card, or the hidden one.
    folder : Path
        Folder of ``<split>.nc``.
    split : str
        The split.

    Raises
    ------
    DatasetError
        The file is missing or damaged.
    """
    return storage.read_netcdf(folder / f"{split}.nc", shown_card(card))
