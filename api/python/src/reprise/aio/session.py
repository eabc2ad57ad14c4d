"""Sessions and leases, for asyncio."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from reprise import _methods as methods
from reprise import errors
from reprise._hold import Hold
from reprise.aio._transport import Transport
from reprise.aio.namespace import Namespace
from reprise.blocks import Block, Prompt, PutReport
from reprise.granting import GrantedSlots
from reprise.hints import Hints
from reprise.leasing import (RENEW_AFTER, RETRY_SECONDS, LeaseBook, LeaseFacts, LeaseRecord,
                             PrefillEstimate, acquire_request, blocks_in_place, lease_get_request)
from reprise.v1 import cache_pb2 as pb

if TYPE_CHECKING:
    from reprise._arena import Arena


class Lease(LeaseFacts):
    """As reprise.Lease. Made by Session.acquire."""

    def __init__(self, session: Session, namespace: Namespace, response: pb.AcquireResponse,
                 record: LeaseRecord, hold: Hold | None) -> None:
        super().__init__(response, record, hold)
        self._session = session
        self._namespace = namespace

    async def wait(self, timeout: float | None = None) -> int:
        """As reprise.Lease.wait."""
        if self._hold is None and self._record.lease_id:
            raise errors.LeaseEnded("the lease was released")
        await self._session._wait(self._record, timeout)
        return self._record.num_blocks

    async def blocks(self, *, verify: bool = True,
                     timeout: float | None = None) -> AsyncIterator[Block]:
        """As reprise.Lease.blocks."""
        await self.wait(timeout)
        hold = self._hold
        if hold is None:
            return
        ns = self._namespace._requests
        if hold.arena is not None:
            for block in blocks_in_place(self._record, hold, ns.block_bytes, verify):
                yield block
            return
        stream = self._session._transport.stream(
            methods.GET, lease_get_request(self._session.id, ns, self._record), timeout)
        try:
            async for sent in stream:
                yield Block.from_wire(sent, verify)
        except errors.NotFound as error:
            raise errors.LeaseEnded(error.message) from None
        finally:
            stream.cancel()

    async def end_request(self, hints: Hints = Hints(), *, output_tokens: int = 0,
                          timeout: float | None = None) -> None:
        """As reprise.Lease.end_request."""
        request = self._end_request(self._session.id, hints, output_tokens)
        if not request.lease_ids:
            return
        try:
            await self._session._send_release(request, timeout)
        except BaseException:
            self._session._released.put(list(request.lease_ids))
            raise

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self.release()


class Grant(GrantedSlots):
    """As reprise.Grant. Made by Session.grant."""

    def __init__(self, session: Session, namespace: Namespace, slots: Sequence[pb.GrantedSlot],
                 hold: Hold) -> None:
        super().__init__(namespace._requests, slots, hold)
        self._session = session

    async def seal(self, names: Sequence[Iterable[int] | bytes], *, prefix: Prompt = (),
                   independent_keys: bool = False, hints: Hints | None = None,
                   timeout: float | None = None) -> PutReport:
        """As reprise.Grant.seal."""
        request = self._seal_request(self._session.id, names, prefix, independent_keys, hints)
        hold, self._hold = self._hold, None
        try:
            return PutReport.from_proto(
                await self._session._transport.unary(methods.SEAL, request, timeout))
        finally:
            del hold  # not sooner: what was not sealed is released

    async def __aenter__(self) -> Grant:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self.release()


class _Released:
    """What nobody refers to any more. `put` is for any thread, at any time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ids: collections.deque[list[bytes]] = collections.deque()
        self._there = asyncio.Event()

    def put(self, ids: list[bytes]) -> None:
        self._ids.append(ids)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the session with it
            self._loop.call_soon_threadsafe(self._there.set)

    async def get(self, patience: float) -> list[bytes]:
        """All that have come; none after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._there.wait()
        self._there.clear()
        ids: list[bytes] = []
        while self._ids:
            ids += self._ids.popleft()
        return ids


class Session:
    """As reprise.Session; opened by `async with`. Made by Client.session.

    Attributes:
        max_ttl: seconds that a lease lives without being renewed, such as when this process stops.
        max_lease_bytes: that its leases may hold.
    """

    id: bytes
    max_ttl: float
    max_lease_bytes: int

    def __init__(self, transport: Transport, request: pb.OpenSessionRequest,
                 timeout: float | None) -> None:
        self._transport = transport
        self._request = request
        self._timeout = timeout
        self._book = LeaseBook()
        self._arena: Arena | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Session:
        self._changed = asyncio.Event()
        self._released = _Released()
        self._stream = self._transport.stream(methods.OPEN_SESSION, self._request, float("inf"))
        try:
            async with asyncio.timeout(self._transport.limit(self._timeout)):
                await self._open()
        except TimeoutError:
            self._stream.cancel()
            raise errors.DeadlineExceeded("the server has not opened the session in time") from None
        except BaseException:
            self._stream.cancel()
            raise
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._keep())]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    @property
    def shared_memory(self) -> bool:
        """As reprise.Session.shared_memory."""
        return self._arena is not None

    async def acquire(self, namespace: Namespace, prompt: Prompt, *, first_block: int = 0,
                      max_blocks: int = 0, prefill: PrefillEstimate | None = None,
                      follow_advice: bool = False, hints: Hints | None = None,
                      timeout: float | None = None) -> Lease:
        """As reprise.Session.acquire."""
        request = acquire_request(self.id, namespace._requests, prompt, first_block=first_block,
                                  max_blocks=max_blocks, prefill=prefill,
                                  follow_advice=follow_advice, hints=hints)
        self._book.begin()
        try:
            response = await self._transport.unary(methods.ACQUIRE, request, timeout)
            if not response.HasField("lease"):
                return Lease(self, namespace, response, LeaseRecord(), None)
            record = self._book.add(response.lease)
            hold = Hold([record.lease_id], self._arena, self._released.put)
            return Lease(self, namespace, response, record, hold)
        finally:
            self._book.finish()

    async def grant(self, namespace: Namespace, num_blocks: int, *,
                    timeout: float | None = None) -> Grant:
        """As reprise.Session.grant."""
        if self._arena is None or not self._arena.writable:
            raise errors.FailedPrecondition("the session has no shared memory that it may write")
        self._book.begin()
        try:
            response = await self._transport.unary(
                methods.GRANT, pb.GrantRequest(session_id=self.id, namespace_id=namespace.id,
                                               num_blocks=num_blocks), timeout)
            ids = [slot.grant_id for slot in response.slots]
            for grant_id in ids:
                self._book.add_id(grant_id)
            return Grant(self, namespace, tuple(response.slots),
                         Hold(ids, self._arena, self._released.put))
        finally:
            self._book.finish()

    async def close(self) -> None:
        """As reprise.Session.close."""
        self._end("the session was closed")
        if self._tasks:
            self._stream.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._arena = None

    async def _open(self) -> None:
        event = await anext(self._stream, None)
        if event is None:
            raise errors.Unavailable("the server has ended the session")
        opened = event.opened
        self.id = opened.session_id
        self.max_ttl = opened.max_ttl_seconds
        self.max_lease_bytes = opened.max_lease_bytes
        if self._request.shared_memory:
            from reprise._arena import Arena  # only where there is shared memory

            place = opened.shared_memory
            self._arena = await asyncio.to_thread(
                Arena, place.socket_path, self.id, place.arena_bytes,
                self._transport.limit(self._timeout))

    async def _wait(self, record: LeaseRecord, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(self._transport.limit(timeout)):
                while not record.settled:
                    await self._changed.wait()
        except TimeoutError:
            raise errors.DeadlineExceeded("the lease's blocks are still being loaded") from None
        if record.error is not None:
            raise errors.LeaseEnded(record.error.message)

    def _tell(self) -> None:
        """Wakes up all who wait for a lease."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _end(self, message: str) -> None:
        self._book.end(message)
        if self._tasks:
            self._tell()

    async def _hear(self) -> None:
        """Task: what the server tells of the leases."""
        message = "the server has ended the session"
        try:
            async for event in self._stream:
                self._book.take(event.lease)
                self._tell()
        except errors.RepriseError as error:
            message = error.message
        self._end(f"the session has ended: {message}")

    async def _keep(self) -> None:
        """Task: renews what is held, and releases what nobody refers to any more."""
        clock = asyncio.get_running_loop().time
        unsent: list[bytes] = []
        interval = self.max_ttl * RENEW_AFTER
        renew_at = clock() + interval
        not_before = 0.0  # of the next try
        while self._book.ended is None:
            due = not_before if unsent else max(renew_at, not_before)
            unsent += await self._released.get(max(0.0, due - clock()))
            try:
                if unsent:
                    await self._send_release(
                        pb.ReleaseRequest(session_id=self.id, lease_ids=unsent), interval)
                    unsent = []
                if clock() >= renew_at:
                    if self._book.holding:
                        await self._transport.unary(
                            methods.RENEW, pb.RenewRequest(session_id=self.id), interval)
                    renew_at = clock() + interval
            except errors.RepriseError:
                not_before = clock() + min(RETRY_SECONDS, interval)

    async def _send_release(self, request: pb.ReleaseRequest, timeout: float | None) -> None:
        await self._transport.unary(methods.RELEASE, request, timeout)
        self._book.forget(list(request.lease_ids))
