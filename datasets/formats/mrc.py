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
"""Type and byte offset of the header entries that are used; size, grid and cell are in the order x, y, z."""
MODES = {0: "i1", 1: "i2", 2: "f4", 3: "2i2", 4: "c8", 6: "u2", 12: "f2"}
"""Types of values by the mode of the file."""
LARGEST = 2**20
"""Largest number of pixels along an axis in a valid header."""
IMOD = 1146047817
"""IMOD's stamp, which marks files that state whether their bytes are signed."""
BIG_ENDIAN = 0x11
"""First byte of the machine stamp of a big-endian file."""
OLD_FEI = (128 * 1024, 44, 1e-3)
"""Size in bytes of FEI's older extended header, byte offset of the pixel size in it, and the largest pixel size, m."""
NEW_FEI = {"voltage": 84, "pixel": 156}
"""Byte offsets of the beam's voltage, V, and of the pixel size (x, y), m, in the extended headers FEI1 and FEI2."""
MOVIE = re.compile(r"(\d{8}_[^_]+)_.*movie\.mrc", re.IGNORECASE)
"""Names of Direct Electron's movies, whose settings are in text files beside them."""


def read(path: Path, *, lazy: bool) -> list[dict[str, Any]]:
    """Return the image (y, x) or the stack (frame, y, x) of a file as a dictionary in RosettaSciIO's form.

    The file may have either byte order.

    Raises
    ------
    DatasetError
        The file has another format or an unknown mode, or is shorter than its header requires.
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
        message = f"{path} ends after {there} of {wanted} bytes for {size[2]} x {size[1]} x {size[0]} pixels of mode {mode}. Copy it again."
        raise DatasetError(message)
    values: Any = np.memmap(path, kind.base, "r", begin, (*size[::-1], *kind.shape))
    if lazy:
        import dask.array as da

        values = da.from_array(values)
    if mode == 3:
        values = (values[..., 0] + 1j * values[..., 1]).astype("c8")
    values = values.astype("f4" if mode == 12 else values.dtype.newbyteorder("="))  # half precision is used only in files
    return [_signal(path, order, header, values)]


def _header(path: Path) -> tuple[str, Any]:
    """Return the byte order and the header; if the header is valid in both byte orders, the machine stamp decides."""
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise unreadable(path, "MRC", ValueError(f"it has {len(raw)} bytes, but the header has {HEADER_BYTES}"))
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
            raise unreadable(path, "MRC", ValueError("mode 101 (4 bits per pixel) is not supported; save it with 8 bits or more"))
        return order, header
    size, mode = struct.unpack("<3i", raw[:12]), struct.unpack("<i", raw[12:16])[0]
    reason = f"its header with {' x '.join(map(str, size))} pixels of mode {mode} is not valid, neither as little-endian nor as big-endian"
    raise unreadable(path, "MRC", ValueError(reason))


def _signed(header: Any) -> bool:
    """Return True if the bytes of mode 0 are signed, as in MRC2014.

    IMOD's flag decides. In files without this flag, the range of values in the header decides.
    """
    if int(header["imod"]) == IMOD:
        return bool(int(header["imod_flags"]) & 1)
    lowest, highest = float(header["lowest"]), float(header["highest"])
    return lowest < 0 or not lowest < highest or highest <= np.iinfo("i1").max


def _signal(path: Path, order: str, header: Any, values: Any) -> dict[str, Any]:
    """Return the signal with axes in A from the cell of the header or from an extended header."""
    grid, cell, origin = (np.asarray(header[name], float) for name in ("grid", "cell", "origin"))
    with np.errstate(all="ignore"):
        steps = np.where((grid > 0) & (cell > 0) & np.isfinite(cell), cell / grid, 0.0)
    if not steps[:2].all():
        steps[:] = 0.0
    known = _extended(path, order, header)
    if "pixel" in known and (known["first"] or not steps.any()):
        steps, origin = np.array([*known["pixel"], 0.0]), np.zeros(3)
    sides = [int(side) - 1 for side in header["axes"]]  # axes (0 is x) of columns, rows and sections
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
    if sides == [0, 1, 2]:  # sections are images of a stack or slices of a volume, which files do not distinguish
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
    """Return the entries of an extended header.

    ``pixel`` is the pixel size (x, y), A, and ``voltage`` is the beam's voltage, V. ``first`` is True if ``pixel`` has
    priority over the cell in the header.
    """
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
