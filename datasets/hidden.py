"""Hidden data: rows of a released card whose seeds follow from a secret number, the root.

The entropy and the structure seeds follow from the root, and all specimens and random numbers follow from the entropy and
the structure seeds. The truth of the rows therefore cannot be computed until the root is published. Rows are named by
digests and are published in the order of their names.
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
"""Bits of the first structure seed: it has too many values for a search, and all seeds of a split fit into int64."""


def hidden_card(card: Card, *, size: str, split: str, root: int, further: int = 0) -> Card:
    """Return the card of hidden rows: one split of one size of a released card, with seeds that follow from a secret root.

    Parameters
    ----------
    card : Card
        Released card.
    size, split : str
        Size and split of the card that the hidden rows correspond to.
    root : int
        Secret number of 256 bits. The upper 128 bits are the entropy, and the next 62 bits are the first structure seed.
    further : int
        Number of specimens to add to the specimens of ``size``. Their structure seeds follow those of the other specimens.

    Raises
    ------
    DatasetError
        The card does not have this size or this split.
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
    """Return the rows of a finished build of a hidden card, with their truth, after checking the hashes of the files.

    Parameters
    ----------
    card : Card
        Hidden card, from :func:`hidden_card`.
    folder : Path
        Folder of a finished build of the card.
    split : str
        Split of the card.

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
    """Return the inputs of a split from the files that :func:`stemtwin.datasets.inputs.write_inputs` wrote for participants.

    Parameters
    ----------
    card : Card
        Released or hidden card of the rows.
    folder : Path
        Folder that contains ``<split>.nc``.
    split : str
        Name of the split.

    Raises
    ------
    DatasetError
        The file is missing or damaged.
    """
    return storage.read_netcdf(folder / f"{split}.nc", shown_card(card))
