"""Releases of datasets: builds of the released sizes for a mirror, and the registry of their hashes.

``python -m stemtwin.datasets.release MIRROR`` (``make datasets``) builds the released sizes that are missing, checks all
released sizes, copies them into the mirror and writes the registries beside the cards. The hashes of files depend on the
versions of stemtwin, numpy and the libraries that write the files, so the mirror and its registry must come from one run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stemtwin.datasets import cards, fetch, generate
from stemtwin.datasets.cards import Card
from stemtwin.datasets.generate import BuildProgress
from stemtwin.datasets.kinds import find_generator
from stemtwin.datasets.sources import minutes
from stemtwin.datasets.verify import verify
from stemtwin.twin.errors import DatasetError, StemtwinError
from stemtwin.twin.files import check_writable, write_atomically

RELEASED = ("tiny", "std")
"""Released sizes; all other sizes are recipes, which users build themselves."""


def released(card: Card) -> tuple[str, ...]:
    """Return the released sizes of a card."""
    return tuple(size for size in card.sizes if size in RELEASED)


def release(card: Card, target: str | Path, *, workers: int = 1, progress: BuildProgress | None = None) -> Path:
    """Build and check all released sizes of a card, publish them in a mirror, and write the registry beside the card.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    target : str or Path
        Folder of the mirror.
    workers : int
        Number of worker processes of a build.
    progress : callable, optional
        See :func:`stemtwin.datasets.generate.build`.

    Returns
    -------
    Path
        Path of the registry.

    Raises
    ------
    DatasetError
        A size cannot be built or written, fails its verification, or has an earlier build with other versions of stemtwin or
        NumPy. The registry is not changed in these cases.
    """
    registry = fetch.shipped_registry(card)
    check_writable(registry)
    for size in released(card):
        _check_versions(card, size)
    sections = []
    for size in released(card):
        folder = fetch.folder_of(card, size)
        manifest = generate.build(card, size, folder, progress=progress, workers=workers)
        verify(card, folder)
        fetch.publish(card, folder, target)
        sections.append(fetch.registry_section(folder, manifest))
    write_atomically(registry, "".join(sections).encode())
    return registry


def _check_versions(card: Card, size: str) -> None:
    """Raise DatasetError if a size has an earlier build with other versions of stemtwin or NumPy."""
    folder = fetch.folder_of(card, size)
    finished = generate.check_build(card, size, folder)
    here = generate.origin(card, size)
    if finished is not None and finished.generator != here:
        was, now = ({key: told.get(key, "none") for key in ("package", "numpy")} for told in (finished.generator, here))
        message = (
            f"{folder} was built with {was['package']} and numpy {was['numpy']}, but {now['package']} and numpy {now['numpy']} are installed. "
            "A release needs one set of versions. Delete that folder and run this command again."
        )
        raise DatasetError(message)


def main(arguments: Sequence[str] | None = None) -> None:
    """Release datasets from the command line."""
    parser = argparse.ArgumentParser(prog="python -m stemtwin.datasets.release", description="Build and publish all released sizes of datasets.")
    parser.add_argument("mirror", type=Path, help="folder of the mirror, to be served by a web server")
    names = "names with versions, such as atoms-2d@1 (default: all versions of all datasets)"
    parser.add_argument("--datasets", nargs="+", metavar="NAME", default=None, help=names)
    parser.add_argument("--workers", type=int, default=2, help="number of worker processes of a build (default: 2)")
    given = parser.parse_args(arguments)
    every = given.datasets or [f"{name}@{version}" for name, versions in cards.list_cards().items() for version in versions]
    try:
        for card in [cards.named_card(name) for name in every]:
            seconds = sum(find_generator(card.kind).seconds(card, size) for size in released(card) if not _is_built(card, size))
            sys.stderr.write(f"{card.id}: {', '.join(released(card))}, about {minutes(seconds)}\n")
            registry = release(card, given.mirror, workers=given.workers, progress=_tell)
            sys.stdout.write(f"{card.id}: {', '.join(released(card))} in {given.mirror}, hashes in {registry}\n")
    except StemtwinError as error:
        sys.exit(f"stemtwin: {error}")


def _is_built(card: Card, size: str) -> bool:
    """Return True if a size has been built."""
    return generate.check_build(card, size, fetch.folder_of(card, size)) is not None


def _tell(done: int, total: int, text: str) -> None:
    """Print the progress of a build."""
    sys.stderr.write(f"{done} of {total} specimens: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
