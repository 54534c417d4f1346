"""Messages between the runner and an agent.

A message consists of its length (four bytes, big-endian) and of one msgpack map. Arrays are npy bytes in extension type 1. Nothing is ever unpickled.
A message is refused before any of it is used if it is too long, if it is not a msgpack map, if its key ``type`` does not hold a string, or if one of
its arrays holds objects.
"""

import io
import math
import struct
from typing import Any

import msgpack
import numpy as np

PROTOCOL = "stemtwin/agent@1"
ARRAY = 1
"""Extension type of arrays."""
LENGTH = struct.Struct(">I")
KINDS = "biuf"
"""Kinds of NumPy types that an array may have: Booleans, signed and unsigned integers, floats."""
DEEPEST = 16
"""Largest number of levels of nesting in a message."""


class WireError(ValueError):
    """Error for a message that does not follow the protocol."""


def pack(message: dict[str, Any]) -> bytes:
    """Return a message as bytes, with its length in front.

    Parameters
    ----------
    message : dict
        Keys are text. Values are numbers, text, bytes, None, lists, dicts, numpy arrays and numpy scalars.
    """
    body = msgpack.packb(message, default=_packed)
    return LENGTH.pack(len(body)) + body


def _packed(value: Any) -> Any:
    """Return an array or numpy scalar in a form that msgpack can encode."""
    if isinstance(value, np.ndarray):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(value).reshape(value.shape), version=(1, 0), allow_pickle=False)
        return msgpack.ExtType(ARRAY, buffer.getvalue())
    if isinstance(value, np.generic):
        return value.item()
    message = f"A message holds {type(value).__name__}, which msgpack cannot carry. Send numbers, text, bytes, lists, maps and arrays."
    raise WireError(message)


def unpack(body: bytes) -> dict[str, Any]:
    """Return the message that is encoded in bytes.

    Parameters
    ----------
    body : bytes
        Encoded message without its length.

    Raises
    ------
    WireError
        The body is not msgpack or not a map with a text ``type``, is nested too deeply, or has an array that does not hold numbers.
    """
    try:
        message = msgpack.unpackb(body, raw=False, strict_map_key=True, ext_hook=_array)
    except WireError:
        raise
    except RecursionError:
        told = f"A message is nested deeper than {DEEPEST} levels. Send a flat one."
        raise WireError(told) from None
    except Exception as error:  # msgpack raises errors of many classes
        told = f"A message is not msgpack ({type(error).__name__}: {error}). Send one msgpack map after its length of four bytes, big-endian."
        raise WireError(told) from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        told = "A message is not a map with a text 'type'. Send one, such as {'type': 'act', 'step': 0, 'action': ...}."
        raise WireError(told)
    if _depth(message) > DEEPEST:
        told = f"A message is nested deeper than {DEEPEST} levels. Send a flat one."
        raise WireError(told)
    return message


def _depth(value: Any) -> int:
    """Return the levels of nesting of a value, counted without recursion."""
    deepest, left = 0, [(value, 1)]
    while left:
        one, level = left.pop()
        deepest = max(deepest, level)
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        left.extend((part, level + 1) for part in inner)
    return deepest


def _array(code: int, content: bytes) -> np.ndarray:
    """Return the array of an extension; its header is checked first, so a short message cannot cause the allocation of a large array."""
    if code != ARRAY:
        message = f"A message holds extension type {code}. The only allowed type is {ARRAY}, an array as npy bytes."
        raise WireError(message)
    buffer = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(buffer) != (1, 0):
            message = "npy version is not 1.0"
            raise ValueError(message)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer, max_header_size=1024)
        if dtype.kind not in KINDS or dtype.hasobject:
            message = f"it holds {dtype}, not numbers"
            raise ValueError(message)
        size, there = math.prod(shape) * dtype.itemsize, len(content) - buffer.tell()
        if size != there or min(shape, default=1) < 0:
            message = f"its header declares {size} bytes, but {there} are present"
            raise ValueError(message)
    except Exception as error:  # a hostile header raises errors of many classes
        message = f"An array is not in npy format ({error}). Write it with numpy.lib.format.write_array with version (1, 0) and allow_pickle=False."
        raise WireError(message) from None
    flat = np.frombuffer(content, dtype=dtype, offset=buffer.tell()).copy()
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
