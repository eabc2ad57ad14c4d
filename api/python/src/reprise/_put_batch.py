"""The blocks of a Put, several in a message where they are small; for both clients."""

from __future__ import annotations

from reprise._requests import NamespaceRequests
from reprise._wire import PutMessage
from reprise.blocks import NewBlock, Prompt, bytes_of, hash_bytes
from reprise.hints import Hints
from reprise.v1 import cache_pb2 as pb

# Of one message: of the smallest blocks, what names them would be more than it may hold.
_MAX_BLOCKS = 4096


class PutBatch:
    """Puts blocks into messages. Thread-compatible.

    A block that shares its message is copied when it comes, so that its buffer can be used for the
    next one.
    """

    def __init__(self, ns: NamespaceRequests, prefix: Prompt, independent_keys: bool,
                 hints: Hints | None) -> None:
        self._ns = ns
        self._most = max(1, min(_MAX_BLOCKS, ns.max_message_bytes // ns.block_bytes))
        self._header = ns.put_header(prefix, independent_keys, hints)
        self._payloads: list[memoryview | bytes] = []

    def add(self, block: NewBlock) -> PutMessage | None:
        """The message that is full with `block`; None: there is room for more.

        ValueError: the block has another size or another number of tokens than the namespace's.
        """
        name, buffer = block
        payload = bytes_of(buffer)
        if payload.nbytes != self._ns.block_bytes:
            raise ValueError(f"a block of this namespace is {self._ns.block_bytes} bytes long, "
                             f"this buffer {payload.nbytes}")
        named = pb.PutRequest(**self._ns.block_name(name))
        if not self._payloads:
            named.payload_xxh3 = hash_bytes(payload)
        else:
            named.more_xxh3.append(hash_bytes(payload))
            if named.external_key:
                named.more_external_keys.append(named.external_key)
                named.ClearField("external_key")
        self._header.MergeFrom(named)
        self._payloads.append(payload if self._most == 1 else bytes(payload))
        return self.rest() if len(self._payloads) == self._most else None

    def rest(self) -> PutMessage | None:
        """What came behind the last message; None: nothing."""
        if not self._payloads:
            return None
        message = PutMessage(self._header, tuple(self._payloads))
        self._header = pb.PutRequest()
        self._payloads = []
        return message
