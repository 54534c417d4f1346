"""Answers made of arrays, in npz or zarr files with an index in Parquet.

The index, ``predictions.parquet``, has one row for each sample and three columns. ``sample_id`` names the sample. ``file`` names a file in the same
folder; the name ends in ``.npz``, or in ``.zarr`` for a zarr group. The file holds one array for each field. ``row`` is the index of the sample along
the first axis of these arrays. The reader unpickles nothing and checks shapes before it reads content.
"""

import contextlib
import dataclasses
import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from stemtwin.benchmarks.answers import tables
from stemtwin.benchmarks.answers.form import TABLE, Field, check_types, left_out, none_empty, sample_ids
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.files import replacing

if TYPE_CHECKING:
    import xarray as xr

INDEX = (
    Field(name=tables.ID, dtype="string", text="sample of the row"),
    Field(name="file", dtype="string", text="npz or zarr file in the same folder"),
    Field(name="row", dtype="integer", text="index along the first axis of its arrays", low=0),
)
TYPES = {"float": np.dtype("<f4"), "integer": np.dtype("<i4")}
"""Types in which arrays are scored; further digits of an answer are dropped."""
KINDS = {"float": "fiu", "integer": "iu"}
NAME = re.compile(r"\w[\w.-]*\.(npz|zarr)")
SHARD_BYTES = 2**28
"""Largest size of the arrays in one file, bytes; further arrays go into the next file."""


class ArrayAnswers:
    """Base class of the forms of answers made of arrays.

    A subclass defines the fields, the class of an answer, and the rules that relate its arrays.
    """

    answer: ClassVar[type]
    """Class of an answer; it holds the array of each field, or None, under the field's name."""
    kind: str

    @property
    def fields(self) -> tuple[Field, ...]:
        """Arrays that the task requests, each with its dimensions."""
        raise NotImplementedError

    def free(self) -> dict[str, int]:
        """Return the largest allowed length of each dimension whose length an answer may choose, by the name of the dimension."""
        return {}

    def check_law(self, answer: Any, source: str) -> None:
        """Raise SubmissionError if the arrays of an answer violate a rule that relates them."""

    def checked(self, answers: Mapping[str, Any], data: "xr.Dataset", source: str) -> dict[str, Any]:
        """Return the answers as float32 and int32; raise SubmissionError where a shape, a type or a number is wrong."""
        check_types(answers, self.answer, source)
        self.missing(answers, source)
        sizes = self._sizes(data)
        return {name: self._checked(answer, sizes, f"{source}: sample {name!r}") for name, answer in answers.items()}

    def _sizes(self, data: "xr.Dataset") -> dict[str, int]:
        return {str(name): int(size) for name, size in data.sizes.items()}

    def _checked(self, answer: Any, sizes: dict[str, int], source: str) -> Any:
        """Return one answer in the types in which it is scored."""
        chosen, arrays = {}, {}
        for field in self.fields:
            value = getattr(answer, field.name)
            if value is not None:
                array = np.asarray(value)
                check_shape(array.shape, array.dtype, field, sizes, self.free(), chosen, source)
                check_array(array, field, source)
                arrays[field.name] = np.ascontiguousarray(array, dtype=TYPES[field.dtype])
            elif not field.optional:
                message = f"{source}: {field.name!r} is left out. Give this array."
                raise SubmissionError(message)
        made = self.answer(**arrays)
        self.check_law(made, source)
        return made

    def missing(self, answers: Mapping[str, Any], source: str = "the answers") -> frozenset[str]:
        """Return the names of the optional arrays that the answers leave out."""
        names = [field.name for field in self.fields if field.optional]
        return left_out(names, answers, source, lambda answer, name: getattr(answer, name) is not None)

    def write(self, folder: Path, answers: Mapping[str, Any]) -> None:
        """Write the index and the npz files, which hold at most 256 MiB of arrays each unless a single sample is larger."""
        index: dict[str, tuple[str, int]] = {}
        for number, names in enumerate(self._shards(answers)):
            file = f"answers-{number:04d}.npz"
            there = [field.name for field in self.fields if getattr(answers[names[0]], field.name) is not None]
            with replacing(folder / file, ending=".npz") as temporary:
                arrays: dict[str, Any] = {field: np.stack([getattr(answers[name], field) for name in names]) for field in there}
                np.savez_compressed(temporary, **arrays)
            index |= {name: (file, row) for row, name in enumerate(names)}
        columns = {
            "file": np.array([index[name][0] for name in answers], dtype=object),
            "row": np.array([index[name][1] for name in answers], dtype=np.int64),
        }
        tables.write_table(folder / TABLE, list(answers), columns)

    def _shards(self, answers: Mapping[str, Any]) -> Iterator[list[str]]:
        """Yield the ids of the answers in each file, which have equal shapes and a limited size."""
        groups: dict[tuple, list[str]] = {}
        for name, answer in answers.items():
            key = tuple(np.shape(getattr(answer, field.name)) for field in self.fields)
            groups.setdefault(key, []).append(name)
        for names in groups.values():
            arrays = [getattr(answers[names[0]], field.name) for field in self.fields]
            each = sum(np.asarray(array).nbytes for array in arrays if array is not None)
            count = max(1, SHARD_BYTES // max(each, 1))
            yield from (names[i : i + count] for i in range(0, len(names), count))

    def read(self, folder: Path, data: "xr.Dataset", empty: tuple[str, ...]) -> dict[str, Any]:
        """Read and check the index and the arrays.

        Raises
        ------
        SubmissionError
            The submission is invalid; the message names the file, the row and the array of the first error, and the reason.
        """
        ids, path = sample_ids(data), folder / TABLE
        none_empty(empty, self.kind, folder)
        table = tables.read_table(path, INDEX, ids, most=2)
        table.refuse_null()
        order = tables.one_row_each(table, ids)
        table.refuse(table.columns["row"] < 0, "row", "must be at least 0", ids)
        named, rows = table.columns["file"], table.columns["row"]
        odd = np.array([NAME.fullmatch(name) is None for name in named.tolist()], dtype=bool)
        table.refuse(odd, "file", "is not the name of an npz or zarr file in the same folder", ids)
        sizes, out = self._sizes(data), {}
        for file in np.unique(named).tolist():
            members = [row for row in order.tolist() if named[row] == file]
            out |= self._read_file(folder / file, {ids[table.sample[row]]: int(rows[row]) for row in members}, sizes)
        found = {name: out[name] for name in ids}
        self.missing(found, str(path))
        return found

    def _read_file(self, path: Path, rows: dict[str, int], sizes: dict[str, int]) -> dict[str, Any]:
        """Return the answers of some samples, whose rows in a file are given."""
        arrays: dict[str, np.ndarray] = {}
        chosen: dict[str, int] = {}
        with open_arrays(path) as store:
            known = [field.name for field in self.fields]
            if extra := [name for name in store.names() if name not in known]:
                message = f"{path}: array {extra[0]!r} is not one of {', '.join(known)}. Remove it."
                raise SubmissionError(message)
            for field in self.fields:
                if field.name not in store.names():
                    if field.optional:
                        continue
                    message = f"{path}: array {field.name!r} is missing. Add it. Requested arrays: {', '.join(known)}."
                    raise SubmissionError(message)
                shape, dtype = store.header(field.name)
                count = shape[0] if shape else 0
                late = {name: row for name, row in rows.items() if row >= count}
                if late or count > len(rows):
                    told = f"row {next(iter(late.values()))} (the first is row 0)" if late else f"{len(rows)} rows"
                    message = (
                        f"{path}: array {field.name!r} has {count} rows, but {TABLE} refers to {told} of this file. "
                        f"Write one row for each sample that {TABLE} assigns to this file."
                    )
                    raise SubmissionError(message)
                check_shape(shape[1:], dtype, field, sizes, self.free(), chosen, f"{path}: array {field.name!r}")
                arrays[field.name] = store.read(field.name)
        return {
            name: self._checked(self.answer(**{field: array[row] for field, array in arrays.items()}), sizes, f"{path}, row {row}: sample {name!r}")
            for name, row in rows.items()
        }

    def digest(self, answers: Mapping[str, Any]) -> str:
        """Return the sha256 of the ids and the scored arrays, sorted by id."""
        out = hashlib.sha256()
        for name in sorted(answers):
            out.update(f"{name};".encode())
            for field in self.fields:
                array = getattr(answers[name], field.name)
                if field.scored and array is not None:
                    array = np.ascontiguousarray(array, dtype=TYPES[field.dtype])
                    out.update(f"{field.name}{array.shape};".encode())
                    out.update(array.tobytes())
        return out.hexdigest()


def check_shape(
    shape: Sequence[int], dtype: np.dtype, field: Field, sizes: Mapping[str, int], free: Mapping[str, int], chosen: dict[str, int], source: str
) -> None:
    """Check the shape and the type of an array against its field.

    Parameters
    ----------
    shape, dtype : tuple of int, dtype
        Shape and type of the array.
    field : Field
        Requested array.
    sizes : mapping
        Lengths of the dimensions of the data.
    free : mapping
        Largest allowed length of each dimension whose length an answer may choose, by the name of the dimension.
    chosen : dict
        Lengths of the dimensions of ``free`` in the arrays checked so far; the dict is updated in place.
    source : str
        Text with which error messages begin.

    Raises
    ------
    SubmissionError
        The shape or the type differs from the requested one.
    """
    if dtype.kind not in KINDS[field.dtype]:
        message = f"{source}: {field.name!r} has type {dtype}; {field.dtype} is needed."
        raise SubmissionError(message)
    if len(shape) == len(field.dims):
        for name, length in zip(field.dims, shape, strict=True):
            if name in free and name not in chosen and 1 <= length <= free[str(name)]:
                chosen[str(name)] = length
    told = {name: f"1 to {most}" for name, most in free.items()} | chosen
    wanted = [name if isinstance(name, int) else chosen.get(name, sizes.get(name, -1)) for name in field.dims]
    if list(shape) != wanted:
        form = ", ".join(str(name) if isinstance(name, int) else f"{name}: {told.get(name, sizes.get(name, '?'))}" for name in field.dims)
        message = f"{source}: {field.name!r} has the shape {tuple(shape)}; ({form}) is needed."
        raise SubmissionError(message)


def check_array(array: np.ndarray, field: Field, source: str) -> None:
    """Check that the numbers of an array are finite, within the bounds of its field, and within the range of the type in which they are scored."""
    limits = np.finfo(TYPES["float"]) if field.dtype == "float" else np.iinfo(TYPES["integer"])
    low, high = (limit if bound is None else bound for bound, limit in ((field.low, float(limits.min)), (field.high, float(limits.max))))
    for bad, told in ((~np.isfinite(array), "which is not finite"), ((array < low) | (array > high), f"which is not between {low:g} and {high:g}")):
        if bad.any():
            place = tuple(int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
            message = f"{source}: {field.name!r} at {list(place)} is {array[place]:g}, {told}."
            raise SubmissionError(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Npz:
    """Arrays of an npz file, without pickles."""

    archive: Any

    def names(self) -> list[str]:
        return [name.removesuffix(".npy") for name in self.archive.namelist()]

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return shape and type, which precede the content."""
        with self.archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        return shape, dtype

    def read(self, name: str) -> np.ndarray:
        with self.archive.open(f"{name}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Zarr:
    """Arrays of a zarr group."""

    group: Any

    def names(self) -> list[str]:
        return sorted(self.group.array_keys())

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        return tuple(self.group[name].shape), np.dtype(self.group[name].dtype)

    def read(self, name: str) -> np.ndarray:
        return np.asarray(self.group[name][...])


@contextlib.contextmanager
def open_arrays(path: Path) -> Iterator["_Npz | _Zarr"]:
    """Open the arrays of an npz or zarr file in a ``with`` block; read errors inside the block become a SubmissionError."""
    if not path.exists() or path.is_symlink():
        message = f"{path}: there is no such file, but {TABLE} names it. Put it beside the table."
        raise SubmissionError(message)
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                yield _Npz(archive=archive)
        else:
            yield _Zarr(group=_zarr_group(path))
    except SubmissionError:
        raise
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{path} cannot be read ({reason}). Write it with numpy.savez_compressed, or with zarr, without objects."
        raise SubmissionError(message) from None


def _zarr_group(path: Path) -> Any:
    """Open a zarr group, or raise SubmissionError if zarr is not installed."""
    try:
        import zarr
    except ImportError:
        message = f"{path}: zarr is needed to read it. Run 'pip install stemtwin[formats]', or write npz."
        raise SubmissionError(message) from None
    return zarr.open_group(path, mode="r")
