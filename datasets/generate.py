"""Build of a dataset from its card, on any machine.

The rows of each specimen are first written to a separate file, a part. An interrupted build can be continued: only the
missing parts are generated, and the dataset is identical to that of an uninterrupted build. The dataset's folder appears
when all its files are complete.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets import cubes, readme, storage, witness
from stemtwin.datasets.cards import Card, known
from stemtwin.datasets.columns import OF_EVERY_ROW, Column
from stemtwin.datasets.draw import sample_id
from stemtwin.datasets.kinds import DrawnSpecimen, find_generator
from stemtwin.datasets.manifest import MANIFEST, FileEntry, Manifest, SplitEntry, check_card, read_manifest, write_manifest
from stemtwin.datasets.worker_processes import in_processes, on_cluster
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import check_space, check_writable, locked, write_atomically

BuildProgress = Callable[[int, int, str], None]
"""Callback with the number of finished specimens, the number of all specimens, and the current step."""
STAMP = "origin.json"
"""File in a build's folder of parts with the versions, card and size that the parts depend on."""
ROWS_PER_SHARD = 2000
DISK_BYTES = 2.5
"""Bytes on disk (parts, Parquet and netCDF) during a build for each byte of its arrays, measured for ``atoms-2d``."""
LOCK_S = 3600.0
"""Longest wait (s) for another build of the same folder that does not write; a specimen takes minutes at most."""


def specimens(card: Card, size: str) -> Iterator[DrawnSpecimen]:
    """Yield the specimens of one size of a dataset (tiny, std or full), split by split, in the order of their seeds."""
    made = find_generator(card.kind)
    for split in card.splits:
        for seed in card.structure_seeds(size, split):
            yield made.specimen(card, size, split, seed)


def specimen_rows(card: Card, size: str, specimen: DrawnSpecimen) -> list[dict[str, Any]]:
    """Return the rows of one specimen; they depend only on the arguments.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    size : str
        Size of the dataset.
    specimen : DrawnSpecimen
        Specimen from :func:`specimens` or :meth:`stemtwin.datasets.kinds.Generator.specimen`.

    Returns
    -------
    list of dict
        One row per image, with the card's columns as keys and arrays in the card's types.

    Raises
    ------
    DatasetError
        A row does not have the columns of the card with their shapes and lengths, or an integer is outside the range of
        its type.
    """
    count = card.sizes[size].images_per_specimen[specimen.split]
    first = (specimen.structure_seed - card.splits[specimen.split]) * count
    same = {"split": specimen.split, "specimen": specimen.name, "structure_seed": specimen.structure_seed}
    rows = []
    for image, made in enumerate(find_generator(card.kind).rows(card, size, specimen)):
        row = {"sample_id": sample_id(card, specimen.split, specimen.structure_seed, image, first + image), **same} | made
        _check_names(card, made)
        rows.append({column.name: _checked(column, row, specimen) for column in card.columns})
    if len(rows) != count:
        message = f"{specimen.name} has {len(rows)} rows, but {card.id} {size} {specimen.split} needs {count}. Correct the generator."
        raise DatasetError(message)
    return rows


def _check_names(card: Card, made: dict[str, Any]) -> None:
    """Raise DatasetError if a generator's row does not have exactly the columns of the card."""
    wrong = sorted(set(made) ^ (set(card.column_names()) - set(OF_EVERY_ROW)))
    if wrong:
        message = f"A row of {card.id} has the wrong columns {wrong}. Give exactly the card's columns except {', '.join(OF_EVERY_ROW)}."
        raise DatasetError(message)


def _checked(column: Column, row: dict[str, Any], specimen: DrawnSpecimen) -> Any:
    """Return a value of a row after checking its shape, length and range; arrays are converted to the card's type."""
    value = row[column.name]
    if column.ragged and len(value) != row[column.count_name]:
        message = f"{column.name} of {specimen.name} has {len(value)} entries, but {column.count_name} is {row[column.count_name]}. Make them equal."
        raise DatasetError(message)
    if not column.shape:
        return value
    array = np.asarray(value)
    if array.shape != column.shape:
        message = f"{column.name} of {specimen.name} has the shape {array.shape}, but that of the card is {column.shape}. Make them equal."
        raise DatasetError(message)
    if np.issubdtype(column.dtype, np.integer) and array.size:
        limits, low, high = np.iinfo(column.dtype), array.min(), array.max()
        if low < limits.min or high > limits.max:
            wrong, limit = (high, f"above the limit {limits.max}") if high > limits.max else (low, f"below the limit {limits.min}")
            message = f"{column.name} of {specimen.name} holds {wrong} (unit {column.unit}), {limit} of {column.dtype}. "
            message += "Lower the dose, or give the column another type in the card."
            raise DatasetError(message)
    return array.astype(column.dtype)


def build(
    card: Card, size: str, folder: str | Path, progress: BuildProgress | None = None, *, workers: int = 1, scheduler: str | None = None
) -> Manifest:
    """Build a dataset.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    size : str
        Size of the dataset, for example ``"tiny"``.
    folder : str or Path
        Folder of the dataset, which must be empty or not exist. If it already holds a finished build of the same card and
        size, the manifest of that build is returned. The parts of an unfinished build lie beside this folder, in
        ``<folder>.partial``; a later call continues from these parts.
    progress : callable, optional
        Called with the number of finished specimens, the number of all specimens, and the current step.
    workers : int
        Number of worker processes. Each worker generates one specimen at a time on one thread. With 1, the calling
        process generates all specimens with all its threads. The content of the dataset does not depend on this number.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers generate the specimens. All workers must
        have access to the disk of the folder.

    Returns
    -------
    Manifest
        Manifest of the build.

    Raises
    ------
    DatasetError
        The folder holds other files or cannot be written; this is checked before any computation. A row differs from the
        witness row that ships with the card. Another process that builds into the same folder has not written for an
        hour.
    """
    folder = Path(folder).absolute()
    if workers < 1 or (scheduler is not None and workers > 1):
        beside = " beside a scheduler, which has workers of its own," if scheduler else ""
        message = f"{workers} workers{beside} cannot build a dataset. Give at least 1 worker; with a scheduler, leave out the workers."
        raise DatasetError(message)
    finished = check_build(card, size, folder)
    if finished is not None:
        return finished
    partial, lock = partial_of(folder), _lock_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock, limit_s=LOCK_S, holder=f"another build of {folder}", sign_of_life=lambda: _written(partial)):
            finished = _finished(card, size, folder)
            if finished is None:
                _make_parts(card, size, partial, progress or _silent, workers, scheduler)
                finished = _assemble(card, size, partial, folder)
    except OSError as error:
        if isinstance(error, DatasetError):
            raise
        message = f"The dataset cannot be written to {folder}: {error.strerror or error}. Free space there, or choose another folder."
        raise DatasetError(message) from error
    return finished


def check_build(card: Card, size: str, folder: Path) -> Manifest | None:
    """Check that a dataset can be built into a folder, and return the manifest of a finished build in it, or None.

    Raises
    ------
    DatasetError
        The card does not have this size, or the folder holds other files, cannot be written, or lies on a disk with too
        little free space.
    """
    known("size", size, card.sizes, card.id)
    folder, partial = Path(folder).absolute(), partial_of(Path(folder).absolute())
    if not os.path.isfile(folder / MANIFEST):  # noqa: PTH113 - Path.is_file raises where a name is too long
        check_writable(folder, folder=True)
    finished = _finished(card, size, folder)
    if finished is None:
        cubes.check_zarr(card)
        check_writable(partial, folder=True)
        check_writable(_lock_of(folder))
        there = sum(one.stat().st_size for one in partial.glob("parts/*"))
        needed = int(DISK_BYTES * card.images(size) * sum(column.nbytes for column in card.columns)) - there
        check_space(partial, needed, f"A build of {card.id} {size}")
    return finished


def _lock_of(folder: Path) -> Path:
    """Return the file that a process locks while it builds a dataset."""
    return folder.with_name(f".{folder.name}.lock")


def _written(partial: Path) -> tuple[int, ...]:
    """Return the times of the last changes in the folders of a build, 0 for a folder that does not exist."""
    times = []
    for place in (partial / "parts", partial / "dataset" / "data", partial / "dataset" / "netcdf", partial / "dataset" / "cubes"):
        try:
            times.append(place.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)


def _silent(done: int, total: int, text: str) -> None:
    """Ignore a report of progress."""


def _finished(card: Card, size: str, folder: Path) -> Manifest | None:
    """Return the manifest of the dataset in a folder, or None if the folder is empty or does not exist."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / MANIFEST).is_file():
        message = f"{folder} is not empty and holds no dataset. Give a folder that is empty or does not exist."
        raise DatasetError(message)
    manifest = read_manifest(folder)
    if (manifest.name, manifest.version, manifest.size) != (card.name, card.version, size):
        message = f"{folder} holds {manifest.name} {manifest.version} {manifest.size}, not {card.name} {card.version} {size}. Give another folder."
        raise DatasetError(message)
    check_card(manifest, card, folder)
    return manifest


def _stamp(card: Card, size: str) -> str:
    """Return the text of the file :data:`STAMP`."""
    return json.dumps(origin(card, size), sort_keys=True)


def origin(card: Card, size: str) -> dict[str, str]:
    """Return the origin of a build: the versions of stemtwin and numpy, the card's digest and seed policy, and the size."""
    import importlib.metadata

    version = importlib.metadata.version("stemtwin")
    return {"package": f"stemtwin {version}", "numpy": np.__version__, "card": card.digest, "size": size, "seeds": card.seeds.policy}


def partial_of(folder: Path) -> Path:
    """Return the path of the folder for the files of an unfinished build, given the dataset's folder."""
    return folder.with_name(folder.name + ".partial")


def part_of(partial: Path, specimen: DrawnSpecimen) -> Path:
    """Return the path of the file for a specimen's rows in the folder of an unfinished build; an existing file is complete."""
    return partial / "parts" / f"{specimen.split}-{specimen.structure_seed:09d}.parquet"


def _make_parts(card: Card, size: str, partial: Path, progress: BuildProgress, workers: int, scheduler: str | None) -> None:
    """Generate the rows of every specimen that does not have a part file yet."""
    stamp, origin = partial / STAMP, _stamp(card, size)
    if partial.exists() and (not stamp.is_file() or stamp.read_text(encoding="utf-8") != origin):
        shutil.rmtree(partial)
    write_atomically(stamp, origin.encode())
    todo = list(specimens(card, size))
    if workers == 1 and scheduler is None:
        for done, specimen in enumerate(todo):
            progress(done, len(todo), specimen.name)
            if not part_of(partial, specimen).exists():
                make_part(card, size, specimen, part_of(partial, specimen))
    else:
        missing = [specimen for specimen in todo if not part_of(partial, specimen).exists()]
        _spread(card, size, missing, partial, len(todo), progress, workers, scheduler)
    progress(len(todo), len(todo), "writing the files")


def _spread(
    card: Card,
    size: str,
    missing: Sequence[DrawnSpecimen],
    partial: Path,
    total: int,
    progress: BuildProgress,
    workers: int,
    scheduler: str | None,
) -> None:
    """Generate the rows of specimens in worker processes or on a cluster."""
    jobs = [(card, size, specimen, partial) for specimen in missing]
    modules = {type(find_generator(card.kind)).__module__} - {"__main__"}  # every process has a __main__
    before = total - len(missing)
    progress(before, total, f"{workers} workers" if scheduler is None else scheduler)
    ended = in_processes(make_one, jobs, workers, tuple(modules)) if scheduler is None else on_cluster(make_one, jobs, scheduler, tuple(modules))
    for done, number in enumerate(ended, start=before + 1):
        progress(done, total, missing[number].name)


def make_one(card: Card, size: str, specimen: DrawnSpecimen, partial: Path) -> None:
    """Generate the rows of a specimen in a worker process and write them to a file in ``partial``, unless this file exists.

    Raises
    ------
    DatasetError
        The worker does not see the folder of the build, or has other versions of stemtwin or numpy than the build. See
        also :func:`make_part`.
    """
    import socket

    stamp, part = partial / STAMP, part_of(partial, specimen)
    if not stamp.is_file():
        message = f"{socket.gethostname()} does not see {partial}. Build into a folder on a disk that all workers share."
        raise DatasetError(message)
    if stamp.read_text(encoding="utf-8") != _stamp(card, size):
        message = (
            f"{socket.gethostname()} has other versions of stemtwin or numpy than the build in {partial}. Install the same versions on all machines."
        )
        raise DatasetError(message)
    if not part.exists():
        make_part(card, size, specimen, part)


def make_part(card: Card, size: str, specimen: DrawnSpecimen, part: Path) -> None:
    """Generate a specimen's rows, compare them with the card's witness rows, and write them to the file ``part``.

    Raises
    ------
    DatasetError
        A row differs from its witness row, or the file cannot be written.
    """
    rows = specimen_rows(card, size, specimen)
    witness.check(card, size, rows)
    cubes.write_part({column.name: np.stack([row[column.name] for row in rows]) for column in cubes.cubes_of(card)}, part)
    storage.write_parquet(storage.table_of(rows, card), part)


def _assemble(card: Card, size: str, partial: Path, folder: Path) -> Manifest:
    """Write the dataset's files from the parts, move them into place and delete the parts."""
    target = partial / "dataset"
    shutil.rmtree(target, ignore_errors=True)
    files, splits = [], {}
    for split in card.splits:
        parts = [part_of(partial, specimen) for specimen in specimens(card, size) if specimen.split == split]
        files += _write_split(card, size, split, parts, target)
        shards = [target / file.path for file in files if file.split == split]
        arrays: dict[str, Any] = storage.to_numpy(storage.read_parquet(shards), card)
        storage.write_netcdf(storage.to_xarray(arrays, card, split), target / f"netcdf/{split}.nc")
        files.append(_entry(target, f"netcdf/{split}.nc", "netcdf", split))
        files += _write_cubes(card, split, parts, len(arrays["sample_id"]), target)
        splits[split] = storage.content_digests(arrays | cubes.open_cubes(target, split, card), card)
    write_atomically(target / "README.md", readme.dataset_readme(card, size).encode())
    files.append(_entry(target, "README.md", "card", None))
    manifest = _manifest(card, size, files, splits)
    write_manifest(manifest, target)
    if folder.exists():
        folder.rmdir()
    target.replace(folder)
    shutil.rmtree(partial)
    return manifest


def _write_split(card: Card, size: str, split: str, parts: Sequence[Path], target: Path) -> list[FileEntry]:
    """Write a split's Parquet shards of whole specimens, and return the entries of their files."""
    per_shard = max(1, ROWS_PER_SHARD // card.sizes[size].images_per_specimen[split])
    total = -(-len(parts) // per_shard)
    queue, entries = iter(parts), []
    for number in range(total):
        path = f"data/{split}-{number:05d}-of-{total:05d}.parquet"
        storage.write_parquet(storage.read_parquet(islice(queue, per_shard)), target / path)
        entries.append(_entry(target, path, "parquet", split))
    return entries


def _write_cubes(card: Card, split: str, parts: Sequence[Path], rows: int, target: Path) -> list[FileEntry]:
    """Write a split's cubes, if the card has any, and return the entries of their files."""
    if not cubes.cubes_of(card):
        return []
    group = target / cubes.group_of(split)
    cubes.write_cubes(cubes.read_parts(parts, card), rows, card, group)
    paths = sorted(path.relative_to(target).as_posix() for path in group.rglob("*") if path.is_file())
    return [_entry(target, path, "zarr", split) for path in paths]


def _entry(target: Path, path: str, carrier: Any, split: str | None) -> FileEntry:
    return FileEntry(path=path, sha256=storage.file_sha256(target / path), bytes=(target / path).stat().st_size, split=split, carrier=carrier)


def _manifest(card: Card, size: str, files: list[FileEntry], digests: dict[str, list[bytes]]) -> Manifest:
    """Return the manifest of a build with given files and digests of rows."""
    return Manifest(
        schema="stemtwin/dataset@1",
        name=card.name,
        version=card.version,
        size=size,
        title=card.title,
        licence=card.licence,
        content_sha256=storage.content_sha256(digest for rows in digests.values() for digest in rows),
        card_sha256=card.digest,
        splits={
            split: SplitEntry(rows=len(rows), specimens=card.sizes[size].specimens[split], content_sha256=storage.content_sha256(rows))
            for split, rows in digests.items()
        },
        slices={name: piece.model_dump() for name, piece in card.slices.items()},
        units={column.name: column.unit for column in card.columns},
        generator=origin(card, size),
        files=tuple(files),
    )
