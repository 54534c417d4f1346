"""Sources of a dataset. This machine, a mirror and a build are tried in this order, unless the user names a folder."""

import functools
import os
import sys
import time
from pathlib import Path

from stemtwin.datasets import fetch, generate
from stemtwin.datasets.cards import Card, find_card, list_cards
from stemtwin.datasets.kinds import find_generator
from stemtwin.datasets.manifest import MANIFEST, Manifest, check_card, check_file, read_manifest
from stemtwin.datasets.measured import CARD
from stemtwin.twin.errors import DatasetError

PATIENCE_S = 120.0
"""Longest estimated time (s) of a build that the user has not requested."""
LINE_S = 10.0
"""Time between two reports of a build's progress, s."""


def obtain(card: Card, size: str, split: str, carriers: tuple[str, ...], *, build: bool | None = None) -> tuple[Path, Manifest]:
    """Return a dataset's folder and manifest after obtaining and checking the files of a split.

    The source of the dataset is reported once on stderr.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    size : str
        Size of the dataset.
    split : str
        Split whose files are needed.
    carriers : tuple of str
        Formats of the needed files: ``"parquet"``, ``"netcdf"``, ``"zarr"``.
    build : bool, optional
        Whether to build the dataset if it is not on this machine and no mirror is set. With True it is built regardless of
        the estimated time, with False it is never built, and with None it is built if the estimated time is at most two
        minutes.

    Raises
    ------
    DatasetError
        The dataset is not available, or is corrupted.
    """
    what, folder = f"{card.name} {card.version} {size}", fetch.folder_of(card, size)
    if (folder / MANIFEST).is_file():
        _say_once(f"{what} is read from {folder}")
    elif os.environ.get("STEMTWIN_DATA_URL"):
        _say_once(f"{what} is fetched from {os.environ['STEMTWIN_DATA_URL']}")
    else:
        _build(card, size, folder, wanted=build)
    for carrier in carriers:
        folder, manifest = fetch.ensure(card, size, split, carrier)
    return folder, manifest


def is_built(folder: Path) -> bool:
    """Return True if a folder holds a built or fetched dataset."""
    return os.path.isfile(folder / MANIFEST) and not os.path.isfile(folder / CARD)  # noqa: PTH113 - Path.is_file raises where a name is too long


def card_of_build(folder: Path) -> Card:
    """Return the card from which a folder was built.

    Raises
    ------
    DatasetError
        The manifest of the folder cannot be read, or its card is not part of this installation.
    """
    manifest = read_manifest(folder)
    if manifest.version not in list_cards().get(manifest.name, ()):
        message = (
            f"{folder} was built from the card of {manifest.name} {manifest.version}, which is not part of this installation. "
            "Give the path of that card, and set STEMTWIN_DATA_DIR to the folder of all datasets."
        )
        raise DatasetError(message)
    card = find_card(manifest.name, manifest.version)
    check_card(manifest, card, folder)
    return card


def check_folder(folder: Path, size: str | None, split: str, carriers: tuple[str, ...]) -> Manifest:
    """Return the manifest of a folder that the user names, after checking the files of a split.

    Raises
    ------
    DatasetError
        The folder holds another size than the requested one, or a file is missing or damaged.
    """
    manifest = read_manifest(folder)
    if size not in (None, manifest.size):
        message = (
            f"{folder} holds the size {manifest.size!r}, not {size!r}. Leave out the size, or give the name of the dataset instead of the folder."
        )
        raise DatasetError(message)
    for entry in manifest.files:
        if entry.split == split and entry.carrier in carriers:
            check_file(folder, entry)
    return manifest


@functools.cache
def _say_once(line: str) -> None:
    sys.stderr.write(f"stemtwin: {line}\n")
    sys.stderr.flush()


def _build(card: Card, size: str, folder: Path, *, wanted: bool | None) -> None:
    """Build a dataset that has no other source, unless the estimated time is too long."""
    seconds = find_generator(card.kind).seconds(card, size)
    if wanted is False or (wanted is None and seconds > PATIENCE_S):
        raise DatasetError(fetch.absent(card, size, f" A build takes about {minutes(seconds)}{_smaller(card, size)}."))
    _say_once(f"{card.name} {card.version} {size} is neither on this machine nor on a mirror; it is built here in about {minutes(seconds)}")
    began = last = time.monotonic()

    def tell(done: int, total: int, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_S or (done == total and last > began):
            last = time.monotonic()
            sys.stderr.write(f"stemtwin: {done} of {total} specimens, {minutes(last - began)} of about {minutes(seconds)}: {text}\n")
            sys.stderr.flush()

    generate.build(card, size, folder, progress=tell)
    _say_once(f"{card.name} {card.version} {size} lies in {folder}")


def _smaller(card: Card, size: str) -> str:
    """Return a text with the build time of a card's smallest size.

    The text is ``""`` if ``size`` is the smallest size, or if the estimated time of the smallest size is too long.
    """
    smallest = min(card.sizes, key=card.images)
    seconds = 0.0 if smallest == size else find_generator(card.kind).seconds(card, smallest)
    return f", and {minutes(seconds)} for the size {smallest!r}" if 0 < seconds <= PATIENCE_S else ""


def minutes(seconds: float) -> str:
    """Return a time as text: ``40 s``, ``14 min``, ``1 h 20 min``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    whole = round(seconds / 60)
    return f"{whole} min" if whole < 60 else f"{whole // 60} h {whole % 60} min"
