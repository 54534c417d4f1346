"""MRC (MRC2014; Cheng et al., J. Struct. Biol. 192 (2015) 146), with the extended headers of FEI and Thermo Fisher."""

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.formats import rosetta
from stemtwin.datasets.formats.file_formats import unreadable
from stemtwin.datasets.formats.signal_dictionaries import plain_signal
from stemtwin.twin.errors import DatasetError

HEADER_BYTES = 1024
FIELDS = {
    "size": ("3i4", 0), "mode": ("i4", 12), "grid": ("3i4", 28), "cell": ("3f4", 40), "axes": ("3i4", 64),
    "lowest": ("f4", 76), "highest": ("f4", 80), "extended": ("i4", 92), "extended_type": ("S4", 104),
    "imod": ("i4", 152), "imod_flags": ("i4", 156), "origin": ("3f4", 196), "stamp": ("u1", 212),
}  # fmt: skip
"""Type and place in bytes of the entries of the header that are used; sizes, grid and cell are x, y, z."""
MODES = {0: "i1", 1: "i2", 2: "f4", 3: "2i2", 4: "c8", 6: "u2", 12: "f2"}
"""Type of a value by the mode of the file."""
LARGEST = 2**20
"""Pixels along an axis beyond which a header is not one of an MRC file."""
IMOD = 1146047817
"""IMOD's stamp: files with it tell whether their bytes have signs."""
BIG_ENDIAN = 0x11
"""First byte of the machine stamp of a big-endian file."""
OLD_FEI = (128 * 1024, 44, 1e-3)
"""Bytes of FEI's first extended header, place of the pixel size in it, m, and the largest one."""
NEW_FEI = {"voltage": 84, "pixel": 156}
"""Places in bytes of the beam's voltage, V, and of the pixel size, m, x and y, in the extended headers FEI1 and FEI2."""
MOVIE = re.compile(r"(\d{8}_[^_]+)_.*movie\.mrc", re.IGNORECASE)
"""Names of Direct Electron's movies, beside which stand text files of their settings."""


def read(path: Path, *, lazy: bool) -> list[dict[str, Any]]:
    """Return the image or the stack of a file in RosettaSciIO's form: (y, x) or (frame, y, x), of either byte order.

    Raises
    ------
    DatasetError
        The file is of another format, of an unknown mode, or shorter than its header says.
    """
    movie = MOVIE.fullmatch(path.name)
    if movie and any(path.parent.glob(f"{movie[1]}*info.txt")):
        return rosetta.read(path, "mrc", lazy=lazy)
    order, header = _header(path)
    mode, size = int(header["mode"]), [int(n) for n in header["size"]]
    swapped: Any = order
    kind = np.dtype(MODES[mode] if mode or _signed(header) else "u1").newbyteorder(swapped)
    begin = HEADER_BYTES + int(header["extended"])
    wanted, there = begin + int(np.prod(size)) * kind.itemsize, path.stat().st_size
    if there < wanted:
        message = f"{path} ends after {there} of {wanted} bytes, which {size[2]} x {size[1]} x {size[0]} pixels of mode {mode} take. Copy it anew."
        raise DatasetError(message)
    values: Any = np.memmap(path, kind.base, "r", begin, (*size[::-1], *kind.shape))
    if lazy:
        import dask.array as da

        values = da.from_array(values)
    if mode == 3:
        values = (values[..., 0] + 1j * values[..., 1]).astype("c8")
    values = values.astype("f4" if mode == 12 else values.dtype.newbyteorder("="))  # half precision is a format of files only
    return [_signal(path, order, header, values)]


def _header(path: Path) -> tuple[str, Any]:
    """Return byte order and header: the order in which its numbers make sense, and that of the stamp where both do."""
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise unreadable(path, "MRC", ValueError(f"it has {len(raw)} bytes, and the header alone has {HEADER_BYTES}"))
    found = []
    for order in "<>":
        formats = [kind[:-2] + order + kind[-2:] for kind, _ in FIELDS.values()]
        form = np.dtype({"names": list(FIELDS), "formats": formats, "offsets": [place for _, place in FIELDS.values()], "itemsize": HEADER_BYTES})
        header = np.frombuffer(raw, form)[0]
        sensible = all(0 < n < LARGEST for n in header["size"]) and int(header["mode"]) in (*MODES, 101) and 0 <= header["extended"] < LARGEST**2
        if sensible:
            found.append((order, header))
    stamped = ">" if raw[FIELDS["stamp"][1]] == BIG_ENDIAN else "<"
    for order, header in sorted(found, key=lambda each: each[0] != stamped):
        if int(header["mode"]) == 101:
            raise unreadable(path, "MRC", ValueError("mode 101 (4 bits a pixel) is not known; save it with 8 bits or more"))
        return order, header
    size, mode = struct.unpack("<3i", raw[:12]), struct.unpack("<i", raw[12:16])[0]
    reason = f"{' x '.join(map(str, size))} pixels of mode {mode} make no sense, little-endian or big-endian"
    raise unreadable(path, "MRC", ValueError(reason))


def _signed(header: Any) -> bool:
    """Return whether bytes have signs: as IMOD says, or else by the range that the header gives, or else as MRC2014 has it."""
    if int(header["imod"]) == IMOD:
        return bool(int(header["imod_flags"]) & 1)
    lowest, highest = float(header["lowest"]), float(header["highest"])
    return lowest < 0 or not lowest < highest or highest <= np.iinfo("i1").max


def _signal(path: Path, order: str, header: Any, values: Any) -> dict[str, Any]:
    """Return the signal with axes in A: those of the cell, or of an extended header."""
    grid, cell, origin = (np.asarray(header[name], float) for name in ("grid", "cell", "origin"))
    with np.errstate(all="ignore"):
        steps = np.where((grid > 0) & (cell > 0) & np.isfinite(cell), cell / grid, 0.0)
    if not steps[:2].all():
        steps[:] = 0.0
    known = _extended(path, order, header)
    if "pixel" in known and (known["first"] or not steps.any()):
        steps, origin = np.array([*known["pixel"], 0.0]), np.zeros(3)
    sides = [int(side) - 1 for side in header["axes"]]  # of columns, rows and sections: 0 is x
    if sorted(sides) != [0, 1, 2]:
        sides = [0, 1, 2]
    axes = []
    for place, side in enumerate(sides[::-1]):
        good = bool(steps[side] > 0)
        axes.append({
            "name": "xyz"[side], "size": values.shape[place], "scale": float(steps[side]) if good else 1.0, "units": "angstrom" if good else None,
            "offset": float(origin[side]) if good and np.isfinite(origin[side]) else 0.0, "reason": "the voxel size in its header is 0",
            "navigate": place == 0,
        })  # fmt: skip
    if sides == [0, 1, 2]:  # sections are images of a stack, or slices of a volume, which files do not tell apart
        axes[0] |= {"name": "frame", "scale": 1.0, "offset": 0.0, "units": None}
    else:
        turned = [sides[::-1].index(side) for side in (2, 1, 0)]
        axes, values = [axes[i] for i in turned], values.transpose(turned)
        axes[0] |= {"name": "depth"}
    if values.shape[0] == 1:
        axes, values = axes[1:], values[0]
    signal = plain_signal(values, path.stem, axes)
    if known.get("voltage"):
        signal["metadata"]["Acquisition_instrument"] = {"TEM": {"beam_energy": known["voltage"] * 1e-3}}
    return signal


def _extended(path: Path, order: str, header: Any) -> dict[str, Any]:
    """Return ``pixel`` (x, y), A, ``voltage``, V, and whether the extended header comes ``first``, as far as it tells."""
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        raw = file.read(min(int(header["extended"]), HEADER_BYTES))
    if bytes(header["extended_type"]) in (b"FEI1", b"FEI2") and len(raw) >= NEW_FEI["pixel"] + 16:
        (voltage,), pixel = struct.unpack_from(f"{order}d", raw, NEW_FEI["voltage"]), struct.unpack_from(f"{order}2d", raw, NEW_FEI["pixel"])
        known: dict[str, Any] = {"first": False, "voltage": voltage if 1e3 < voltage < 1e7 else 0.0}
        return known | ({"pixel": np.array(pixel) * 1e10} if all(0 < side < OLD_FEI[2] for side in pixel) else {})
    if int(header["extended"]) == OLD_FEI[0]:
        (side,) = struct.unpack_from(f"{order}f", raw, OLD_FEI[1])
        return {"first": True, "pixel": np.full(2, side * 1e10)} if 0 < side < OLD_FEI[2] else {}
    return {}
