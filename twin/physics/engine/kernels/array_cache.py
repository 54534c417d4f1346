"""Disk cache of computed arrays: each set of arrays is stored under the hash of everything that it depends on.

``<cache>/operators`` contains one file per entry (``<cache>`` is :func:`jit.cache_folder`). A file contains, in this
order, a line with the format, the hash and the length of the header, the header (JSON with the key, and with the name,
type, shape and sha256 of each array), and the arrays' bytes. Pickle is not used, so reading a file runs no code. A file
is written under a temporary name and then renamed. A path therefore contains a complete entry or nothing, even if
several processes write at the same time or a process is killed. Every byte is checked when a file is read. An entry that is
truncated, damaged, made for another key or in another format is removed and computed again. If the folder cannot be
used, results are not stored, and :attr:`ArrayCache.problem` gives the reason. The folder uses at most
``$STEMTWIN_CACHE_BYTES`` (default 4 GiB; with 0, nothing is stored); the least recently used entries are removed first.

A long computation stores its partial results, called pieces (:meth:`ArrayCache.resumable`), under keys that begin with
the key of the whole result. The pieces are removed when the whole result is stored (:meth:`ArrayCache.finish`). A
computation that was killed continues from the last complete piece. Its result has the same bits as that of an
uninterrupted computation, because a piece read from disk equals the computed piece and the caller combines pieces in a
fixed order. Only the whole result is flushed to the disk.

:func:`content_key` computes the key from a description. The description should contain :func:`code_digest`, so results
of an earlier version of the code are never used.
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
"""Version of the file format; entries of another version are computed again."""
DEFAULT_CAPACITY = 4 * 2**30
"""Capacity of the folder without ``STEMTWIN_CACHE_BYTES``, bytes."""
ABANDONED = 3600.0
"""A temporary file that was not written to for this time, s, was left behind by a process that was killed."""
ENTRY, TEMPORARY = ".arrays", ".part"
"""Suffixes of entries and of files that are being written; files with other suffixes are left alone."""
NUMBERS = "biufc"
"""numpy kinds of arrays that can be kept: booleans, integers, real and complex numbers."""

_MAGIC = b"stemtwin arrays %d\n"
_KEY = re.compile(r"[0-9a-f]{64}(-[0-9]+)*")
_IMPORTED = time.time()


def content_key(description: Mapping[str, Any]) -> str:
    """Return the key of a description; equal descriptions have equal keys on every machine.

    Parameters
    ----------
    description : mapping
        Values by name: numbers, strings, booleans, None, arrays, and sequences or mappings of these. The key does not
        depend on the order of a mapping or on the memory layout of an array, and does not distinguish tuple and list,
        1 and 1.0, or 0.0 and -0.0. It depends on the data type of an array.

    Returns
    -------
    str
        sha256, 64 hex digits.

    Raises
    ------
    SettingsError
        A value has another type, or a name is not a string.
    """
    return hashlib.sha256(json.dumps(_canonical(description), sort_keys=True).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return a value as dicts, lists, strings and numbers; each list begins with the name of the type that it represents."""
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
    message = f"A key cannot be made of {value!r} ({type(value).__name__}). Use numbers, strings, arrays, sequences, or mappings with string keys."
    raise SettingsError(message)


@functools.cache
def code_digest(root: Path, *patterns: str) -> str:
    """Return the hash of the code that results depend on.

    It covers every file below the root that matches a pattern, the engine's sources, the compiler and the CPU
    (:func:`jit.sources_digest`), and the versions of numpy, scipy and abTEM (which provides the scattering coefficients
    of Lr). If a file was changed after this process began to import the code, the running version is unknown, and the
    hash is made unique to this process.

    Parameters
    ----------
    root : Path
        Folder of a package.
    *patterns : str
        Glob patterns relative to ``root``, such as ``"physics/engine/**/*.py"``.

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
    """Return the user's cache for the current ``STEMTWIN_CACHE_DIR`` and ``STEMTWIN_CACHE_BYTES``.

    Calls with equal settings return the same object.

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
    """Cache of named arrays by key, in one folder that several processes and threads may use at once.

    Parameters
    ----------
    folder : Path
        Folder of the entries; it is created when the first entry is stored.
    capacity_bytes : int
        Largest total size of the folder's files, bytes; 0 disables the cache.

    Raises
    ------
    SettingsError
        ``capacity_bytes`` is negative.
    """

    def __init__(self, folder: Path, capacity_bytes: int) -> None:
        if capacity_bytes < 0:
            message = f"capacity_bytes={capacity_bytes} is negative. Use a number >= 0; 0 disables the cache."
            raise SettingsError(message)
        self.folder = Path(folder)
        self.capacity_bytes = capacity_bytes
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Reason why the last entry could not be stored; None if it was stored, or if no entry has been passed yet."""
        return self._problem

    @property
    def nbytes(self) -> int:
        """Current total size of the folder's files, bytes."""
        return sum(size for _, _, size in self._files())

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """Return copies of the arrays that are stored under a key, or None if there are none; a damaged entry is removed.

        Raises
        ------
        SettingsError
            The key was not made by :func:`content_key` or :func:`piece_key`.
        """
        path = self._path(key)
        if not self.capacity_bytes:
            return None
        try:
            with path.open("rb") as file:
                arrays = _read(file, key)
        except OSError:  # absent or not readable
            return None
        if arrays is None:
            self.remove(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of its last use
        return arrays

    def put(self, key: str, arrays: Mapping[str, np.ndarray], *, through: bool = True) -> bool:
        """Store arrays under a key in place of an earlier entry; return True if they were stored.

        With ``through``, the file is flushed to the disk. Without ``through``, writing is faster, but a crash of the machine
        (not of the process) may lose the entry.

        Raises
        ------
        SettingsError
            The key was not made by :func:`content_key` or :func:`piece_key`, or an array does not contain numbers.
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
        """Remove the entry of a key, if there is one."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def resumable(
        self, key: str, compute: Callable[[], Mapping[str, np.ndarray]], *, skipped: Callable[[], None] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the arrays of a key from disk, or compute and store them; bits and memory layout are the same in either case.

        ``skipped`` is called if the arrays come from disk.
        """
        found = self.get(key)
        if found is None:
            found = _plain(compute())
            self.put(key, found, through=False)
        elif skipped is not None:
            skipped()
        return found

    def finish(self, key: str, arrays: Mapping[str, np.ndarray]) -> bool:
        """Store a whole result and, on success, remove its stored partial results; return True if the result was stored."""
        kept = self.put(key, arrays)
        if kept:
            self.remove_pieces(key)
        return kept

    def remove_pieces(self, key: str) -> None:
        """Remove all pieces (stored partial results) of the result with a key."""
        pieces = f"{self._path(key).stem}-"
        for _, name, _ in self._files():
            if name.startswith(pieces) and name.endswith(ENTRY):
                self._unlink(name)

    def __contains__(self, key: str) -> bool:
        """Return whether an entry of a key exists, damaged or not."""
        return bool(self.capacity_bytes) and self._path(key).is_file()

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            message = f"{key!r} is not a key. Make one with content_key or piece_key."
            raise SettingsError(message)
        return self.folder / (key + ENTRY)

    def _files(self) -> Iterator[tuple[float, str, int]]:
        """Iterate over time of last use, name and size of the cache's own files in the folder."""
        try:
            with os.scandir(self.folder) as found:
                files = [each for each in found if each.name.endswith((ENTRY, TEMPORARY))]
        except OSError:
            return
        for file in files:
            with contextlib.suppress(OSError):  # removed meanwhile
                about = file.stat(follow_symlinks=False)
                yield about.st_mtime, file.name, about.st_size

    def _make_room(self, newest: str) -> None:
        """Remove files abandoned by killed processes, then the least recently used entries until the rest fits.

        The newest entry and files that are being written stay.
        """
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
    """Return the key of one piece (partial result) of the result with the given key."""
    return "-".join([key, *map(str, indices)])


def _raw(array: np.ndarray) -> memoryview:
    """Return the bytes of a contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8).data


def _plain(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays with the memory layout of arrays read from disk: contiguous, last axis fastest."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.kind not in NUMBERS:
            message = f"Array {name!r} of type {array.dtype} cannot be kept. Use booleans, integers, real or complex numbers."
            raise SettingsError(message)
    return plain


def _head(key: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of an entry that precede the arrays."""
    listed = [[name, array.dtype.str, array.shape, hashlib.sha256(_raw(array)).hexdigest()] for name, array in arrays.items()]
    header = json.dumps({"key": key, "arrays": listed}).encode()
    return _MAGIC % FORMAT + hashlib.sha256(header).digest() + len(header).to_bytes(8, "little") + header


def _read(file: BufferedReader, key: str) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file, or None if it is not the complete, undamaged entry of a key."""
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
