"""``pack``: the folder of a dataset, with card, hashes, splits and manifest, from measured files and their labels."""

import difflib
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets import storage
from stemtwin.datasets.cards import Card, Seeds
from stemtwin.datasets.columns import OF_EVERY_ROW, Column
from stemtwin.datasets.manifest import FileEntry, Manifest, SplitEntry, write_manifest
from stemtwin.datasets.measured import CARD, LABELS_BY, SIZE, UNKNOWN, LabelsBy, MeasuredCard, MeasuredFile, MeasuredSettings, MeasuredSize
from stemtwin.datasets.packing.measured_images import ImageTile, MeasuredImages, common_shape, common_type, read_images, tiles_of
from stemtwin.datasets.packing.point_labels import PointLabels, read_labels
from stemtwin.datasets.readme import front_matter, table_of_columns
from stemtwin.twin.errors import DatasetError, suggestion
from stemtwin.twin.files import check_space, check_writable, replacing

SPLITS = ("train", "val", "test")
FILLED = (*OF_EVERY_ROW, "condition_seed", "sampling_angstrom", "image")
"""Columns that the packing fills itself, so a user cannot give them as facts."""
DISK_BYTES = 5
"""Largest number of bytes on disk for each byte of the images, for Parquet and netCDF together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSettings:
    """Description of a measured dataset.

    Parameters
    ----------
    name, version : str
        Name of the dataset in kebab case, such as ``my-images``, and its version, such as ``1.0.0``.
    labels_by : str
        Origin of the labels: ``"person"``, ``"algorithm"`` or ``"none"``.
    licence, citation : str
        Licence and citation, as stated by the owner of the data.
    shares : tuple of float
        Fractions of the files in train, val and test.
    tile_px : int, optional
        Edge of the square tiles into which images are cut, px; whole images by default.
    pixel_size_angstrom : float, optional
        Pixel size of files without a calibration, A.
    variable : str, optional
        Name of the variable with the images, for files with several variables.
    facts : mapping
        Known settings of the instrument and properties of the specimen, by the name of the dataset's column.
    """

    name: str
    labels_by: LabelsBy
    version: str = "1.0.0"
    licence: str = "not stated"
    citation: str = ""
    shares: tuple[float, float, float] = (0.0, 0.0, 1.0)
    tile_px: int | None = None
    pixel_size_angstrom: float | None = None
    variable: str | None = None
    facts: Mapping[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """One image of the dataset: its file, its split, its tile, and its key in the order of the rows."""

    file: MeasuredImages
    split: str
    tile: ImageTile
    order: str


def pack(paths: Sequence[Path], folder: Path, settings: PackSettings, like: Card, *, task: str, labels: Path | None = None) -> Manifest:
    """Pack measured files as a dataset.

    Parameters
    ----------
    paths : sequence of Path
        Files of images.
    folder : Path
        New folder of the dataset, which must be empty or not exist.
    settings : PackSettings
        Description of the dataset: name, origin of the labels, licence, splits.
    like : Card
        Card of the task's synthetic dataset. The rows of the packed dataset have the columns of this card.
    task : str
        Name of the task.
    labels : Path, optional
        CSV file of the labels, see :mod:`stemtwin.datasets.packing.point_labels`.

    Returns
    -------
    Manifest
        Manifest of the dataset.

    Raises
    ------
    DatasetError
        A file, a label or a setting is wrong, or the folder cannot be written. No file is written in these cases.
    """
    if like.kind not in LABELLED:
        message = f"Files cannot be packed for the task {task!r}, as its truth is not a list of points. Give another task: {', '.join(LABELLED)}."
        raise DatasetError(message)
    _check_settings(settings, labels, paths)
    facts = _checked_facts(settings.facts, like)
    _check_folder(folder)
    files = read_images(paths, pixel_size_angstrom=settings.pixel_size_angstrom, variable=settings.variable)
    shape, dtype = common_shape(files, settings.tile_px), common_type(files)
    points = read_labels(labels, files) if labels is not None else {}
    images = _dealt(files, settings)
    check_space(folder, DISK_BYTES * len(images) * math.prod(shape) * np.dtype(dtype).itemsize, f"The dataset {settings.name}")
    card = _card(settings, like, images, task, shape, dtype, "" if labels is None else storage.file_sha256(labels))
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in card.splits}
    seeds = {one.sha256: number for number, one in enumerate(sorted(files, key=lambda one: one.sha256))}
    for image in images:
        same = {"sample_id": f"{card.name}/{image.split}/{image.order[:16]}", "split": image.split, "specimen": image.file.name}
        same |= {"structure_seed": seeds[image.file.sha256], "sampling_angstrom": image.file.sampling_angstrom}
        found = points.get((image.file.name, image.tile.image), PointLabels(positions=np.empty((0, 2)), heaviest=np.empty(0, dtype=np.int64)))
        truth = LABELLED[like.kind](found, image.tile, shape, image.file.sampling_angstrom)
        known = facts | same | truth | {"image": _cut(image, shape).astype(dtype)}
        rows[image.split].append({column.name: known[column.name] if column.name in known else UNKNOWN[column.dtype] for column in card.columns})
    return _write(card, rows, folder)


def _check_settings(settings: PackSettings, labels: Path | None, paths: Sequence[Path]) -> None:
    """Raise DatasetError if a setting is not valid or settings contradict each other."""
    message, shares = "", ", ".join(f"{share:g}" for share in settings.shares)
    if not paths:
        message = "No file was given. Give at least one file with images."
    elif settings.labels_by not in LABELS_BY:
        message = f"labels_by={settings.labels_by!r} is not known. {suggestion(settings.labels_by, LABELS_BY)}"
    elif labels is None and settings.labels_by != "none":
        message = f"labels_by={settings.labels_by!r} needs a file of labels. Give the CSV file of the labels, or labels_by='none'."
    elif labels is not None and settings.labels_by == "none":
        message = f"labels_by='none' contradicts the file of labels {labels}. Give 'person' or 'algorithm'."
    elif min(settings.shares) < 0 or abs(sum(settings.shares) - 1) > 1e-9:
        message = f"The shares {shares} of train, val and test must be 0 or more and add up to 1. Give for example 0.6, 0.2 and 0.2."
    elif settings.pixel_size_angstrom is not None and not 0 < settings.pixel_size_angstrom < math.inf:
        message = f"The pixel size {settings.pixel_size_angstrom:g} A must be above 0. Give the pixel size in A."
    elif settings.tile_px is not None and settings.tile_px < 2:
        message = f"The edge of the tiles, {settings.tile_px} px, must be at least 2 px. Give a larger edge."
    if message:
        raise DatasetError(message)


def _check_folder(folder: Path) -> None:
    """Raise DatasetError unless a folder is empty or does not exist, and can be written."""
    check_writable(folder, folder=True)
    if folder.exists() and any(folder.iterdir()):
        message = f"{folder} is not empty. Give a folder that is empty or does not exist."
        raise DatasetError(message)


def _checked_facts(facts: Mapping[str, str | float], like: Card) -> dict[str, Any]:
    """Return facts in the types of their columns, after checking that a user may fill these columns."""
    named = {
        column.name: column
        for column in like.columns
        if column.role in ("input", "condition") and column.name not in FILLED and not (column.shape or column.ragged)
    }
    out: dict[str, Any] = {}
    for name, value in facts.items():
        if name not in named:
            near = difflib.get_close_matches(name, named, 1)
            repair = f"Did you mean {near[0]!r}?" if near else "Name an input or a condition of the task's dataset, such as 'material'."
            message = f"{name!r} cannot be given as a fact: it is not a column that a user can fill. {repair}"
            raise DatasetError(message)
        try:
            out[name] = str(value) if named[name].dtype == "string" else float(value)
        except ValueError:
            message = f"The given {name!r} is {value!r}, which is not a number. Give a number in {named[name].unit}, with a decimal point."
            raise DatasetError(message) from None
        if isinstance(out[name], float) and not math.isfinite(out[name]):
            message = f"The given {name!r} is {value}, which is not finite. Give a number in {named[name].unit}, or leave out an unknown value."
            raise DatasetError(message)
    return out


def _dealt(files: Sequence[MeasuredImages], settings: PackSettings) -> list[_Packed]:
    """Return the images of all files with their splits, in an order that follows from hashes and not from names.

    All images of a file are in the same split.
    """
    ranked = sorted(files, key=lambda one: one.sha256)
    ends = [round(len(ranked) * sum(settings.shares[: i + 1])) for i in range(len(SPLITS))]
    for split, share, start, end in zip(SPLITS, settings.shares, [0, *ends], ends, strict=False):
        if share > 0 and end <= start:
            message = f"The share {share:g} of {len(ranked)} file(s) leaves no file for {split}. Give more files, or other shares."
            raise DatasetError(message)
    out = []
    for number, file in enumerate(ranked):
        split = next(name for name, end in zip(SPLITS, ends, strict=True) if number < end)
        for tile in tiles_of(file, settings.tile_px):
            order = hashlib.sha256(f"{file.sha256}/{tile.image}/{tile.top}/{tile.left}".encode()).hexdigest()
            out.append(_Packed(file=file, split=split, tile=tile, order=order))
    return sorted(out, key=lambda one: one.order)


def _cut(image: _Packed, shape: tuple[int, int]) -> np.ndarray:
    """Return the grey values of an image of the dataset, (ny, nx)."""
    tile = image.tile
    return image.file.pixels[tile.image, tile.top : tile.top + shape[0], tile.left : tile.left + shape[1]]


def _atom_columns(found: PointLabels, tile: ImageTile, shape: tuple[int, int], step: float) -> dict[str, Any]:
    """Return the truth columns of ``atoms-2d`` for the labels in a tile, all of which are marked visible."""
    corner = np.array([tile.left, tile.top])
    pixels = np.floor(found.positions / step + 0.5).astype(int) - corner
    inside = np.all((pixels >= 0) & (pixels < np.array(shape[::-1])), axis=1)
    places, heaviest = found.positions[inside] - corner * step, found.heaviest[inside]
    order = np.lexsort(places.T)
    return {
        "n_columns": len(order),
        "column_x_angstrom": places[order, 0].tolist(),
        "column_y_angstrom": places[order, 1].tolist(),
        "column_species": ["unknown"] * len(order),
        "column_heaviest": heaviest[order].tolist(),
        "column_occupancy": [math.nan] * len(order),
        "column_visible": [True] * len(order),
    }


LABELLED: dict[str, Callable[[PointLabels, ImageTile, tuple[int, int], float], dict[str, Any]]] = {"atoms-2d": _atom_columns}
"""Functions that convert labels to truth columns, by kind of dataset."""


def _card(
    settings: PackSettings, like: Card, images: Sequence[_Packed], task: str, shape: tuple[int, int], dtype: str, labels_sha256: str
) -> MeasuredCard:
    """Return the card of a measured dataset."""
    files = {image.file.sha256: image for image in images}
    splits = [split for split in SPLITS if any(image.split == split for image in images)]
    pixels = {"shape": shape, "dtype": dtype, "unit": "1", "meaning": "grey values of the file, [y, x]: not counted electrons"}
    columns = [column if column.name != "image" else Column.model_validate(column.model_dump() | pixels) for column in like.columns]
    limits = [f"Labels: {LABELS_BY[settings.labels_by]}.", "Grey values as they stand in the files, which need not be counted electrons."]
    limits.append(f"Facts that were given: {', '.join(sorted(settings.facts)) or 'none'}; other conditions are NaN, -1 or unknown.")
    if settings.tile_px is not None:
        limits.append(f"Squares of {settings.tile_px} pixels; what is left over at the far edges of an image is left out.")
    values = {
        "schema": "stemtwin/dataset-card@2",
        "name": settings.name,
        "version": settings.version,
        "kind": "measured",
        "title": f"Measured images: {settings.name}",
        "description": f"Measured images for the task {task}, packed from {len(files)} file(s), with the columns of {like.id}.",
        "licence": settings.licence,
        "citation": settings.citation or "not stated",
        "limits": tuple(limits),
        "seeds": Seeds(entropy=0, policy="none: whole files go to a split, in the order of their hashes"),
        "splits": dict.fromkeys(splits, 0),
        "sizes": {
            SIZE: MeasuredSize(
                specimens={split: sum(image.split == split for image in files.values()) for split in splits},
                images={split: sum(image.split == split for image in images) for split in splits},
            )
        },
        "generator": MeasuredSettings(
            task=task,
            columns_of=like.id,
            labels_by=settings.labels_by,
            labels_sha256=labels_sha256,
            tile_px=settings.tile_px,
            files=tuple(_file(image) for _, image in sorted(files.items())),
        ),
        "slices": like.slices,
        "columns": tuple(columns),
    }
    return _valid(values)


def _file(image: _Packed) -> MeasuredFile:
    """Return the entry of a file in the card."""
    count, ny, nx = image.file.pixels.shape
    return MeasuredFile(name=image.file.name, sha256=image.file.sha256, split=image.split, images=count, shape=(ny, nx))


def _valid(values: dict[str, Any]) -> MeasuredCard:
    """Return a card after checking its values; raise DatasetError about the first wrong key."""
    from pydantic import ValidationError

    try:
        return MeasuredCard.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message = f"The {'.'.join(map(str, first['loc']))} {first['input']!r} of the dataset is not valid: {first['msg']}. Give another one."
        raise DatasetError(message) from None


def _write(card: MeasuredCard, rows: dict[str, list[dict[str, Any]]], folder: Path) -> Manifest:
    """Write a dataset's folder atomically."""
    import tomli_w

    files: list[FileEntry] = []
    splits: dict[str, SplitEntry] = {}
    every: list[bytes] = []
    with replacing(folder) as target:

        def add(path: str, carrier: Any, split: str | None) -> None:
            sha256, size = storage.file_sha256(target / path), (target / path).stat().st_size
            files.append(FileEntry(path=path, sha256=sha256, bytes=size, split=split, carrier=carrier))

        for split, some in rows.items():
            table = storage.table_of(some, card)
            storage.write_parquet(table, target / f"data/{split}-00000-of-00001.parquet")
            add(f"data/{split}-00000-of-00001.parquet", "parquet", split)
            arrays = storage.to_numpy(table, card)
            storage.write_netcdf(storage.to_xarray(arrays, card, split), target / f"netcdf/{split}.nc")
            add(f"netcdf/{split}.nc", "netcdf", split)
            digests = storage.content_digests(arrays, card)
            every += digests
            specimens = card.sizes[SIZE].specimens[split]
            splits[split] = SplitEntry(rows=len(digests), specimens=specimens, content_sha256=storage.content_sha256(digests))
        (target / CARD).write_bytes(tomli_w.dumps(card.model_dump(mode="json", by_alias=True, exclude_none=True)).encode())
        add(CARD, "card", None)
        (target / "README.md").write_text(_readme(card), encoding="utf-8")
        add("README.md", "card", None)
        manifest = _manifest(card, files, splits, every)
        write_manifest(manifest, target)
    return manifest


def _manifest(card: MeasuredCard, files: Sequence[FileEntry], splits: dict[str, SplitEntry], digests: Sequence[bytes]) -> Manifest:
    """Return the manifest of a measured dataset."""
    import importlib.metadata

    return Manifest(
        schema="stemtwin/dataset@1",
        name=card.name,
        version=card.version,
        size=SIZE,
        title=card.title,
        licence=card.licence,
        content_sha256=storage.content_sha256(digests),
        card_sha256=card.digest,
        splits=splits,
        slices={name: piece.model_dump() for name, piece in card.slices.items()},
        units={column.name: column.unit for column in card.columns},
        generator={"package": f"stemtwin {importlib.metadata.version('stemtwin')}", "source": "measured", "labels_by": card.generator.labels_by},
        files=tuple(files),
    )


def _readme(card: MeasuredCard) -> str:
    """Return the README of a measured dataset."""
    size = card.sizes[SIZE]
    body = [f"# {card.title}", f"{card.name} {card.version}, measured.", card.description, "## Limits"]
    body.append("\n".join(f"- {limit}" for limit in card.limits))
    rows = [f"| {split} | {size.specimens[split]} | {count} |" for split, count in size.images.items()]
    body += ["## Splits", "\n".join(["| split | files | images |", "|---|---|---|", *rows])]
    files = [f"| {one.name} | {one.split} | {one.images} | {one.shape[0]} x {one.shape[1]} | {one.sha256} |" for one in card.generator.files]
    body += ["## Files", "\n".join(["| file | split | images | pixels | sha256 |", "|---|---|---|---|---|", *files])]
    body += ["## Columns", table_of_columns(card), "## Licence and citation", f"{card.licence}. {card.citation}"]
    return front_matter(card, "other") + "\n\n".join(body) + "\n"
