"""Messages that carry a block: their payload passes by protobuf, which would copy it.

Both are wire-compatible with GetResponse and PutRequest of cache.proto.
"""

from __future__ import annotations

import dataclasses

from reprise.v1 import cache_pb2 as pb

_GET_PAYLOAD = pb.GetResponse.DESCRIPTOR.fields_by_name["payload"].number
_PUT_PAYLOAD = pb.PutRequest.DESCRIPTOR.fields_by_name["payload"].number
_LENGTH_DELIMITED = 2


@dataclasses.dataclass(frozen=True, slots=True)
class SentBlock:
    """A GetResponse: `header` without its payload; `payload` is a view into the message."""

    header: pb.GetResponse
    payload: memoryview


@dataclasses.dataclass(frozen=True, slots=True)
class PutMessage:
    """A PutRequest: `header` without its payload, which is `payloads`, one behind the other."""

    header: pb.PutRequest
    payloads: tuple[memoryview | bytes, ...]


def parse_sent_block(message: bytes) -> SentBlock:
    """Copies nothing but the few bytes of the header.

    ValueError: it is no GetResponse, or one of several blocks, for which this client never asks.
    """
    payload = memoryview(b"")
    header = bytearray()
    view = memoryview(message)
    at = 0
    while at < len(message):
        begin = at
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, at = _read_varint(message, at)
            at += length
            if tag >> 3 == _GET_PAYLOAD and at <= len(message):
                payload = view[at - length:at]
                continue
        elif kind == 0:
            _, at = _read_varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"a GetResponse has a field of wire type {kind}")
        if at > len(message):
            raise ValueError("a GetResponse ends inside a field")
        header += view[begin:at]
    response = pb.GetResponse.FromString(bytes(header))
    if response.more_xxh3:
        raise ValueError("a GetResponse has several blocks, one was asked for")
    return SentBlock(response, payload)


def serialize_put(message: PutMessage) -> bytes:
    """One copy of the payloads, into the message."""
    header = message.header.SerializeToString()
    tag = _varint(_PUT_PAYLOAD << 3 | _LENGTH_DELIMITED)
    size = sum(len(payload) for payload in message.payloads)
    return b"".join((header, tag, _varint(size), *message.payloads))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a GetResponse ends inside a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a GetResponse has a number of more than 10 bytes")
