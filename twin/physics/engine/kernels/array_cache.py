"""Disk cache of computed arrays: each set is kept under the hash of everything that it depends on.

``<cache>/operators`` holds one file per entry (``<cache>`` is :func:`jit.cache_folder`): a line that says the format, the hash of the header, the
header (JSON: the key, and name, type, shape and sha256 of each array), the arrays' bytes. No pickle: reading a file runs no code. A file is
written beside its place, then renamed, so that a place holds a whole entry or none, whoever else writes, whenever the process is killed; every
byte is checked at reading. An entry that is cut short, damaged, foreign or of another format is removed and computed again. A folder that cannot
be used costs the keeping alone (:attr:`ArrayCache.problem` says why). The folder takes at most ``$STEMTWIN_CACHE_BYTES`` (4 GiB; 0 keeps nothing):
what was used longest ago goes first.

A long computation keeps its pieces (:meth:`ArrayCache.resumable`) under the key of the whole, and drops them when the whole is kept
(:meth:`ArrayCache.finish`): what was killed in the middle goes on from the last whole piece. The bits are the same, because a piece is the same
from disk as computed, and the caller combines pieces in a fixed order. Only the whole is written through to the disk.

Keys: :func:`content_key` of a description; :func:`code_digest` belongs into it, so that no change of the code meets results of the code before.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.twin.errors import DatasetError, SettingsError
from stemtwin.twin.files import replacing
from stemtwin.twin.physics.engine.kernels import jit

FORMAT = 1
"""Number of the files' format; what was written in another one is computed again."""
DEFAULT_CAPACITY = 4 * 2**30
"""Bytes that the folder may hold if ``STEMTWIN_CACHE_BYTES`` does not say."""
ABANDONED = 3600.0
"""A file that nobody has written to for so long, s, and that still has no name, was left by a process that was killed."""
ENTRY, TEMPORARY = ".arrays", ".part"
"""Suffixes of the names of entries, and of files being written; files with other names are left alone."""
NUMBERS = "biufc"
"""Kinds of arrays that are kept: booleans, integers, real and complex numbers."""

_MAGIC = b"stemtwin arrays %d\n"
_KEY = re.compile(r"[0-9a-f]{64}(-[0-9]+)*")
_IMPORTED = time.time()


def content_key(description: Mapping[str, Any]) -> str:
    """Return the key of a description: equal descriptions have equal keys, on every machine.

    Parameters
    ----------
    description : mapping
        Names and numbers, strings, booleans, None, arrays, sequences or mappings of these. The order of a mapping does not matter, nor whether a
        sequence is a tuple or a list, whether a number is 1 or 1.0, 0.0 or -0.0, or how an array lies in memory; the type of an array does.

    Returns
    -------
    str
        sha256, 64 hex digits.

    Raises
    ------
    SettingsError
        A value of another type, or a name that is not a string.
    """
    return hashlib.sha256(json.dumps(_canonical(description), sort_keys=True).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return the same in dicts, lists, strings and numbers; each list begins with what it stands for."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, np.ndarray) and value.dtype.kind in NUMBERS:
        little = np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
        return ["array", little.dtype.str, list(little.shape), hashlib.sha256(_raw(little)).hexdigest()]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return ["sequence", *(_canonical(each) for each in value)]
    message = f"A key cannot be made of {value!r} ({type(value).__name__}). Use numbers, strings, arrays, sequences, and mappings with names."
    raise SettingsError(message)


@functools.cache
def code_digest(root: Path, *patterns: str) -> str:
    """Return the hash of the code that numbers come from.

    It covers every file below the root that a pattern matches, the engine's sources, the compiler and the CPU (:func:`jit.sources_digest`), and the
    versions of numpy, scipy and abTEM (whose coefficients of Lr are read). If a file was changed after this process began to import the code, it
    cannot be told which one runs: the hash is then one that no other process has.

    Parameters
    ----------
    root : Path
        Folder of a package.
    *patterns : str
        Glob patterns of files relative to it, ``"physics/engine/**/*.py"``.

    Returns
    -------
    str
        sha256, 64 hex digits.
    """
    digest = hashlib.sha256(jit.sources_digest().encode())
    digest.update("".join(f"{name} {importlib.metadata.version(name)}\0" for name in ("numpy", "scipy", "abtem")).encode())
    newest = 0.0
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        newest = max(newest, path.stat().st_mtime)
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    if newest > _IMPORTED:
        digest.update(os.urandom(32))
    return digest.hexdigest()


def default_cache() -> "ArrayCache":
    """Return the cache of this user, as ``STEMTWIN_CACHE_DIR`` and ``STEMTWIN_CACHE_BYTES`` say now; the same object for the same settings.

    Raises
    ------
    SettingsError
        ``STEMTWIN_CACHE_BYTES`` is not a whole number >= 0.
    """
    asked = os.environ.get("STEMTWIN_CACHE_BYTES", "").strip()
    if asked and not asked.isdecimal():
        message = f"STEMTWIN_CACHE_BYTES={asked!r} is not a number of bytes. Use a whole number >= 0, or unset it to use {DEFAULT_CAPACITY}."
        raise SettingsError(message)
    return _cache_at(jit.cache_folder() / "operators", int(asked) if asked else DEFAULT_CAPACITY)


class ArrayCache:
    """Named arrays by key, in one folder that several processes and threads may use at once.

    Parameters
    ----------
    folder : Path
        Where the entries lie; made when the first one is kept.
    capacity_bytes : int
        The folder's files take at most this; 0 keeps and finds nothing.
    """

    def __init__(self, folder: Path, capacity_bytes: int) -> None:
        if capacity_bytes < 0:
            message = f"capacity_bytes={capacity_bytes} is less than nothing. Use 0 to keep nothing, or a positive number."
            raise SettingsError(message)
        self.folder = Path(folder)
        self.capacity_bytes = capacity_bytes
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Reason why the entry put last could not be kept; None if it was, or if none was put."""
        return self._problem

    @property
    def nbytes(self) -> int:
        """Bytes that the folder's files take now."""
        return sum(size for _, _, size in self._files())

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """Return the arrays of a key, the caller's to change, or None; what is found damaged is removed.

        Raises
        ------
        SettingsError
            The key is not one of :func:`content_key` or :func:`piece_key`.
        """
        path = self._path(key)
        if not self.capacity_bytes:
            return None
        try:
            with path.open("rb") as file:
                arrays = _read(file, key)
        except OSError:  # not there, or not for us to read
            return None
        if arrays is None:
            self.remove(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of its last use
        return arrays

    def put(self, key: str, arrays: Mapping[str, np.ndarray], *, through: bool = True) -> bool:
        """Keep arrays under a key, in the place of what was there; return whether they are kept.

        With ``through`` they are written through to the disk. Without, which is quicker, they may be lost where the machine, not the process, ends.

        Raises
        ------
        SettingsError
            The key is not one of :func:`content_key` or :func:`piece_key`, or an array does not hold numbers.
        """
        path, arrays = self._path(key), _plain(arrays)
        if not self.capacity_bytes:
            self._problem = "nothing is kept, because the limit is 0 bytes (STEMTWIN_CACHE_BYTES)"
            return False
        head = _head(key, arrays)
        size = len(head) + sum(array.nbytes for array in arrays.values())
        if size > self.capacity_bytes:
            self._problem = f"{size} bytes are more than the {self.capacity_bytes} that {self.folder} may hold (STEMTWIN_CACHE_BYTES)"
            return False
        try:
            with replacing(path, ending=TEMPORARY, through=through) as temporary, temporary.open("xb") as file:
                file.write(head)
                file.writelines(_raw(array) for array in arrays.values())
        except DatasetError as error:
            self._problem = str(error)
            return False
        self._make_room(path.name)
        self._problem = None
        return True

    def remove(self, key: str) -> None:
        """Forget what is kept under a key, if anything."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def resumable(
        self, key: str, compute: Callable[[], Mapping[str, np.ndarray]], *, skipped: Callable[[], None] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the arrays of a key, computed now and kept, or from disk (then ``skipped`` is called): the same bits in the same layout."""
        found = self.get(key)
        if found is None:
            found = _plain(compute())
            self.put(key, found, through=False)
        elif skipped is not None:
            skipped()
        return found

    def finish(self, key: str, arrays: Mapping[str, np.ndarray]) -> bool:
        """Keep the whole, and drop its pieces once it is kept; return whether it is."""
        kept = self.put(key, arrays)
        if kept:
            self.remove_pieces(key)
        return kept

    def remove_pieces(self, key: str) -> None:
        """Forget all pieces of a key."""
        pieces = f"{self._path(key).stem}-"
        for _, name, _ in self._files():
            if name.startswith(pieces) and name.endswith(ENTRY):
                self._unlink(name)

    def __contains__(self, key: str) -> bool:
        """Return whether something lies under a key, damaged or not."""
        return bool(self.capacity_bytes) and self._path(key).is_file()

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            message = f"{key!r} is not a key. Make one with content_key or piece_key."
            raise SettingsError(message)
        return self.folder / (key + ENTRY)

    def _files(self) -> Iterator[tuple[float, str, int]]:
        """Iterate over time of last use, name and bytes of the folder's files, of our names alone."""
        try:
            with os.scandir(self.folder) as found:
                files = [each for each in found if each.name.endswith((ENTRY, TEMPORARY))]
        except OSError:
            return
        for file in files:
            with contextlib.suppress(OSError):  # gone meanwhile
                about = file.stat(follow_symlinks=False)
                yield about.st_mtime, file.name, about.st_size

    def _make_room(self, newest: str) -> None:
        """Remove what killed processes left, then what was used longest ago until the rest fits; never the newest, nor what is being written."""
        files = sorted(self._files())
        total = sum(size for _, _, size in files)
        for used, name, size in files:
            abandoned = name.endswith(TEMPORARY) and time.time() - used > ABANDONED
            too_much = name.endswith(ENTRY) and name != newest and total > self.capacity_bytes
            if (abandoned or too_much) and self._unlink(name):
                total -= size

    def _unlink(self, name: str) -> bool:
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError:
            return False
        return True


_cache_at = functools.cache(ArrayCache)


def piece_key(key: str, *indices: int) -> str:
    """Return the key of a piece of what a key stands for."""
    return "-".join([key, *map(str, indices)])


def _raw(array: np.ndarray) -> memoryview:
    """Return the bytes of a contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8).data


def _plain(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays that lie in memory as they do when read: contiguous, last axis fastest."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.kind not in NUMBERS:
            message = f"Array {name!r} of type {array.dtype} cannot be kept. Give booleans, integers, real or complex numbers."
            raise SettingsError(message)
    return plain


def _head(key: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the head of an entry, before the arrays' bytes."""
    listed = [[name, array.dtype.str, array.shape, hashlib.sha256(_raw(array)).hexdigest()] for name, array in arrays.items()]
    header = json.dumps({"key": key, "arrays": listed}).encode()
    return _MAGIC % FORMAT + hashlib.sha256(header).digest() + len(header).to_bytes(8, "little") + header


def _read(file: BufferedReader, key: str) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file, or None if it is anything but the whole entry of a key as it was written."""
    size, magic = os.fstat(file.fileno()).st_size, _MAGIC % FORMAT
    if file.read(len(magic)) != magic:
        return None
    checksum, length = file.read(32), int.from_bytes(file.read(8), "little")
    header = file.read(min(length, size))
    if hashlib.sha256(header).digest() != checksum:
        return None
    described = json.loads(header)
    if described["key"] != key:
        return None
    arrays = {}
    for name, dtype, shape, sha256 in described["arrays"]:
        if np.dtype(dtype).kind not in NUMBERS or file.tell() + np.dtype(dtype).itemsize * math.prod(shape) > size:
            return None
        array = np.empty(shape, dtype)
        file.readinto(_raw(array))
        if hashlib.sha256(_raw(array)).hexdigest() != sha256:
            return None
        arrays[name] = array
    return None if file.read(1) else arrays
