"""Slots that were granted to a client; for both clients."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reprise import errors
from reprise._hold import Hold, any_alive
from reprise._requests import NamespaceRequests, hints_field
from reprise.blocks import Prompt, array_of
from reprise.hints import Hints
from reprise.v1 import cache_pb2 as pb

if TYPE_CHECKING:
    import numpy
    import numpy.typing


class GrantedSlots:
    """Slots of the server's RAM, until they are sealed or released. Thread-compatible."""

    def __init__(self, ns: NamespaceRequests, slots: Sequence[pb.GrantedSlot], hold: Hold) -> None:
        self._ns = ns
        self._slots = slots
        self._hold: Hold | None = hold
        self._windows: list[weakref.ref[object]] = []

    def __len__(self) -> int:
        """Slots; fewer than asked for when there was no more room."""
        return len(self._slots)

    def buffer(self, index: int) -> memoryview:
        """The bytes of slot `index`, to be written. They are whatever lay there before.

        LeaseEnded: the grant was sealed or released.
        """
        hold = self._held()
        assert hold.arena is not None
        window = hold.arena.window(self._slots[index].offset, self._ns.block_bytes, hold)
        self._windows.append(weakref.ref(window))
        return memoryview(window).cast("B")

    def array(self, index: int, dtype: numpy.typing.DTypeLike,
              shape: Sequence[int] | None = None) -> numpy.ndarray[Any, Any]:
        """As `buffer`, as a numpy array: `grant.array(0, "float32", layout.shape)[:] = kv`."""
        return array_of(self.buffer(index), dtype, shape)

    def release(self) -> None:
        """Gives the slots back, once no view is left. Returns at once; again: nothing happens."""
        self._hold = None

    def _held(self) -> Hold:
        if self._hold is None:
            raise errors.LeaseEnded("the grant was sealed or released")
        return self._hold

    def _seal_request(self, session_id: bytes, names: Sequence[Iterable[int] | bytes],
                      prefix: Prompt, independent_keys: bool,
                      hints: Hints | None) -> pb.SealRequest:
        """Errors as Grant.seal names them."""
        self._held()
        in_use = any_alive(self._windows)
        if in_use > 0:
            raise errors.BufferInUse(f"{in_use} views of granted slots are in use; delete them, "
                                     "and what was made from them, before the slots are sealed")
        if len(names) > len(self._slots):
            raise ValueError(f"{len(names)} blocks are named, {len(self._slots)} slots are granted")
        return pb.SealRequest(
            session_id=session_id, namespace_id=self._ns.namespace_id,
            independent_keys=independent_keys,
            blocks=[pb.SealBlock(grant_id=slot.grant_id, **self._ns.block_name(name))
                    for slot, name in zip(self._slots, names, strict=False)],
            **self._ns.prompt_fields(prefix, "prefix_"), **hints_field(hints))
