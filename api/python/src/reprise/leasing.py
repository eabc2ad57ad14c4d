"""What a session says of its leases."""

from __future__ import annotations

import dataclasses
import enum
import weakref
from collections.abc import Iterator
from typing import Any

from reprise import errors
from reprise._hold import Hold
from reprise._requests import NamespaceRequests, hints_field
from reprise.blocks import Block, Match, Prompt, check_bytes
from reprise.hints import Hints
from reprise.v1 import cache_pb2 as pb

# After a Renew or Release that has failed, and before it is tried again.
RETRY_SECONDS = 0.5
# Of the time that a lease lives, how much passes before it is renewed.
RENEW_AFTER = 1 / 3


class Advice(enum.IntEnum):
    """Whether to load what is cached, or to compute it."""

    NONE = 0  # none was asked for
    LOAD = 1  # loading all of it is the faster way
    LOAD_SOME = 2  # load advised_blocks, compute what is behind them
    RECOMPUTE = 3  # computing is the faster way, whatever is cached


@dataclasses.dataclass(frozen=True, slots=True)
class PrefillEstimate:
    """Asks for advice.

    Attributes:
        tokens_per_second: at which the caller computes the prompt.
        deadline_seconds: by which it wants the prefix; 0: none.
    """

    tokens_per_second: float
    deadline_seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class LoadTime:
    """Predicted seconds until all that is held is in RAM, the queue ahead included."""

    p50_seconds: float
    p90_seconds: float


class LeaseRecord:
    """What is known of a lease. Thread-compatible: its session's lock, or event loop, guards it.

    Attributes:
        lease_id: empty: nothing is held.
        settled: ready or ended; num_blocks does not change any more.
        error: why it has ended; None: it has not.
    """

    def __init__(self, lease_id: bytes = b"") -> None:
        self.lease_id = lease_id
        self.settled = not lease_id
        self.error: errors.RepriseError | None = None
        self.first_block = 0
        self.num_blocks = 0
        self.places: tuple[pb.SlotPlace, ...] = ()

    def take(self, state: pb.LeaseState) -> None:
        """States come in any order: one that has ended stays so."""
        if self.error is not None:
            return
        if state.phase == pb.LEASE_PHASE_ENDED:
            self.end("the lease has ended: it has expired, or none of its blocks could be loaded")
        elif not self.settled:
            self.first_block = state.first_block
            self.num_blocks = state.num_blocks
            self.places = tuple(state.places)
            self.settled = state.phase == pb.LEASE_PHASE_READY

    def end(self, message: str) -> None:
        """Nothing more can be read."""
        self.settled = True
        if self.error is None and self.lease_id:
            self.error = errors.LeaseEnded(message)


class LeaseBook:
    """The leases of a session, by id. Thread-compatible: its session guards it."""

    def __init__(self) -> None:
        self.ended: str | None = None  # why the session has
        self._records: dict[bytes, LeaseRecord] = {}
        # An event may come before the answer that tells of its lease.
        self._early: dict[bytes, list[pb.LeaseState]] = {}
        self._acquiring = 0

    @property
    def holding(self) -> bool:
        """There is something to renew."""
        return bool(self._records)

    def begin(self) -> None:
        """An Acquire or Grant is about to be sent. LeaseEnded: the session has ended."""
        if self.ended is not None:
            raise errors.LeaseEnded(self.ended)
        self._acquiring += 1

    def finish(self) -> None:
        """It has been answered, or has failed."""
        self._acquiring -= 1
        if self._acquiring == 0:
            self._early.clear()

    def add(self, lease: pb.LeaseState) -> LeaseRecord:
        """A lease that Acquire has answered."""
        record = self.add_id(lease.lease_id)
        record.take(lease)
        for state in self._early.pop(lease.lease_id, ()):
            record.take(state)
        return record

    def add_id(self, held_id: bytes) -> LeaseRecord:
        """Something that must be renewed."""
        record = self._records[held_id] = LeaseRecord(held_id)
        if self.ended is not None:
            record.end(self.ended)
        return record

    def take(self, state: pb.LeaseState) -> None:
        """An event."""
        record = self._records.get(state.lease_id)
        if record is not None:
            record.take(state)
        elif self._acquiring > 0:
            self._early.setdefault(state.lease_id, []).append(state)

    def forget(self, ids: list[bytes]) -> None:
        """They have been released."""
        for held_id in ids:
            self._records.pop(held_id, None)

    def end(self, message: str) -> None:
        """The session has ended."""
        if self.ended is None:
            self.ended = message
        for record in self._records.values():
            record.end(message)


class LeaseFacts:
    """What Acquire has said of a lease; for both clients.

    Attributes:
        match: all that is cached of the prompt, from its first block on.
        load_time: predicted, of what is held and not in RAM.
        advice: load or recompute, when an estimate was given.
        advised_blocks: leading blocks of the prompt to take from the cache.
    """

    def __init__(self, response: pb.AcquireResponse, record: LeaseRecord,
                 hold: Hold | None) -> None:
        self.match = Match.from_proto(response.match)
        self.load_time = LoadTime(response.load_time.p50_seconds, response.load_time.p90_seconds)
        self.advice = Advice(response.advice)
        self.advised_blocks = response.advised_blocks
        self._record = record
        self._hold = hold

    @property
    def first_block(self) -> int:
        """Number in the prompt of the first block held."""
        return self._record.first_block

    @property
    def num_blocks(self) -> int:
        """Blocks held; until the lease is ready, those hoped for."""
        return self._record.num_blocks

    @property
    def ready(self) -> bool:
        """All blocks are in RAM, so `blocks` will not wait; also of a lease of nothing."""
        return self._record.settled and self._record.error is None

    def release(self) -> None:
        """Gives the lease back, once no view is left. Returns at once; again: nothing happens."""
        self._hold = None

    def _end_request(self, session_id: bytes, hints: Hints,
                     output_tokens: int) -> pb.ReleaseRequest:
        """Takes the lease from what holds it. Errors as Lease.end_request names them."""
        hold, self._hold = self._hold, None
        ids: list[bytes] = []
        if hold is not None:
            ids += hold.ids
            hold.ids.clear()  # not released by its end
            still = weakref.ref(hold)
            del hold
            self._hold = still()
        if self._hold is not None:
            self._hold.ids += ids
            raise errors.BufferInUse("blocks of the lease are in use; delete their views, and what "
                                     "was made from them, before its request ends")
        if not ids and self._record.lease_id:
            raise errors.LeaseEnded("the lease was released")
        return pb.ReleaseRequest(session_id=session_id, lease_ids=ids, hints=hints.to_proto(),
                                 output_tokens=output_tokens)


def acquire_request(session_id: bytes, ns: NamespaceRequests, prompt: Prompt, *, first_block: int,
                    max_blocks: int, prefill: PrefillEstimate | None, follow_advice: bool,
                    hints: Hints | None) -> pb.AcquireRequest:
    """Fields as Session.acquire takes them."""
    fields: dict[str, Any] = {}
    if prefill is not None:
        fields["prefill"] = pb.PrefillEstimate(tokens_per_second=prefill.tokens_per_second,
                                               deadline_seconds=prefill.deadline_seconds)
    return pb.AcquireRequest(session_id=session_id, first_block=first_block, max_blocks=max_blocks,
                             follow_advice=follow_advice, **fields,
                             **ns.about(prompt), **hints_field(hints))


def lease_get_request(session_id: bytes, ns: NamespaceRequests,
                      record: LeaseRecord) -> pb.GetRequest:
    """Asks for the blocks of a lease to be sent."""
    return pb.GetRequest(namespace_id=ns.namespace_id, session_id=session_id,
                         lease_id=record.lease_id, first_block=record.first_block)


def blocks_in_place(record: LeaseRecord, hold: Hold, block_bytes: int,
                    verify: bool) -> Iterator[Block]:
    """The blocks of a lease that is ready, as views into shared memory that keep `hold`.

    ChecksumMismatch: `verify` is set and the bytes are not those that were stored.
    """
    arena = hold.arena
    assert arena is not None
    for index, place in enumerate(record.places, record.first_block):
        view = arena.view(place.offset, block_bytes, hold)
        if verify and place.has_payload_xxh3:
            check_bytes(view, place.payload_xxh3, index)
        yield Block(index, "ram", view)
