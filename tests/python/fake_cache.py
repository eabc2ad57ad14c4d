"""A cache that leases, as an unkind server would: what is released is overwritten at once.

So a client that looks at a slot after it has let go of it sees other bytes. One namespace, blocks
named by number: the prompt [n, n, n, ...] is block n, and each block is a slot of its own.
"""

from __future__ import annotations

import array
import concurrent.futures
import fcntl
import os
import pathlib
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import xxhash

from reprise.v1 import cache_pb2 as pb

BLOCK_BYTES = 8192
BLOCK_TOKENS = 8
NUM_SLOTS = 16
_HEAD_START = 0.1


def content(block: int) -> bytes:
    """Bytes of the block numbered so."""
    return random.Random(block).randbytes(BLOCK_BYTES)


class FakeCache:
    """Thread-safe.

    Attributes:
        address: what clients connect to.
        held: ids of leases and grants that are held.
        renewals: Renew calls that have come.
        releases: Release calls that have come.
        fail_next: names of RPCs that are answered UNAVAILABLE once.
        connections: of clients to the arena.
        sealed: bytes of the blocks that clients have sealed.
        wrong_checksums: places come with checksums of other bytes.
        event_first: a lease is said to be ready before Acquire is answered.
        announce: what the session says next; None: it ends.
    """

    def __init__(self, folder: pathlib.Path, *, writable: bool = False, ttl: float = 30.0,
                 loading: bool = False) -> None:
        self.lock = threading.Condition()
        self.held: dict[bytes, list[int]] = {}
        self.renewals = 0
        self.releases: list[pb.ReleaseRequest] = []
        self.fail_next: set[str] = set()
        self.connections = 0
        self.sealed: list[bytes] = []
        self.announce: queue.SimpleQueue[pb.SessionEvent | None] = queue.SimpleQueue()
        self.wrong_checksums = False
        self.event_first = False
        self._writable = writable
        self._ttl = ttl
        self._loading = loading
        self._ids = 0
        self._fd = os.memfd_create("arena", os.MFD_ALLOW_SEALING)
        os.ftruncate(self._fd, NUM_SLOTS * BLOCK_BYTES)
        fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self._socket_path = str(folder / "arena")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self._socket_path)
        self._socket.listen()
        threading.Thread(target=self._hand_out, daemon=True).start()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        unary: dict[str, tuple[Callable[..., Any], Any]] = {
            "OpenNamespace": (self._open_namespace, pb.OpenNamespaceRequest),
            "Acquire": (self._acquire, pb.AcquireRequest),
            "Renew": (self._renew, pb.RenewRequest),
            "Release": (self._release, pb.ReleaseRequest),
            "Grant": (self._grant, pb.GrantRequest),
            "Seal": (self._seal, pb.SealRequest)}
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                self._failing(name, method), request.FromString,
                lambda message: message.SerializeToString())
            for name, (method, request) in unary.items()}
        for name, stream, kind in (("OpenSession", self._open_session, pb.OpenSessionRequest),
                                   ("Get", self._get, pb.GetRequest)):
            handlers[name] = grpc.unary_stream_rpc_method_handler(
                stream, kind.FromString, lambda message: message.SerializeToString())
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("reprise.v1.Cache", handlers),))
        self.address = f"unix:{folder}/cache"
        self._server.add_insecure_port(self.address)
        self._server.start()

    def close(self) -> None:
        self.announce.put(None)
        self._server.stop(0).wait()
        self._socket.close()
        os.close(self._fd)

    def await_held(self, count: int) -> None:
        """Waits until so many leases and grants are held."""
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.held) == count, 20), self.held

    def await_connections(self, count: int) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: self.connections == count, 20), self.connections

    def await_renewals(self, count: int) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: self.renewals >= count, 20), self.renewals

    def ready(self, lease_id: bytes, num_blocks: int) -> None:
        """Tells that a lease which was loading is ready with so many blocks, or has ended."""
        phase = pb.LEASE_PHASE_READY if num_blocks > 0 else pb.LEASE_PHASE_ENDED
        with self.lock:
            slots = self.held[lease_id][:num_blocks]
        self.announce.put(pb.SessionEvent(lease=pb.LeaseState(
            lease_id=lease_id, phase=phase, num_blocks=num_blocks, places=self._places(slots))))

    def _failing(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: object, context: grpc.ServicerContext) -> object:
            with self.lock:
                fails = name in self.fail_next
                self.fail_next.discard(name)
                self.lock.notify_all()
            if fails:
                context.abort(grpc.StatusCode.UNAVAILABLE, "made to fail")
            return method(request, context)
        return call

    def _hand_out(self) -> None:
        flags = os.O_RDWR if self._writable else os.O_RDONLY
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if connection.recv(16) != b"s" * 16:
                connection.close()
                continue
            fd = os.open(f"/proc/self/fd/{self._fd}", flags)
            connection.sendmsg([b"a"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                         array.array("i", [fd]))])
            os.close(fd)
            threading.Thread(target=self._await_hangup, args=(connection,), daemon=True).start()

    def _await_hangup(self, connection: socket.socket) -> None:
        with self.lock:
            self.connections += 1
            self.lock.notify_all()
        connection.recv(1)
        connection.close()
        with self.lock:
            self.connections -= 1
            self.lock.notify_all()
        self._overwrite(range(NUM_SLOTS))

    def _overwrite(self, slots: range | list[int]) -> None:
        for slot in slots:
            os.pwrite(self._fd, b"\xee" * BLOCK_BYTES, slot * BLOCK_BYTES)

    def _places(self, slots: list[int]) -> list[pb.SlotPlace]:
        return [pb.SlotPlace(offset=slot * BLOCK_BYTES, has_payload_xxh3=True,
                             payload_xxh3=xxhash.xxh3_64_intdigest(content(slot))
                             ^ int(self.wrong_checksums))
                for slot in slots]

    def _new_id(self, slots: list[int]) -> bytes:
        with self.lock:
            self._ids += 1
            new_id = self._ids.to_bytes(16, "big")
            self.held[new_id] = slots
            self.lock.notify_all()
        return new_id

    def _open_namespace(self, request: pb.OpenNamespaceRequest,
                        context: grpc.ServicerContext) -> pb.OpenNamespaceResponse:
        return pb.OpenNamespaceResponse(namespace_id=1, block_bytes=BLOCK_BYTES)

    def _open_session(self, request: pb.OpenSessionRequest,
                      context: grpc.ServicerContext) -> Iterator[pb.SessionEvent]:
        opened = pb.SessionOpened(session_id=b"s" * 16, max_ttl_seconds=self._ttl,
                                  max_lease_bytes=NUM_SLOTS * BLOCK_BYTES)
        if request.shared_memory:
            opened.shared_memory.socket_path = self._socket_path
            opened.shared_memory.arena_bytes = NUM_SLOTS * BLOCK_BYTES
        context.add_callback(lambda: self.announce.put(None))
        yield pb.SessionEvent(opened=opened)
        while True:
            event = self.announce.get()
            if event is None:
                return
            yield event

    def _acquire(self, request: pb.AcquireRequest,
                 context: grpc.ServicerContext) -> pb.AcquireResponse:
        slots = list(dict.fromkeys(request.token_ids))
        response = pb.AcquireResponse(match=pb.MatchResponse(
            ram_blocks=len(slots), matched_tokens=len(slots) * BLOCK_TOKENS))
        if request.HasField("prefill"):
            response.advice = pb.LOAD_ADVICE_LOAD_SOME
            response.advised_blocks = 1
            response.load_time.p50_seconds = 0.25
        if not slots:
            return response
        for slot in slots:
            os.pwrite(self._fd, content(slot), slot * BLOCK_BYTES)
        phase = pb.LEASE_PHASE_LOADING if self._loading else pb.LEASE_PHASE_READY
        response.lease.CopyFrom(pb.LeaseState(
            lease_id=self._new_id(slots), phase=phase, num_blocks=len(slots),
            places=[] if self._loading else self._places(slots)))
        if self.event_first:
            self.ready(response.lease.lease_id, len(slots))
            time.sleep(_HEAD_START)
        return response

    def _renew(self, request: pb.RenewRequest, context: grpc.ServicerContext) -> pb.RenewResponse:
        with self.lock:
            self.renewals += 1
            self.lock.notify_all()
        return pb.RenewResponse()

    def _release(self, request: pb.ReleaseRequest,
                 context: grpc.ServicerContext) -> pb.ReleaseResponse:
        self.releases.append(request)
        for held_id in request.lease_ids:
            self._overwrite(self.held.get(held_id, []))
            with self.lock:
                self.held.pop(held_id, None)
        with self.lock:
            self.lock.notify_all()
        return pb.ReleaseResponse()

    def _grant(self, request: pb.GrantRequest, context: grpc.ServicerContext) -> pb.GrantResponse:
        return pb.GrantResponse(slots=[
            pb.GrantedSlot(grant_id=self._new_id([slot]), offset=slot * BLOCK_BYTES)
            for slot in range(request.num_blocks)])

    def _seal(self, request: pb.SealRequest, context: grpc.ServicerContext) -> pb.PutResponse:
        time.sleep(_HEAD_START)  # for a Release that must not come before
        for block in request.blocks:
            with self.lock:
                (slot,) = self.held.pop(block.grant_id)
                self.lock.notify_all()
            self.sealed.append(os.pread(self._fd, BLOCK_BYTES, slot * BLOCK_BYTES))
        return pb.PutResponse(stored_blocks=len(request.blocks), results=[
            pb.PutResult(outcome=pb.PUT_OUTCOME_STORED) for _ in request.blocks])

    def _get(self, request: pb.GetRequest,
             context: grpc.ServicerContext) -> Iterator[pb.GetResponse]:
        with self.lock:
            slots = self.held[request.lease_id]
        for index, slot in enumerate(slots):
            payload = content(slot)
            yield pb.GetResponse(block_index=index, payload=payload, tier="ram",
                                 payload_xxh3=xxhash.xxh3_64_intdigest(payload))
