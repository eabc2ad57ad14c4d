"""A namespace of the cache, blocking."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import BinaryIO, TypeVar

from reprise import _methods as methods
from reprise import _requests as requests
from reprise import errors
from reprise._methods import Method
from reprise._put_batch import PutBatch
from reprise._requests import NamespaceRequests
from reprise._transport import ServerStream, Transport
from reprise._wire import PutMessage
from reprise.blocks import Block, Invalidated, Match, NewBlock, Prefetched, Prompt, PutReport
from reprise.hints import Hints
from reprise.identity import Identity
from reprise.v1 import cache_pb2 as pb

Request = TypeVar("Request")
Response = TypeVar("Response")


class Namespace:
    """Blocks that share everything but their tokens. Made by Client.open_namespace. Thread-safe.

    `timeout` of each call is in seconds; None: the client's. Every call may raise any RepriseError;
    the docstrings name those with a meaning of their own. A server that was started anew knows no
    namespace of its predecessor: it is opened again then, except in the middle of a Put.

    Attributes:
        identity: what it was opened from.
    """

    def __init__(self, transport: Transport, identity: Identity, *, shared: bool,
                 timeout: float | None) -> None:
        self.identity = identity
        self._transport = transport
        self._shared = shared
        self._lock = threading.Lock()
        self._requests = self._open(timeout)

    @property
    def block_bytes(self) -> int:
        """Size of a block."""
        return self._requests.block_bytes

    @property
    def id(self) -> int:
        """Its number in the server's process that is running now."""
        return self._requests.namespace_id

    def match(self, prompt: Prompt, *, hints: Hints | None = None,
              timeout: float | None = None) -> Match:
        """Length of the longest cached prefix of `prompt`, by tier. Moves nothing."""
        return Match.from_proto(self._unary(
            methods.MATCH, lambda ns: pb.MatchRequest(**ns.about(prompt, hints)), timeout))

    def exists(self, prompt: Prompt, *, timeout: float | None = None) -> int:
        """How many leading blocks of `prompt` are cached. Moves nothing."""
        return self._unary(methods.EXISTS, lambda ns: pb.ExistsRequest(**ns.about(prompt)),
                           timeout).leading_blocks

    def exists_each(self, keys: Sequence[bytes], *,
                    timeout: float | None = None) -> tuple[bool, ...]:
        """Which of the external keys, each of which stands alone, are cached."""
        return tuple(self._unary(
            methods.EXISTS,
            lambda ns: pb.ExistsRequest(independent_keys=True, **ns.about(keys)), timeout).exists)

    def touch(self, prompt: Prompt, *, hints: Hints | None = None,
              timeout: float | None = None) -> int:
        """Counts the cached prefix as used now; how many blocks that were. Moves nothing."""
        return self._unary(methods.TOUCH, lambda ns: pb.TouchRequest(**ns.about(prompt, hints)),
                           timeout).touched_blocks

    def prefetch(self, prompt: Prompt, *, max_blocks: int = 0, within: float = 0.0,
                 hints: Hints | None = None, timeout: float | None = None) -> Prefetched:
        """Starts bringing the cached prefix into RAM and returns at once; nothing is held.

        Args:
            max_blocks: of the prompt's begin; 0: all.
            within: seconds after which the rest is left; 0: 60.
        """
        response = self._unary(
            methods.PREFETCH,
            lambda ns: pb.PrefetchRequest(max_blocks=max_blocks, deadline_seconds=within,
                                          **ns.about(prompt, hints)), timeout)
        return Prefetched(response.ready_blocks, response.loading_blocks)

    def explain(self, prompt: Prompt, *, timeout: float | None = None) -> pb.ExplainResponse:
        """Why `prompt` hits or misses, block by block, and in a sentence (`summary`)."""
        return self._unary(methods.EXPLAIN, lambda ns: pb.ExplainRequest(**ns.about(prompt)),
                           timeout)

    def put(self, blocks: Iterable[NewBlock], *, prefix: Prompt = (),
            independent_keys: bool = False, hints: Hints | None = None,
            timeout: float | None = None) -> PutReport:
        """Stores blocks behind `prefix`, in order.

        Args:
            blocks: (token ids of the block, its bytes), or (external key, bytes); taken one by one,
                so a generator may make them as they are sent, small ones some at a time. Bytes are
                block_bytes of anything with a C-contiguous buffer. What it raises ends the call and
                is raised here; blocks before it may have been stored.
            prefix: everything before the first block: whole blocks, stored already.
            independent_keys: each block stands alone under its external key.
            hints: of the request that the blocks are of.

        Raises:
            FailedPrecondition: the prefix is not stored.
            ValueError: a block has a wrong size or number of tokens.
        """
        ns = self._requests

        def messages() -> Iterator[PutMessage]:
            batch = PutBatch(ns, prefix, independent_keys, hints)
            for block in blocks:
                full = batch.add(block)
                if full is not None:
                    yield full
            rest = batch.rest()
            if rest is not None:
                yield rest

        try:
            return PutReport.from_proto(self._transport.send(methods.PUT, messages(), timeout))
        except errors.NotFound:
            self._reopen(ns, timeout)
            raise

    def get(self, prompt: Prompt, *, first_block: int = 0, independent_keys: bool = False,
            verify: bool = True, hints: Hints | None = None,
            timeout: float | None = None) -> Iterator[Block]:
        """The blocks of the longest cached prefix, from `first_block` on, as they come.

        It ends early, without an error, where a block turns out bad: what came is good. The bytes
        of a block are a view into the message that brought it.

        Args:
            independent_keys: each external key stands alone; those that are missing are left out.
            verify: compare each block with the XXH3-64 that came with it.
            timeout: for all of them.

        Raises:
            ChecksumMismatch: a block was damaged on its way.
        """
        def request(ns: NamespaceRequests) -> pb.GetRequest:
            return pb.GetRequest(first_block=first_block, independent_keys=independent_keys,
                                 **ns.about(prompt, hints))

        with contextlib.closing(self._stream(methods.GET, request, timeout)) as stream:
            for sent in stream:
                yield Block.from_wire(sent, verify)

    def invalidate(self, prefix: Prompt | None = None, *,
                   timeout: float | None = None) -> Invalidated:
        """Takes blocks out of every tier: nothing older is found again, nor after a restart.

        Args:
            prefix: its last full block and all that have it in their own prefix; None: all of the
                namespace.

        Raises:
            Unavailable: the disk has not erased everything in time; ask again.
        """
        return Invalidated.from_proto(
            self._unary(methods.INVALIDATE, lambda ns: ns.invalidate(prefix), timeout))

    def list(self, *, with_token_ids: bool = False, page_size: int = 0,
             timeout: float | None = None) -> Iterator[pb.ListedBlock]:
        """The namespace's blocks, in no order that has a meaning.

        Those that come or go meanwhile may be missed, none comes twice. `timeout` is for each page.
        """
        cursor = b""
        while True:
            page = self._unary(
                methods.LIST,
                lambda ns: pb.ListRequest(namespace_id=ns.namespace_id, cursor=cursor,
                                          page_size=page_size, with_token_ids=with_token_ids),
                timeout)
            yield from page.blocks
            cursor = page.cursor
            if not cursor:
                return

    def watch(self, *, from_sequence: int = 0, epoch: int = 0, with_token_ids: bool = False,
              timeout: float = float("inf")) -> Iterator[pb.CacheEvent]:
        """Blocks of the namespace that come into and leave tiers. BLOCKS until the next one.

        Args:
            from_sequence: first event wanted; 0: from now on.
            epoch: server process that the number is of; 0: any.

        Raises:
            OutOfRange: the number is not reached yet.
        """
        with contextlib.closing(self._stream(
                methods.WATCH,
                lambda ns: pb.WatchRequest(namespace_id=ns.namespace_id, epoch=epoch,
                                           from_sequence=from_sequence,
                                           with_token_ids=with_token_ids), timeout)) as stream:
            yield from stream

    def export_file(self, file: BinaryIO, prefix: Prompt | None = None, *,
                    timeout: float | None = None) -> int:
        """Writes the blocks of `prefix` (None: all) to `file`, for import_file; how many bytes.

        A file that an error has cut short is refused by import_file.
        """
        size = 0
        with contextlib.closing(self._stream(methods.EXPORT, lambda ns: ns.export(prefix),
                                             timeout)) as stream:
            for chunk in stream:
                file.write(chunk.data)
                size += len(chunk.data)
        return size

    def _open(self, timeout: float | None) -> NamespaceRequests:
        opened = self._transport.unary(methods.OPEN_NAMESPACE,
                                       requests.open_namespace(self.identity, self._shared),
                                       timeout)
        return NamespaceRequests(opened.namespace_id, self.identity.key_source, opened.block_bytes,
                                 self.identity.layout.block_tokens, opened.max_message_bytes)

    def _reopen(self, stale: NamespaceRequests, timeout: float | None) -> NamespaceRequests:
        """Opens the namespace in a new server process, unless another thread has since."""
        with self._lock:
            if self._requests is stale:
                self._requests = self._open(timeout)
            return self._requests

    def _unary(self, method: Method[Request, Response],
               make: Callable[[NamespaceRequests], Request], timeout: float | None) -> Response:
        ns = self._requests
        try:
            return self._transport.unary(method, make(ns), timeout)
        except errors.NotFound:
            return self._transport.unary(method, make(self._reopen(ns, timeout)), timeout)

    def _stream(self, method: Method[Request, Response],
                make: Callable[[NamespaceRequests], Request],
                timeout: float | None) -> Generator[Response, None, None]:
        ns = self._requests
        stream: ServerStream[Response] = self._transport.stream(method, make(ns), timeout)
        try:
            try:
                first = next(stream, None)
            except errors.NotFound:
                ns = self._reopen(ns, timeout)
                stream = self._transport.stream(method, make(ns), timeout)
                first = next(stream, None)
            if first is not None:
                yield first
                yield from stream
        finally:
            stream.cancel()
