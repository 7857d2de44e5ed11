"""Frames of the event-stream protocol."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge_simulator.ipc.wire import Flag, Frame, MessageType, WireError, encode, read_frame

INT32 = st.integers(-(2**31), 2**31 - 1)
HEADERS = st.dictionaries(
    st.text(min_size=1, max_size=20).filter(lambda name: not name.startswith(":")),
    st.one_of(st.booleans(), INT32, st.text(max_size=50), st.binary(max_size=50)),
    max_size=5,
)
FRAMES = st.builds(
    Frame,
    type=st.sampled_from(MessageType),
    flags=st.sampled_from([Flag.NONE, Flag.CONNECTION_ACCEPTED, Flag.TERMINATE_STREAM]),
    stream=st.integers(0, 2**31 - 1),
    headers=HEADERS,
    payload=st.binary(max_size=100),
)


def reader(data: bytes) -> Callable[[int], bytes]:
    stream = io.BytesIO(data)

    def read(size: int) -> bytes:
        part = stream.read(size)
        if len(part) < size:
            raise EOFError
        return part

    return read


@given(FRAMES)
def test_what_is_written_is_read(frame: Frame) -> None:
    assert read_frame(reader(encode(frame))) == frame


def test_bytes_of_a_connect_message() -> None:
    """The worked example: lengths, check sums and headers as the SDK writes them."""
    frame = Frame(MessageType.CONNECT, headers={":version": "0.1.0"}, payload=b'{"authToken": "T"}')
    written = encode(frame)
    assert int.from_bytes(written[:4], "big") == len(written)
    assert b"\x0d:message-type\x04\x00\x00\x00\x04" in written
    assert b"\x0e:message-flags\x04\x00\x00\x00\x00" in written
    assert b"\x0a:stream-id\x04\x00\x00\x00\x00" in written
    assert b"\x08:version\x07\x00\x050.1.0" in written
    assert written.endswith(b'{"authToken": "T"}' + written[-4:])


@given(FRAMES, st.integers(0, 10_000), st.integers(1, 255))
def test_one_wrong_byte_is_noticed(frame: Frame, at: int, change: int) -> None:
    written = bytearray(encode(frame))
    written[at % len(written)] ^= change
    with pytest.raises((WireError, EOFError)):
        read_frame(reader(bytes(written)))


def test_absurd_length_is_refused_before_it_is_read() -> None:
    prelude = struct.pack(">II", 2**31, 0)
    with pytest.raises(WireError, match="is not allowed"):
        read_frame(reader(prelude + struct.pack(">I", crc32(prelude))))
