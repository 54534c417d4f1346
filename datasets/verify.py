"""Verification of a dataset: checks that its files match the manifest, and that this machine generates the same rows.

For measured data, the verification checks the files, their content, and that no file is in two splits. Measured rows cannot
be regenerated.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets import comparison, cubes, generate, storage, witness
from stemtwin.datasets.cards import Card
from stemtwin.datasets.manifest import Manifest, check_card, check_file, read_manifest
from stemtwin.datasets.measured import REPAIR, MeasuredCard
from stemtwin.twin.errors import DatasetError


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """Result of a verification.

    Parameters
    ----------
    folder : str
        Folder of the dataset.
    content_sha256 : str
        Digest of all rows.
    files, rows, witnesses, rows_made_again : int
        Numbers of checked files, of checked rows, of rows that were compared with a witness row, and of regenerated rows.
    worst_pixel_fraction : float
        Fraction of counts that differ between a stored and a regenerated array, for the array with the most differences.
    """

    folder: str
    content_sha256: str
    files: int
    rows: int
    witnesses: int
    rows_made_again: int
    worst_pixel_fraction: float


def verify(card: Card, folder: str | Path, *, regenerate: int = 0, seed: int = 0, progress: Any = None) -> VerificationReport:
    """Verify the files, the content and, optionally, regenerated rows of a dataset's folder.

    Parameters
    ----------
    card : Card
        Card of the dataset. For measured data, this is the card in their folder.
    folder : str or Path
        Folder of the dataset.
    regenerate : int
        Number of randomly drawn specimens whose rows are regenerated and compared with the stored rows. It must be 0 for
        measured data.
    seed : int
        Seed with which these specimens are drawn.
    progress : callable, optional
        See :func:`stemtwin.datasets.generate.build`.

    Returns
    -------
    VerificationReport
        Numbers of checked files and rows, and the largest difference.

    Raises
    ------
    DatasetError
        A file is missing or changed, the Parquet and netCDF files differ, or the content does not match the manifest. A row
        differs from the regenerated row, or from its reference row that ships with the card
        (:mod:`stemtwin.datasets.witness`), by more than the tolerances of :mod:`stemtwin.datasets.comparison`.
    """
    folder = Path(folder)
    measured = isinstance(card, MeasuredCard)
    if measured and regenerate:
        message = f"regenerate={regenerate} is not possible: {folder} holds measured data, which have no seeds. Leave out this argument."
        raise DatasetError(message)
    manifest = read_manifest(folder)
    if not measured:
        check_card(manifest, card, folder)
    for entry in manifest.files:
        check_file(folder, entry, REPAIR if measured else "")
    check_card(manifest, card, folder)
    arrays = {split: _check_content(card, manifest, folder, split) for split in manifest.splits}
    _check_total(card, manifest, folder, arrays)
    witnesses = sum(witness.check(card, manifest.size, witness.rows_of(card, manifest.size, values)) for values in arrays.values())
    worst, again = _check_again(card, manifest, arrays, regenerate, seed, progress) if regenerate else (0.0, 0)
    return VerificationReport(
        folder=str(folder),
        content_sha256=manifest.content_sha256,
        files=len(manifest.files),
        rows=sum(piece.rows for piece in manifest.splits.values()),
        witnesses=witnesses,
        rows_made_again=again,
        worst_pixel_fraction=worst,
    )


def _repair(card: Card) -> str:
    """Return the last sentence of an error, the repair."""
    return REPAIR if isinstance(card, MeasuredCard) else "Build the dataset again."


def _check_again(card: Card, manifest: Manifest, arrays: dict[str, dict[str, Any]], regenerate: int, seed: int, progress: Any) -> tuple[float, int]:
    """Regenerate specimens and compare their rows; return the largest fraction of unequal counts and the number of rows."""
    worst, again = 0.0, 0
    chosen = list(generate.specimens(card, manifest.size))
    picks = np.random.Generator(np.random.Philox(seed)).permutation(len(chosen))[:regenerate]
    for done, pick in enumerate(sorted(picks)):
        if progress is not None:
            progress(done, len(picks), chosen[pick].name)
        rows = generate.specimen_rows(card, manifest.size, chosen[pick])
        worst = max(worst, *(_compare(card, arrays[chosen[pick].split], row) for row in rows))
        again += len(rows)
    return worst, again


def _check_content(card: Card, manifest: Manifest, folder: Path, split: str) -> dict[str, Any]:
    """Return a split's arrays after checking the content of its Parquet and netCDF files against the manifest."""
    arrays = storage.to_numpy(storage.read_parquet([folder / path for path in manifest.paths(split, "parquet")]), card)
    labelled = storage.read_netcdf(folder / manifest.paths(split, "netcdf")[0], card)
    large = cubes.open_cubes(folder, split, card)
    for carrier, values in (("Parquet", arrays), ("netCDF", {name: labelled[name].to_numpy() for name in arrays})):
        found = storage.content_sha256(storage.content_digests(values | large, card))
        if found != manifest.splits[split].content_sha256:
            message = f"The {carrier} files of {split} in {folder} do not match the content in the manifest. {_repair(card)}"
            raise DatasetError(message)
    return arrays | large


def _check_total(card: Card, manifest: Manifest, folder: Path, arrays: dict[str, dict[str, Any]]) -> None:
    """Check the digest of all rows, and that no specimen is in two splits."""
    if storage.content_sha256(digest for values in arrays.values() for digest in storage.content_digests(values, card)) != manifest.content_sha256:
        message = f"The content of all splits in {folder} together does not match the manifest. {_repair(card)}"
        raise DatasetError(message)
    owner: dict[int, str] = {}
    for split, values in arrays.items():
        for structure_seed in np.unique(values["structure_seed"]).tolist():
            if owner.setdefault(structure_seed, split) != split:
                message = f"Structure seed {structure_seed} occurs in both {owner[structure_seed]} and {split} of {folder}. {_repair(card)}"
                raise DatasetError(message)


def _compare(card: Card, arrays: dict[str, Any], row: dict[str, Any]) -> float:
    """Return the largest fraction of unequal counts of a stored and a regenerated row.

    A larger difference than the tolerances raises DatasetError.
    """
    where = np.flatnonzero(arrays["sample_id"] == row["sample_id"])
    if len(where) != 1:
        message = f"{row['sample_id']} occurs {len(where)} times in the dataset, not once. Build the dataset again."
        raise DatasetError(message)
    worst = 0.0
    for column in card.columns:
        found = comparison.difference(column, column.trimmed(arrays, int(where[0])), row[column.name])
        if found.text:
            message = f"{row['sample_id']}: {found.text}. Build the dataset again with this version of stemtwin."
            raise DatasetError(message)
        worst = max(worst, found.fraction)
    return worst
