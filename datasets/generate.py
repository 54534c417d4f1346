"""Building a dataset from its card, on any machine.

The rows of each specimen go to a file of their own; a build that was stopped goes on from there and ends with the same bits. The dataset's folder
appears when everything in it is done.
"""

import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stemtwin.datasets import readme, storage
from stemtwin.datasets.cards import Card, CardInstrument, known
from stemtwin.datasets.draw import Condition, DrawnSample, draw_condition, draw_specimen
from stemtwin.datasets.manifest import MANIFEST, FileEntry, Manifest, SplitEntry, check_card, read_manifest, write_manifest
from stemtwin.datasets.truth import frame_columns
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import check_space, check_writable, locked, write_atomically

if TYPE_CHECKING:
    from stemtwin.twin.samples.sample import Sample

BuildProgress = Callable[[int, int, str], None]
"""Called with the specimens done, all specimens, and what is being done."""
ROWS_PER_SHARD = 2000
DISK_BYTES = 2.5
"""Bytes on disk while a dataset is built, for each byte of its images: parts, Parquet and netCDF, as measured of ``atoms-2d``."""
LOCK_S = 3600.0
"""Longest wait for another build of the same folder that finishes no specimen, s; a specimen takes minutes at most."""
LARGEST_COUNT = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """One recorded image: counts [e-] of shape (ny, nx), and the source size [A, one standard deviation] that it was taken with."""

    counts: np.ndarray
    source_size_angstrom: float


class ImageSource(Protocol):
    """Whatever records the images of a specimen, one after the other."""

    def __call__(self, sample: "Sample", specimen: DrawnSample, conditions: Sequence[Condition], card: Card) -> Iterable[Shot]:
        """Return one shot per condition."""
        ...


def specimens(card: Card, size: str) -> Iterator[DrawnSample]:
    """Yield the specimens of a dataset, split by split, in the order of their seeds."""
    for split in card.splits:
        for seed in card.structure_seeds(size, split):
            yield draw_specimen(card, size, split, seed)


def specimen_rows(card: Card, size: str, specimen: DrawnSample, acquire: ImageSource | None = None) -> list[dict[str, Any]]:
    """Return the rows of one specimen: image, conditions and truth of each of its images.

    Parameters
    ----------
    card : Card
        What to make.
    size : str
        Which size of it.
    specimen : DrawnSample
        From :func:`stemtwin.datasets.draw.draw_specimen`.
    acquire : ImageSource, optional
        What records the images; by default a :class:`stemtwin.twin.instrument.scope.microscope.Microscope`.

    Returns
    -------
    list of dict
        One row per image, with the card's columns as keys.

    Raises
    ------
    DatasetError
        A pixel counts more than 65535 electrons.
    """
    from stemtwin.twin.samples.columns import projected_columns
    from stemtwin.twin.samples.library import load_sample

    wanted = None if specimen.size_angstrom is None else (specimen.size_angstrom, specimen.size_angstrom)
    sample = load_sample(specimen.material, size_angstrom=wanted, thickness_angstrom=specimen.thickness_angstrom, seed=specimen.structure_seed)
    columns = projected_columns(sample)
    conditions = [draw_condition(card, specimen.structure_seed, i) for i in range(card.sizes[size].images_per_specimen[specimen.split])]
    first = (specimen.structure_seed - card.splits[specimen.split]) * len(conditions)
    shots = (acquire or microscope_shots)(sample, specimen, conditions, card)
    rows = []
    for number, (condition, shot) in enumerate(zip(conditions, shots, strict=True), start=first):
        scan = condition.scan(card.generator.image_shape, sample.size_angstrom)
        rows.append(
            {"sample_id": f"{card.name}/{specimen.split}/{number:06d}", "image": _as_uint16(shot.counts, specimen)}
            | _facts(specimen, condition, sample, shot, card)
            | frame_columns(columns, sample.size_angstrom, scan, card.generator.visible_fraction)
        )
    return rows


def _as_uint16(counts: np.ndarray, specimen: DrawnSample) -> np.ndarray:
    """Return counts as the dataset stores them."""
    if counts.max(initial=0) > LARGEST_COUNT:
        message = f"A pixel of {specimen.name} counts {counts.max()} electrons, above the {LARGEST_COUNT} that uint16 holds. Lower the card's dose."
        raise DatasetError(message)
    return np.asarray(counts).astype(np.uint16)


def _facts(specimen: DrawnSample, condition: Condition, sample: "Sample", shot: Shot, card: Card) -> dict[str, Any]:
    """Return the columns of a row that say what was imaged and how."""
    return {
        "split": specimen.split,
        "specimen": specimen.name,
        "structure_seed": specimen.structure_seed,
        "condition_seed": condition.seed,
        "material": specimen.material,
        "instrument": specimen.setup.instrument,
        "energy_ev": specimen.setup.energy_ev,
        "semiangle_mrad": specimen.setup.semiangle_mrad,
        "thickness_angstrom": float(sample.thickness_angstrom),
        "C10_angstrom": condition.C10_angstrom,
        "C12_angstrom": condition.C12_angstrom,
        "phi12_rad": condition.phi12_rad,
        "current_pa": condition.current_pa,
        "dwell_time_us": condition.dwell_time_us,
        "dose_e_per_angstrom2": condition.dose_e_per_angstrom2,
        "source_size_angstrom": float(shot.source_size_angstrom),
        "sampling_angstrom": condition.field_of_view_angstrom / card.generator.image_shape[1],
    }


def microscope_shots(sample: "Sample", specimen: DrawnSample, conditions: Sequence[Condition], card: Card) -> Iterator[Shot]:
    """Record images with the twin's microscope: one per specimen, so that its imaging operator is built once and serves all images."""
    from stemtwin.twin.instrument.detectors import AnnularDetector
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scope.microscope import Microscope

    setup, settings = specimen.setup, card.generator
    scope = Microscope(
        sample,
        instrument=PROFILES[setup.instrument].still(),
        seed=specimen.microscope_seed,
        phonons=settings.phonon_configurations,
        lattice_average=False,
        engine=specimen.engine,
        window_angstrom=_window(sample, setup, conditions),
        counting="numpy",
    )
    haadf = AnnularDetector(inner_mrad=setup.inner_mrad, outer_mrad=setup.outer_mrad, name="haadf")
    scope.set(energy_ev=setup.energy_ev, semiangle_mrad=setup.semiangle_mrad)
    for condition in conditions:
        scope.set(C10=condition.C10_angstrom, C12=condition.C12_angstrom, phi12=condition.phi12_rad, current_pa=condition.current_pa)
        scan = condition.scan(settings.image_shape, sample.size_angstrom)
        frame = scope.acquire(scan, dwell_time_us=condition.dwell_time_us, detectors=(haadf,))
        yield Shot(counts=frame[haadf.name].to_numpy(), source_size_angstrom=scope.settings.source_size_angstrom)


def _window(sample: "Sample", setup: CardInstrument, conditions: Sequence[Condition]) -> float:
    """Return the width [A] that holds the probes of all conditions anywhere in the sample, so that they share one imaging operator."""
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
    from stemtwin.twin.physics.aberrations import Aberrations, add, blur_radius

    radius = 0.0
    for condition in conditions:
        for depth in (0.0, sample.thickness_angstrom):
            turned = Aberrations(C10=condition.C10_angstrom + depth, C12=condition.C12_angstrom, phi12=condition.phi12_rad)
            radius = max(radius, blur_radius(add(turned, PROFILES[setup.instrument].residual), setup.semiangle_mrad * 1e-3))
    return WINDOW_MARGIN + 2 * radius


def build(card: Card, size: str, folder: str | Path, progress: BuildProgress | None = None, acquire: ImageSource | None = None) -> Manifest:
    """Build a dataset.

    Parameters
    ----------
    card : Card
        What to make.
    size : str
        Which size of it, ``"tiny"`` for example.
    folder : str or Path
        Where; it must be empty or not exist. A finished build of the same card and size there is returned as it is. Until the build is
        finished, its parts lie beside it in ``folder.partial``, and a later call goes on with them.
    progress : callable, optional
        Called with (specimens done, all specimens, what is being done).
    acquire : ImageSource, optional
        What records the images; by default the twin's microscope.

    Returns
    -------
    Manifest
        What was built.

    Raises
    ------
    DatasetError
        The folder holds something else, or cannot be written (both found before any work), or another process that builds into it has made
        no specimen for an hour.
    """
    folder = Path(folder).absolute()
    finished = check_build(card, size, folder)
    if finished is not None:
        return finished
    partial, lock = partial_of(folder), _lock_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock, limit_s=LOCK_S, holder=f"another build of {folder}", sign_of_life=lambda: _written(partial)):
            finished = _finished(card, size, folder)
            if finished is None:
                _make_parts(card, size, partial, progress or _silent, acquire)
                finished = _assemble(card, size, partial, folder)
    except OSError as error:
        if isinstance(error, DatasetError):
            raise
        message = f"The dataset cannot be written to {folder}: {error.strerror or error}. Free space there, or choose another folder."
        raise DatasetError(message) from error
    return finished


def check_build(card: Card, size: str, folder: Path) -> Manifest | None:
    """Check that a dataset can be built into a folder, and return its manifest if it is there already.

    Raises
    ------
    DatasetError
        There is no such size; or the folder holds something else, cannot be written, or lies on a disk without room for the dataset.
    """
    known("size", size, card.sizes, card.id)
    folder, partial = Path(folder).absolute(), partial_of(Path(folder).absolute())
    if not os.path.isfile(folder / MANIFEST):  # noqa: PTH113 - Path.is_file raises where a name is too long
        check_writable(folder, folder=True)
    finished = _finished(card, size, folder)
    if finished is None:
        check_writable(partial, folder=True)
        check_writable(_lock_of(folder))
        asked = card.sizes[size]
        images = sum(count * asked.images_per_specimen[split] for split, count in asked.specimens.items())
        there = sum(one.stat().st_size for one in partial.glob("parts/*.parquet"))
        needed = int(DISK_BYTES * images * 2 * math.prod(card.generator.image_shape)) - there
        check_space(partial, needed, f"A build of {card.id} {size}")
    return finished


def _lock_of(folder: Path) -> Path:
    """Return the file that a process locks while it builds a dataset."""
    return folder.with_name(f".{folder.name}.lock")


def _written(partial: Path) -> tuple[int, ...]:
    """Return the times at which another process last wrote into the folders of a build, 0 for one that is not there."""
    times = []
    for place in (partial / "parts", partial / "dataset" / "data", partial / "dataset" / "netcdf"):
        try:
            times.append(place.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)


def _silent(done: int, total: int, text: str) -> None:
    """Say nothing."""


def _finished(card: Card, size: str, folder: Path) -> Manifest | None:
    """Return the manifest if the folder holds this very dataset, None if it is free."""
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


def _origin(card: Card, size: str) -> dict[str, str]:
    """Return the origin that the parts of a build depend on."""
    import importlib.metadata

    version = importlib.metadata.version("stemtwin")
    return {"package": f"stemtwin {version}", "numpy": np.__version__, "card": card.digest, "size": size, "seeds": card.seeds.policy}


def partial_of(folder: Path) -> Path:
    """Return the folder of the parts of a dataset until its own folder is finished."""
    return folder.with_name(folder.name + ".partial")


def _part(partial: Path, specimen: DrawnSample) -> Path:
    return partial / "parts" / f"{specimen.split}-{specimen.structure_seed:09d}.parquet"


def _make_parts(card: Card, size: str, partial: Path, progress: BuildProgress, acquire: ImageSource | None) -> None:
    """Make the rows of every specimen that is not there yet."""
    import json

    stamp, origin = partial / "origin.json", json.dumps(_origin(card, size), sort_keys=True)
    if partial.exists() and (not stamp.is_file() or stamp.read_text(encoding="utf-8") != origin):
        shutil.rmtree(partial)
    write_atomically(stamp, origin.encode())
    todo = list(specimens(card, size))
    for done, specimen in enumerate(todo):
        progress(done, len(todo), specimen.name)
        if not _part(partial, specimen).exists():
            rows = specimen_rows(card, size, specimen, acquire)
            storage.write_parquet(storage.table_of(rows, card), _part(partial, specimen))
    progress(len(todo), len(todo), "writing the files")


def _assemble(card: Card, size: str, partial: Path, folder: Path) -> Manifest:
    """Write the dataset's files from the parts, move them into place and drop the parts."""
    target = partial / "dataset"
    shutil.rmtree(target, ignore_errors=True)
    files, splits = [], {}
    for split in card.splits:
        parts = [_part(partial, specimen) for specimen in specimens(card, size) if specimen.split == split]
        files += _write_split(card, size, split, parts, target)
        shards = [target / file.path for file in files if file.split == split]
        arrays = storage.to_numpy(storage.read_parquet(shards), card)
        storage.write_netcdf(storage.to_xarray(arrays, card, split), target / f"netcdf/{split}.nc")
        files.append(_entry(target, f"netcdf/{split}.nc", "netcdf", split))
        splits[split] = storage.content_digests(arrays, card)
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
    """Write a split's Parquet shards, whole specimens each, and return their entries."""
    per_shard = max(1, ROWS_PER_SHARD // card.sizes[size].images_per_specimen[split])
    total = -(-len(parts) // per_shard)
    queue, entries = iter(parts), []
    for number in range(total):
        path = f"data/{split}-{number:05d}-of-{total:05d}.parquet"
        storage.write_parquet(storage.read_parquet(islice(queue, per_shard)), target / path)
        entries.append(_entry(target, path, "parquet", split))
    return entries


def _entry(target: Path, path: str, carrier: Any, split: str | None) -> FileEntry:
    return FileEntry(path=path, sha256=storage.file_sha256(target / path), bytes=(target / path).stat().st_size, split=split, carrier=carrier)


def _manifest(card: Card, size: str, files: list[FileEntry], digests: dict[str, list[bytes]]) -> Manifest:
    """Return the manifest of these files and rows."""
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
        generator=_origin(card, size),
        files=tuple(files),
    )
