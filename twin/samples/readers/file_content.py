"""Content of a structure file, decompressed and decoded, and lattice vectors from six numbers."""

import bz2
import functools
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stemtwin.twin.errors import SettingsError, StructureFileError

PACKED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
PACKED_SUFFIXES = {".gz", ".bz2", ".xz", ".zip"}
MAX_UNPACKED_BYTES = 2**31


@dataclass(frozen=True, kw_only=True)
class FileContent:
    """Decompressed content of a structure file, which is the input of the readers.

    Parameters
    ----------
    path : Path
        Path of the file.
    data : bytes
        Decompressed content.
    packed : bool
        Whether the file is compressed.
    block : str, optional
        Requested structure if the file contains several: a name, or a number from 1.
    """

    path: Path
    data: bytes
    packed: bool = False
    block: str | None = None

    @property
    def name(self) -> str:
        """Name of the file for messages."""
        return self.path.name

    @property
    def suffix(self) -> str:
        """Suffix of the format in lower case, without a suffix of the compression."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        return ([""] + [suffix for suffix in suffixes if suffix not in PACKED_SUFFIXES])[-1]

    @functools.cached_property
    def text(self) -> str:
        """Decoded text with lines that end in a line feed; "" for binary data."""
        return decode(self.data)

    @functools.cached_property
    def lines(self) -> list[str]:
        """Lines of the text."""
        return self.text.split("\n")

    def pick(self, names: Sequence[str], default: int, what: str) -> tuple[int, tuple[str, ...]]:
        """Return the index of the requested structure, and a note if the file contains several.

        Parameters
        ----------
        names : sequence of str
            Names of the structures; "" for those without a name.
        default : int
            Index of the structure that is used if none is requested.
        what : str
            Kind of the structures in messages, such as "data blocks" or "frames".

        Raises
        ------
        SettingsError
            The file does not hold the requested structure.
        """
        count = len(names)
        known = ", ".join(name or str(at + 1) for at, name in enumerate(names[:6])) + (", ..." if count > 6 else "")
        index = default
        if self.block is not None:
            asked = str(self.block).strip()
            own = [at for at, name in enumerate(names) if name and name.lower() == asked.removeprefix("data_").lower()]
            whole = int(asked) if re.fullmatch(r"\d+", asked) else 0
            if not own and not 1 <= whole <= count:
                message = f"block={asked!r} is not in {self.name}, which holds {count} {what} ({known}). Give a name or a number from 1."
                raise SettingsError(message)
            index = own[0] if own else whole - 1
        if count < 2:
            return index, ()
        named = f", {names[index]!r}," if names[index] else ""
        note = f"{self.name} holds {count} {what} ({known}), and number {index + 1}{named} was taken."
        return index, (f"{note} Choose another with block=.",)


def open_content(path: Path, block: str | int | None = None) -> FileContent:
    """Return the decompressed content of a file.

    Raises
    ------
    StructureFileError
        The file cannot be decompressed, or its size is outside the limits.
    """
    data = path.read_bytes()
    unpacked = data
    try:
        for magic, unpack in PACKED.items():
            if data.startswith(magic):
                unpacked = unpack(data)
        if data.startswith(b"PK\x03\x04") and path.suffix.lower() == ".zip":
            unpacked = _only_member(path, data)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile, zlib.error) as error:
        message = f"{path} is compressed and cannot be decompressed ({error}). Download or copy the file again, or give an uncompressed file."
        raise StructureFileError(message) from error
    if len(unpacked) == 0 or len(unpacked) > MAX_UNPACKED_BYTES:
        message = f"{path} holds {len(unpacked)} bytes after decompression (limits 1 and {MAX_UNPACKED_BYTES}). Give a structure file."
        raise StructureFileError(message)
    return FileContent(path=path, data=unpacked, packed=unpacked is not data, block=None if block is None else str(block))


def _only_member(path: Path, data: bytes) -> bytes:
    """Return the content of the single file in a zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            message = f"{path} is an archive of {len(members)} files. Unpack it and give one of them."
            raise StructureFileError(message)
        return archive.read(members[0])


def decode(data: bytes) -> str:
    """Return the text of bytes in UTF-8, UTF-16 (recognised by a byte-order mark or zeros) or Latin-1; "" for binary data."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    elif b"\x00" in data[:4096]:
        zeros = data[:4096].count(b"\x00")
        even = data[:4096:2].count(b"\x00")
        if zeros < 0.4 * len(data[:4096]) or 0 < even < zeros:
            return ""
        text = data.decode("utf-16-be" if even else "utf-16-le", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def unit_cell(name: str, parameters: Sequence[float]) -> np.ndarray:
    """Return the lattice vectors (3, 3) as rows, A: a along x, b in the xy plane.

    Parameters
    ----------
    name : str
        Name of the file for messages.
    parameters : sequence of float
        Lengths a, b, c (A) and angles alpha, beta, gamma (degrees).

    Raises
    ------
    StructureFileError
        The cell has no volume.
    """
    import gemmi

    lengths, angles = np.array(parameters[:3], dtype=float), np.array(parameters[3:6], dtype=float)
    cosines = np.cos(np.radians(angles))
    shape = 1 - np.sum(cosines**2) + 2 * np.prod(cosines)  # (volume / (a b c))^2
    if not (np.all(lengths > 0) and np.all((angles > 0) & (angles < 180)) and shape >= 1e-6):
        numbers = ", ".join(f"{value:g}" for value in (*lengths, *angles))
        message = (
            f"{name} has a cell without volume: a, b, c, alpha, beta, gamma = {numbers}. Use lengths "
            "above 0 A, and angles between 0 and 180 degrees that enclose a volume."
        )
        raise StructureFileError(message)
    return np.array(gemmi.UnitCell(*lengths, *angles).orth.mat.tolist()).T


def floats(words: Sequence[str]) -> list[float] | None:
    """Return words as numbers, or None if a word is not a number."""
    try:
        return [float(word.replace("D", "e").replace("d", "e")) for word in words]
    except ValueError:
        return None
