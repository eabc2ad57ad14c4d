"""Sessions and leases, blocking."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from reprise import _methods as methods
from reprise import errors
from reprise._hold import Hold
from reprise._transport import Transport
from reprise.blocks import Block, Prompt, PutReport
from reprise.granting import GrantedSlots
from reprise.hints import Hints
from reprise.leasing import (RENEW_AFTER, RETRY_SECONDS, LeaseBook, LeaseFacts, LeaseRecord,
                             PrefillEstimate, acquire_request, blocks_in_place, lease_get_request)
from reprise.namespace import Namespace
from reprise.v1 import cache_pb2 as pb

if TYPE_CHECKING:
    from reprise._arena import Arena


class Lease(LeaseFacts):
    """A cached prefix, held in RAM. Made by Session.acquire. Thread-safe.

    It is renewed while it, or a view of one of its blocks, is referred to. `release`, or leaving
    its `with`, gives it back; with shared memory, not before the last view has gone: a view never
    shows bytes other than its block's.
    """

    def __init__(self, session: Session, namespace: Namespace, response: pb.AcquireResponse,
                 record: LeaseRecord, hold: Hold | None) -> None:
        super().__init__(response, record, hold)
        self._session = session
        self._namespace = namespace

    def wait(self, timeout: float | None = None) -> int:
        """Waits until all blocks are in RAM; how many are good. BLOCKS.

        Raises:
            DeadlineExceeded: they are not within `timeout` seconds (None: the client's).
            LeaseEnded: it has expired, was released, or no block could be loaded.
        """
        if self._hold is None and self._record.lease_id:
            raise errors.LeaseEnded("the lease was released")
        self._session._wait(self._record, timeout)
        return self._record.num_blocks

    def blocks(self, *, verify: bool = True, timeout: float | None = None) -> Iterator[Block]:
        """The blocks held, once they are in RAM. BLOCKS as `wait`; errors as `wait`.

        With shared memory a block's buffer lies in the server's RAM; otherwise it is sent.

        Args:
            verify: compare each block with its XXH3-64, where the server knows it.

        Raises:
            ChecksumMismatch: the bytes are not those that were stored.
        """
        self.wait(timeout)
        hold = self._hold
        if hold is None:
            return
        if hold.arena is None:
            yield from self._sent_blocks(verify, timeout)
            return
        yield from blocks_in_place(self._record, hold, self._namespace.block_bytes, verify)

    def end_request(self, hints: Hints = Hints(), *, output_tokens: int = 0,
                    timeout: float | None = None) -> None:
        """Gives the lease back now, and tells how the request that it was for has ended. BLOCKS.

        The lease ends with the call, also where it fails: no other thread may use it meanwhile. Of
        a lease of nothing nobody is told.

        Args:
            hints: `finish_reason` of this turn, `session_closed`, and what else is known by now.
            output_tokens: length of the answer; 0: not said.

        Raises:
            BufferInUse: with shared memory: a view of a block is left. The lease goes on.
            InvalidArgument: a hint is out of its range.
            LeaseEnded: it was released.
        """
        request = self._end_request(self._session.id, hints, output_tokens)
        if not request.lease_ids:
            return
        try:
            self._session._send_release(request, timeout)
        except BaseException:
            self._session._released.put(list(request.lease_ids))
            raise

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.release()

    def _sent_blocks(self, verify: bool, timeout: float | None) -> Iterator[Block]:
        stream = self._session._transport.stream(
            methods.GET,
            lease_get_request(self._session.id, self._namespace._requests, self._record), timeout)
        try:
            for sent in stream:
                yield Block.from_wire(sent, verify)
        except errors.NotFound as error:
            raise errors.LeaseEnded(error.message) from None
        finally:
            stream.cancel()


class Grant(GrantedSlots):
    """Slots of the server's RAM for this client to fill. Made by Session.grant. For one thread.

    `seal` publishes them; what was not sealed is given back by `release`, or by leaving the `with`,
    once no view of it is left.
    """

    def __init__(self, session: Session, namespace: Namespace, slots: Sequence[pb.GrantedSlot],
                 hold: Hold) -> None:
        super().__init__(namespace._requests, slots, hold)
        self._session = session

    def seal(self, names: Sequence[Iterable[int] | bytes], *, prefix: Prompt = (),
             independent_keys: bool = False, hints: Hints | None = None,
             timeout: float | None = None) -> PutReport:
        """Publishes the first slots, in order, behind `prefix`, as Namespace.put does.

        A published block never changes, so no view of a slot may be left: `del` the arrays first.
        The grant ends with the call, also where it fails.

        Args:
            names: of each block its own token ids, or its external key.
            prefix: everything before the first block: whole blocks, stored already.
            independent_keys: each block stands alone under its external key.
            hints: of the request that the blocks are of.

        Raises:
            BufferInUse: there are such views. The grant goes on.
            FailedPrecondition: the prefix is not stored.
        """
        request = self._seal_request(self._session.id, names, prefix, independent_keys, hints)
        hold, self._hold = self._hold, None
        try:
            return PutReport.from_proto(
                self._session._transport.unary(methods.SEAL, request, timeout))
        finally:
            del hold  # not sooner: what was not sealed is released

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.release()


class Session:
    """What this client holds in the server: it ends with `close`, and with the process.

    Made by Client.session. Thread-safe; has two threads of its own, which hear of leases and renew
    them. BLOCKS until the server has answered.

    Attributes:
        max_ttl: seconds that a lease lives without being renewed, such as when this process stops.
        max_lease_bytes: that its leases may hold.

    Raises:
        FailedPrecondition: shared memory was asked for, and is not offered to this client.
        Unavailable: its memory cannot be had: the server is on another machine.
        ResourceExhausted: there are too many sessions.
    """

    def __init__(self, transport: Transport, request: pb.OpenSessionRequest,
                 timeout: float | None) -> None:
        self._transport = transport
        self._changed = threading.Condition()
        self._book = LeaseBook()
        self._released: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._arena: Arena | None = None
        self._opened: pb.SessionOpened | None = None
        self._stream = transport.stream(methods.OPEN_SESSION, request, float("inf"))
        self._failure: errors.RepriseError | None = None
        self._threads = [threading.Thread(target=work, name=f"reprise-session-{what}", daemon=True)
                         for what, work in (("events", self._hear), ("leases", self._keep))]
        self._threads[0].start()
        try:
            opened = self._await_opened(timeout)
            self.id = opened.session_id
            self.max_ttl = opened.max_ttl_seconds
            self.max_lease_bytes = opened.max_lease_bytes
            if request.shared_memory:
                from reprise._arena import Arena  # only where there is shared memory

                place = opened.shared_memory
                self._arena = Arena(place.socket_path, self.id, place.arena_bytes,
                                    transport.limit(timeout))
        except BaseException:
            self._stream.cancel()
            raise
        self._threads[1].start()

    @property
    def shared_memory(self) -> bool:
        """Blocks of leases are read where the server has them."""
        return self._arena is not None

    def acquire(self, namespace: Namespace, prompt: Prompt, *, first_block: int = 0,
                max_blocks: int = 0, prefill: PrefillEstimate | None = None,
                follow_advice: bool = False, hints: Hints | None = None,
                timeout: float | None = None) -> Lease:
        """Holds the longest cached prefix of `prompt`, and starts loading what is not in RAM.

        Never waits for loads: `Lease.wait` does. Nothing cached is no error: a lease of nothing.

        Args:
            first_block: of the prompt, where the lease begins.
            max_blocks: that it holds; 0: all.
            prefill: asks for advice.
            follow_advice: hold only what the advice says to load.

        Raises:
            ResourceExhausted: the session holds as much as it may.
            LeaseEnded: the session has ended.
        """
        request = acquire_request(self.id, namespace._requests, prompt, first_block=first_block,
                                  max_blocks=max_blocks, prefill=prefill,
                                  follow_advice=follow_advice, hints=hints)
        with self._changed:
            self._book.begin()
        try:
            response = self._transport.unary(methods.ACQUIRE, request, timeout)
            if not response.HasField("lease"):
                return Lease(self, namespace, response, LeaseRecord(), None)
            with self._changed:
                record = self._book.add(response.lease)
            hold = Hold([record.lease_id], self._arena, self._released.put)
            return Lease(self, namespace, response, record, hold)
        finally:
            with self._changed:
                self._book.finish()

    def grant(self, namespace: Namespace, num_blocks: int, *,
              timeout: float | None = None) -> Grant:
        """Slots for blocks of `namespace`, to be written where they will lie.

        Raises:
            FailedPrecondition: the session has no shared memory that it may write.
            ResourceExhausted: there is no room for a single one.
            LeaseEnded: the session has ended.
        """
        if self._arena is None or not self._arena.writable:
            raise errors.FailedPrecondition("the session has no shared memory that it may write")
        with self._changed:
            self._book.begin()
        try:
            response = self._transport.unary(
                methods.GRANT, pb.GrantRequest(session_id=self.id, namespace_id=namespace.id,
                                               num_blocks=num_blocks), timeout)
            ids = [slot.grant_id for slot in response.slots]
            with self._changed:
                for grant_id in ids:
                    self._book.add_id(grant_id)
            return Grant(self, namespace, tuple(response.slots),
                         Hold(ids, self._arena, self._released.put))
        finally:
            with self._changed:
                self._book.finish()

    def close(self) -> None:
        """Ends the session and its leases; views that are left stay good. Idempotent."""
        self._end("the session was closed")
        self._released.put(None)
        self._stream.cancel()
        for thread in self._threads:
            thread.join()
        self._arena = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _await_opened(self, timeout: float | None) -> pb.SessionOpened:
        with self._changed:
            self._changed.wait_for(lambda: self._opened is not None or self._failure is not None,
                                   self._transport.limit(timeout))
            if self._failure is not None:
                raise self._failure
            if self._opened is None:
                raise errors.DeadlineExceeded("the server has not opened the session in time")
            return self._opened

    def _wait(self, record: LeaseRecord, timeout: float | None) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: record.settled, self._transport.limit(timeout)):
                raise errors.DeadlineExceeded("the lease's blocks are still being loaded")
            if record.error is not None:
                raise errors.LeaseEnded(record.error.message)

    def _end(self, message: str, failure: errors.RepriseError | None = None) -> None:
        with self._changed:
            self._book.end(message)
            self._failure = failure
            self._changed.notify_all()

    def _hear(self) -> None:
        """Thread: what the server tells of the leases."""
        failure: errors.RepriseError = errors.Unavailable("the server has ended the session")
        try:
            for event in self._stream:
                with self._changed:
                    if event.WhichOneof("event") == "opened":
                        self._opened = event.opened
                    else:
                        self._book.take(event.lease)
                    self._changed.notify_all()
        except errors.RepriseError as error:
            failure = error
        self._end(f"the session has ended: {failure.message}", failure)
        self._released.put(None)

    def _keep(self) -> None:
        """Thread: renews what is held, and releases what nobody refers to any more."""
        unsent: list[bytes] = []
        interval = self.max_ttl * RENEW_AFTER
        renew_at = time.monotonic() + interval
        not_before = 0.0  # of the next try
        while True:
            due = not_before if unsent else max(renew_at, not_before)
            try:
                ids = self._released.get(timeout=max(0.0, due - time.monotonic()))
                if ids is None:
                    return
                unsent += ids
            except queue.Empty:
                pass
            try:
                if unsent:
                    self._send_release(
                        pb.ReleaseRequest(session_id=self.id, lease_ids=unsent), interval)
                    unsent = []
                if time.monotonic() >= renew_at:
                    self._renew(interval)
                    renew_at = time.monotonic() + interval
            except errors.RepriseError:
                not_before = time.monotonic() + min(RETRY_SECONDS, interval)

    def _send_release(self, request: pb.ReleaseRequest, timeout: float | None) -> None:
        self._transport.unary(methods.RELEASE, request, timeout)
        with self._changed:
            self._book.forget(list(request.lease_ids))

    def _renew(self, timeout: float) -> None:
        with self._changed:
            if not self._book.holding:
                return
        self._transport.unary(methods.RENEW, pb.RenewRequest(session_id=self.id), timeout)
