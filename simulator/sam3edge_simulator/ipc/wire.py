"""Frames of the event-stream RPC protocol, as Greengrass IPC speaks it over a Unix domain socket.

One frame, all numbers big-endian::

    u32 length of the whole frame
    u32 length of the headers
    u32 CRC-32 of the eight bytes before it
    headers: u8 length of the name, name, u8 type, value (type 4: i32; type 7: u16 length and UTF-8 text; ...)
    payload
    u32 CRC-32 of everything before it

Source: https://smithy.io/2.0/aws/amazon-eventstream.html and the SDK's ``awscrt.eventstream.rpc``, which is the client.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from zlib import crc32

PRELUDE_BYTES = 12
TRAILER_BYTES = 4
MAX_FRAME_BYTES = 24 * 1024 * 1024
"""The event-stream limit: 16 MiB of payload would be the smallest bound, the SDK's C library takes 24 MiB."""

MESSAGE_TYPE = ":message-type"
MESSAGE_FLAGS = ":message-flags"
STREAM_ID = ":stream-id"

HeaderValue = bool | int | str | bytes


class WireError(Exception):
    """What came over the socket is not a frame of this protocol; the connection cannot be used further."""


class MessageType(IntEnum):
    """Value of the header ``:message-type``."""

    APPLICATION_MESSAGE = 0
    APPLICATION_ERROR = 1
    PING = 2
    PING_RESPONSE = 3
    CONNECT = 4
    CONNECT_ACK = 5
    PROTOCOL_ERROR = 6
    INTERNAL_ERROR = 7


class Flag(IntFlag):
    """Bits of the header ``:message-flags``."""

    NONE = 0
    CONNECTION_ACCEPTED = 1
    TERMINATE_STREAM = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the protocol.

    Attributes:
        type: what kind of message it is.
        flags: connection accepted, stream ends here.
        stream: 0 for the connection itself, else the stream that the client opened with its request.
        headers: all other headers by name.
        payload: JSON text in UTF-8 for requests, answers and events; else usually empty.
    """

    type: MessageType
    flags: Flag = Flag.NONE
    stream: int = 0
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    payload: bytes = b""

    def text(self, header: str) -> str:
        """Value of a text header, empty when it is absent or of another type."""
        value = self.headers.get(header)
        return value if isinstance(value, str) else ""


def encode(frame: Frame) -> bytes:
    """Write one frame."""
    headers = b"".join(
        _encode_header(name, value)
        for name, value in {
            MESSAGE_TYPE: int(frame.type),
            MESSAGE_FLAGS: int(frame.flags),
            STREAM_ID: frame.stream,
            **frame.headers,
        }.items()
    )
    total = PRELUDE_BYTES + len(headers) + len(frame.payload) + TRAILER_BYTES
    prelude = struct.pack(">II", total, len(headers))
    body = prelude + struct.pack(">I", crc32(prelude)) + headers + frame.payload
    return body + struct.pack(">I", crc32(body))


def read_frame(read: Callable[[int], bytes]) -> Frame:
    """Read one frame.

    Args:
        read: returns exactly as many bytes as asked for, or raises.

    Raises:
        WireError: the bytes are no frame, or one of the check sums is wrong.
    """
    prelude = read(PRELUDE_BYTES)
    total, header_bytes, check = struct.unpack(">III", prelude)
    if crc32(prelude[:8]) != check:
        raise WireError("check sum of the frame's prelude does not match; the peer does not speak event-stream RPC")
    if not PRELUDE_BYTES + TRAILER_BYTES + header_bytes <= total <= MAX_FRAME_BYTES:
        raise WireError(f"frame of {total} bytes with {header_bytes} bytes of headers is not allowed")
    rest = read(total - PRELUDE_BYTES)
    (check,) = struct.unpack(">I", rest[-TRAILER_BYTES:])
    if crc32(rest[:-TRAILER_BYTES], crc32(prelude)) != check:
        raise WireError("check sum of the frame does not match")
    headers = _decode_headers(rest[:header_bytes])
    payload = rest[header_bytes:-TRAILER_BYTES]
    try:
        return Frame(
            type=MessageType(_integer(headers.pop(MESSAGE_TYPE, None), MESSAGE_TYPE)),
            flags=Flag(_integer(headers.pop(MESSAGE_FLAGS, None), MESSAGE_FLAGS)),
            stream=_integer(headers.pop(STREAM_ID, None), STREAM_ID),
            headers=headers,
            payload=payload,
        )
    except ValueError as error:
        raise WireError(f"frame with an unknown message type: {error}") from error


def _integer(value: HeaderValue | None, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WireError(f"every frame needs the 32-bit integer header {name}, this one has {value!r}")
    return value


def _encode_header(name: str, value: HeaderValue) -> bytes:
    encoded = name.encode()
    start = struct.pack(">B", len(encoded)) + encoded
    if isinstance(value, bool):
        return start + struct.pack(">B", 0 if value else 1)
    if isinstance(value, int):
        return start + struct.pack(">Bi", 4, value)
    raw, kind = (value, 6) if isinstance(value, bytes) else (value.encode(), 7)
    return start + struct.pack(">BH", kind, len(raw)) + raw


_INTEGERS = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}
"""Header types with a number: byte, int16, int32, int64 and time stamp (milliseconds since 1970)."""


def _decode_headers(data: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name, kind, at = data[at + 1 : name_end].decode(), data[name_end], name_end + 1
            if kind in (0, 1):
                headers[name] = kind == 0
            elif kind in _INTEGERS:
                (headers[name],) = struct.unpack_from(_INTEGERS[kind], data, at)
                at += struct.calcsize(_INTEGERS[kind])
            elif kind in (6, 7):
                (size,) = struct.unpack_from(">H", data, at)
                raw = data[at + 2 : at + 2 + size]
                headers[name] = raw if kind == 6 else raw.decode()
                at += 2 + size
            elif kind == 9:
                headers[name] = data[at : at + 16]
                at += 16
            else:
                raise WireError(f"header {name!r} has the unknown type {kind}")
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise WireError(f"headers of the frame are cut short or no text: {error}") from error
    return headers
