"""Checking a dataset: the files are what the manifest says, and this machine makes the same rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets import generate, storage
from stemtwin.datasets.cards import Card, Column
from stemtwin.datasets.draw import draw_specimen
from stemtwin.datasets.manifest import Manifest, check_card, check_file, read_manifest
from stemtwin.twin.errors import DatasetError

TRUTH_TOLERANCE = 1e-9
"""Largest difference of a position or a condition, relative or in A: the last bits of another machine's sine."""
PIXELS_OFF_BY_ONE = 1e-4
"""Largest fraction of an image's pixels that may count one electron more or less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """Result of a verification: files, rows read, rows made again, and the largest fraction of pixels that differed (by one) in an image."""

    folder: str
    content_sha256: str
    files: int
    rows: int
    rows_made_again: int
    worst_pixel_fraction: float


def verify(card: Card, folder: str | Path, *, regenerate: int = 0, seed: int = 0, progress: Any = None, acquire: Any = None) -> VerificationReport:
    """Check a dataset's folder.

    Parameters
    ----------
    card : Card
        The card that it was made from.
    folder : str or Path
        Where it lies.
    regenerate : int
        Make this many specimens again, drawn with ``seed``, and compare all their rows.
    seed : int
        Which specimens.
    progress : callable, optional
        See :func:`stemtwin.datasets.generate.build`.
    acquire : ImageSource, optional
        See :func:`stemtwin.datasets.generate.build`.

    Returns
    -------
    VerificationReport
        What was checked.

    Raises
    ------
    DatasetError
        A file is missing or changed, the carriers do not say the same, the content is not what the manifest says, or a row made again differs by
        more than the tolerances (truth and conditions equal; counts equal but for 1e-4 of an image's pixels by one).
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    check_card(manifest, card, folder)
    for entry in manifest.files:
        check_file(folder, entry)
    arrays = {split: _check_content(card, manifest, folder, split) for split in manifest.splits}
    _check_total(card, manifest, folder, arrays)
    worst, again = 0.0, 0
    chosen = list(generate.specimens(card, manifest.size))
    picks = np.random.Generator(np.random.Philox(seed)).permutation(len(chosen))[:regenerate]
    for done, pick in enumerate(sorted(picks)):
        split, structure_seed = chosen[pick].split, chosen[pick].structure_seed
        if progress is not None:
            progress(done, len(picks), chosen[pick].name)
        rows = generate.specimen_rows(card, manifest.size, draw_specimen(card, manifest.size, split, structure_seed), acquire)
        worst = max(worst, *(_compare(card, arrays[split], row) for row in rows))
        again += len(rows)
    return VerificationReport(
        folder=str(folder),
        content_sha256=manifest.content_sha256,
        files=len(manifest.files),
        rows=sum(piece.rows for piece in manifest.splits.values()),
        rows_made_again=again,
        worst_pixel_fraction=worst,
    )


def _check_content(card: Card, manifest: Manifest, folder: Path, split: str) -> dict[str, np.ndarray]:
    """Return a split's arrays after checking that both carriers say what the manifest says."""
    arrays = storage.to_numpy(storage.read_parquet([folder / path for path in manifest.paths(split, "parquet")]), card)
    labelled = storage.read_netcdf(folder / manifest.paths(split, "netcdf")[0], card)
    for carrier, values in (("Parquet", arrays), ("netCDF", {name: labelled[name].to_numpy() for name in arrays})):
        found = storage.content_sha256(storage.content_digests(values, card))
        if found != manifest.splits[split].content_sha256:
            message = f"The {carrier} files of {split} in {folder} do not say what the manifest says. Build the dataset again."
            raise DatasetError(message)
    return arrays


def _check_total(card: Card, manifest: Manifest, folder: Path, arrays: dict[str, dict[str, np.ndarray]]) -> None:
    """Check the digest of all rows, and that no specimen is in two splits."""
    if storage.content_sha256(digest for values in arrays.values() for digest in storage.content_digests(values, card)) != manifest.content_sha256:
        message = f"The splits in {folder} together are not the content that the manifest names. Build the dataset again."
        raise DatasetError(message)
    owner: dict[int, str] = {}
    for split, values in arrays.items():
        for structure_seed in np.unique(values["structure_seed"]).tolist():
            if owner.setdefault(structure_seed, split) != split:
                message = f"Structure seed {structure_seed} is in {owner[structure_seed]} and in {split} of {folder}. Build the dataset again."
                raise DatasetError(message)


def _compare(card: Card, arrays: dict[str, np.ndarray], row: dict[str, Any]) -> float:
    """Return the fraction of pixels that differ between a stored row and the same row made again; raise if anything differs by more than allowed."""
    where = np.flatnonzero(arrays["sample_id"] == row["sample_id"])
    if len(where) != 1:
        message = f"{row['sample_id']} stands {len(where)} times in the dataset, not once. Build the dataset again."
        raise DatasetError(message)
    stored = {column.name: _stored(arrays[column.name][where[0]], column, row["n_columns"]) for column in card.columns}
    for column in card.columns:
        here, made = stored[column.name], row[column.name]
        if not column.shape and not _same(here, made, column):
            message = f"{row['sample_id']}: {column.name} is {here} in the dataset and {made} made again. Build the dataset again."
            raise DatasetError(message)
    difference = np.abs(stored["image"].astype(np.int64) - row["image"])
    fraction = float((difference > 0).mean())
    if difference.max() > 1 or fraction > PIXELS_OFF_BY_ONE:
        message = (
            f"{row['sample_id']}: {fraction:.2%} of the pixels differ, by up to {difference.max()} e-, between the dataset and the image made again; "
            f"allowed are {PIXELS_OFF_BY_ONE:.2%}, by 1 e-. Build the dataset again with this version of stemtwin."
        )
        raise DatasetError(message)
    return fraction


def _stored(value: Any, column: Column, count: int) -> Any:
    return value[:count] if column.ragged else value


def _same(stored: Any, made: Any, column: Column) -> bool:
    """Return whether two values are equal, numbers but for the last bits."""
    if np.shape(stored) != np.shape(made):
        return False
    if column.dtype == "float64":
        return bool(np.allclose(stored, made, rtol=TRUTH_TOLERANCE, atol=TRUTH_TOLERANCE, equal_nan=True))
    return np.asarray(stored).tolist() == np.asarray(made).tolist()
