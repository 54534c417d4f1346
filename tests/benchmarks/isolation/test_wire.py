"""Messages: what is sent arrives, and nothing that does not follow the protocol gets through, however it was made."""

import contextlib
import io
import pickle
from typing import Any

import gymnasium as gym
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stemtwin.benchmarks.isolation import wire
from stemtwin.benchmarks.isolation.spaces import build_space, describe_space, received_action
from stemtwin.twin.errors import SettingsError

NUMBERS = st.one_of(hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64)))
ARRAYS = hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
SPACES = (
    gym.spaces.Box(-1, 1, (2, 3), np.float32),
    gym.spaces.Box(np.array([-np.inf, 0.0]), np.array([np.inf, 2.0]), dtype=np.float64),
    gym.spaces.Box(0, 65535, (4, 4), np.uint16),
    gym.spaces.Discrete(5, start=2),
    gym.spaces.MultiDiscrete([3, 4]),
    gym.spaces.MultiBinary([2, 2]),
    gym.spaces.Text(8, charset="abc"),
    gym.spaces.Dict({"a": gym.spaces.Discrete(3), "b": gym.spaces.Tuple((gym.spaces.Box(0, 1, ()), gym.spaces.MultiBinary(3)))}),
)


def sent(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as the other side gets it."""
    content = wire.pack(message)
    assert wire.LENGTH.unpack(content[:4])[0] == len(content) - 4
    return wire.unpack(content[4:])


@given(array=ARRAYS, fortran=st.booleans())
def test_arrays_arrive_with_type_shape_and_bits(array: np.ndarray, fortran: bool) -> None:
    """An array of any numbers, of any memory order, arrives equal, bit for bit."""
    there = sent({"type": "act", "action": np.asfortranarray(array) if fortran and array.ndim else array})["action"]
    assert (there.dtype, there.shape) == (array.dtype, array.shape)
    assert np.ascontiguousarray(there).tobytes() == np.ascontiguousarray(array).tobytes()


def test_fortran_ordered_arrays_of_others_are_read() -> None:
    """An npy whose header says Fortran order is the same array."""
    array, buffer = np.arange(6.0).reshape(2, 3), io.BytesIO()
    np.save(buffer, np.asfortranarray(array))
    body = msgpack.packb({"type": "act", "action": msgpack.ExtType(1, buffer.getvalue())})
    np.testing.assert_array_equal(wire.unpack(body)["action"], array)


@given(body=st.binary(max_size=200))
def test_noise_is_refused_by_one_error(body: bytes) -> None:
    """Bytes of any kind are a message with a type, or a WireError; nothing else is ever raised."""
    with contextlib.suppress(wire.WireError):
        assert isinstance(wire.unpack(body)["type"], str)


@given(content=st.binary(max_size=200), at=st.integers(0, 200), value=st.integers(0, 255))
def test_damaged_arrays_are_refused_by_one_error(content: bytes, at: int, value: int) -> None:
    """An npy with a changed byte, or noise in its place, is an array of numbers or a WireError."""
    buffer = io.BytesIO()
    np.save(buffer, np.arange(4, dtype=np.uint8))
    damaged = bytearray(buffer.getvalue())
    damaged[at % len(damaged)] = value
    for one in (bytes(damaged), content):
        with contextlib.suppress(wire.WireError):
            array = wire.unpack(msgpack.packb({"type": "act", "action": msgpack.ExtType(1, one)}))["action"]
            assert array.dtype.kind in wire.KINDS


class Harmful:
    """An object whose pickle runs code."""

    def __reduce__(self) -> tuple:
        """Open a file."""
        return (open, ("/tmp/stemtwin-was-here", "w"))


def extension(array: np.ndarray, **options: Any) -> bytes:
    """Return the body of a message with an array as numpy saves it."""
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return msgpack.packb({"type": "act", "action": msgpack.ExtType(1, buffer.getvalue())})


def deep(levels: int) -> bytes:
    """Return the body of a message with nested lists."""
    return b"\x82\xa4type\xa3act\xa1x" + b"\x91" * levels + b"\xc0"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (extension(np.array([Harmful()], dtype=object), allow_pickle=True), "not numbers"),
        (extension(np.array(["a"])), "not numbers"),
        (extension(np.zeros(2, dtype=[("a", "f4")])), "not numbers"),
        (extension(np.zeros(4))[:-9] + b"\0", "is not msgpack"),
        (msgpack.packb({"type": "act", "action": msgpack.ExtType(1, pickle.dumps(Harmful()))}), "npy"),
        (msgpack.packb({"type": "act", "action": msgpack.ExtType(5, b"x")}), "extension type 5"),
        (msgpack.packb([1, 2]), "not a map"),
        (msgpack.packb({"step": 1}), "text 'type'"),
        (msgpack.packb({"type": 1}), "text 'type'"),
        (deep(17), "deeper than 16"),
        (deep(100000), "msgpack|deeper"),
        (b"\xdd\xff\xff\xff\xff", "is not msgpack"),
        (b"\xc7", "is not msgpack"),
        (b"", "is not msgpack"),
    ],
    ids=["pickle", "text", "records", "short", "pickled", "extension", "list", "no type", "type", "deep", "deeper", "bomb", "cut", "empty"],
)
def test_hostile_messages_are_told(body: bytes, told: str) -> None:
    """Pickles, texts, records, bombs, nesting and other shapes than a map are refused, each by a sentence."""
    with pytest.raises(wire.WireError, match=told):
        wire.unpack(body)


def test_an_array_is_as_large_as_its_content() -> None:
    """A header that asks for a terabyte is refused before anything is allocated."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 8
    with pytest.raises(wire.WireError, match="declares 8000000000000 bytes, but 8 are present"):
        wire.unpack(msgpack.packb({"type": "act", "action": msgpack.ExtType(1, content)}))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_arrive(space: gym.Space) -> None:
    """A described space that went through a message is the same space, and its actions that went through one belong to it."""
    assert build_space(sent({"type": "reset", "space": describe_space(space)})["space"]) == space
    space.seed(0)
    for _ in range(5):
        action = space.sample()
        assert space.contains(received_action(space, sent({"type": "act", "action": action})["action"])) or np.isscalar(action)


def test_other_spaces_are_refused() -> None:
    """A space that no message describes is named."""
    with pytest.raises(SettingsError, match="cannot be described"):
        describe_space(gym.spaces.Sequence(gym.spaces.Discrete(2)))
