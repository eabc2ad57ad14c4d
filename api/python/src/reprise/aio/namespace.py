"""A namespace of the cache, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable,
                             Sequence)
from typing import BinaryIO, TypeVar

from reprise import _methods as methods
from reprise import _requests as requests
from reprise import errors
from reprise._methods import Method
from reprise._put_batch import PutBatch
from reprise._requests import NamespaceRequests
from reprise._wire import PutMessage
from reprise.aio._transport import Transport, items_of
from reprise.blocks import Block, Invalidated, Match, NewBlock, Prefetched, Prompt, PutReport
from reprise.hints import Hints
from reprise.identity import Identity
from reprise.v1 import cache_pb2 as pb

Request = TypeVar("Request")
Response = TypeVar("Response")


class Namespace:
    """As reprise.Namespace. Made by Client.open_namespace.

    Attributes:
        identity: what it was opened from.
    """

    def __init__(self, transport: Transport, identity: Identity, shared: bool,
                 opened: NamespaceRequests) -> None:
        self.identity = identity
        self._transport = transport
        self._shared = shared
        self._lock = asyncio.Lock()
        self._requests = opened

    @property
    def block_bytes(self) -> int:
        """Size of a block."""
        return self._requests.block_bytes

    @property
    def id(self) -> int:
        """As reprise.Namespace.id."""
        return self._requests.namespace_id

    async def match(self, prompt: Prompt, *, hints: Hints | None = None,
                    timeout: float | None = None) -> Match:
        """As reprise.Namespace.match."""
        return Match.from_proto(await self._unary(
            methods.MATCH, lambda ns: pb.MatchRequest(**ns.about(prompt, hints)), timeout))

    async def exists(self, prompt: Prompt, *, timeout: float | None = None) -> int:
        """As reprise.Namespace.exists."""
        return (await self._unary(methods.EXISTS, lambda ns: pb.ExistsRequest(**ns.about(prompt)),
                                  timeout)).leading_blocks

    async def exists_each(self, keys: Sequence[bytes], *,
                          timeout: float | None = None) -> tuple[bool, ...]:
        """As reprise.Namespace.exists_each."""
        return tuple((await self._unary(
            methods.EXISTS,
            lambda ns: pb.ExistsRequest(independent_keys=True, **ns.about(keys)), timeout)).exists)

    async def touch(self, prompt: Prompt, *, hints: Hints | None = None,
                    timeout: float | None = None) -> int:
        """As reprise.Namespace.touch."""
        return (await self._unary(methods.TOUCH,
                                  lambda ns: pb.TouchRequest(**ns.about(prompt, hints)),
                                  timeout)).touched_blocks

    async def prefetch(self, prompt: Prompt, *, max_blocks: int = 0, within: float = 0.0,
                       hints: Hints | None = None, timeout: float | None = None) -> Prefetched:
        """As reprise.Namespace.prefetch."""
        response = await self._unary(
            methods.PREFETCH,
            lambda ns: pb.PrefetchRequest(max_blocks=max_blocks, deadline_seconds=within,
                                          **ns.about(prompt, hints)), timeout)
        return Prefetched(response.ready_blocks, response.loading_blocks)

    async def explain(self, prompt: Prompt, *,
                      timeout: float | None = None) -> pb.ExplainResponse:
        """As reprise.Namespace.explain."""
        return await self._unary(methods.EXPLAIN, lambda ns: pb.ExplainRequest(**ns.about(prompt)),
                                 timeout)

    async def put(self, blocks: Iterable[NewBlock] | AsyncIterable[NewBlock], *,
                  prefix: Prompt = (), independent_keys: bool = False, hints: Hints | None = None,
                  timeout: float | None = None) -> PutReport:
        """As reprise.Namespace.put; `blocks` may be an asynchronous iterable as well."""
        ns = self._requests

        async def messages() -> AsyncIterator[PutMessage]:
            batch = PutBatch(ns, prefix, independent_keys, hints)
            async for block in items_of(blocks):
                full = batch.add(block)
                if full is not None:
                    yield full
            rest = batch.rest()
            if rest is not None:
                yield rest

        try:
            return PutReport.from_proto(
                await self._transport.send(methods.PUT, messages(), timeout))
        except errors.NotFound:
            await self._reopen(ns, timeout)
            raise

    async def get(self, prompt: Prompt, *, first_block: int = 0, independent_keys: bool = False,
                  verify: bool = True, hints: Hints | None = None,
                  timeout: float | None = None) -> AsyncIterator[Block]:
        """As reprise.Namespace.get."""
        def request(ns: NamespaceRequests) -> pb.GetRequest:
            return pb.GetRequest(first_block=first_block, independent_keys=independent_keys,
                                 **ns.about(prompt, hints))

        async with contextlib.aclosing(self._stream(methods.GET, request, timeout)) as stream:
            async for sent in stream:
                yield Block.from_wire(sent, verify)

    async def invalidate(self, prefix: Prompt | None = None, *,
                         timeout: float | None = None) -> Invalidated:
        """As reprise.Namespace.invalidate."""
        return Invalidated.from_proto(
            await self._unary(methods.INVALIDATE, lambda ns: ns.invalidate(prefix), timeout))

    async def list(self, *, with_token_ids: bool = False, page_size: int = 0,
                   timeout: float | None = None) -> AsyncIterator[pb.ListedBlock]:
        """As reprise.Namespace.list."""
        cursor = b""
        while True:
            page = await self._unary(
                methods.LIST,
                lambda ns: pb.ListRequest(namespace_id=ns.namespace_id, cursor=cursor,
                                          page_size=page_size, with_token_ids=with_token_ids),
                timeout)
            for block in page.blocks:
                yield block
            cursor = page.cursor
            if not cursor:
                return

    async def watch(self, *, from_sequence: int = 0, epoch: int = 0, with_token_ids: bool = False,
                    timeout: float = float("inf")) -> AsyncIterator[pb.CacheEvent]:
        """As reprise.Namespace.watch."""
        async with contextlib.aclosing(self._stream(
                methods.WATCH,
                lambda ns: pb.WatchRequest(namespace_id=ns.namespace_id, epoch=epoch,
                                           from_sequence=from_sequence,
                                           with_token_ids=with_token_ids), timeout)) as stream:
            async for event in stream:
                yield event

    async def export_file(self, file: BinaryIO, prefix: Prompt | None = None, *,
                          timeout: float | None = None) -> int:
        """As reprise.Namespace.export_file; writing to `file` blocks, a chunk at a time."""
        size = 0
        async with contextlib.aclosing(self._stream(
                methods.EXPORT, lambda ns: ns.export(prefix), timeout)) as stream:
            async for chunk in stream:
                file.write(chunk.data)
                size += len(chunk.data)
        return size

    async def _reopen(self, stale: NamespaceRequests, timeout: float | None) -> NamespaceRequests:
        """Opens the namespace in a new server process, unless another task has since."""
        async with self._lock:
            if self._requests is stale:
                self._requests = await open_namespace(self._transport, self.identity, self._shared,
                                                      timeout)
            return self._requests

    async def _unary(self, method: Method[Request, Response],
                     make: Callable[[NamespaceRequests], Request],
                     timeout: float | None) -> Response:
        ns = self._requests
        try:
            return await self._transport.unary(method, make(ns), timeout)
        except errors.NotFound:
            ns = await self._reopen(ns, timeout)
            return await self._transport.unary(method, make(ns), timeout)

    async def _stream(self, method: Method[Request, Response],
                      make: Callable[[NamespaceRequests], Request],
                      timeout: float | None) -> AsyncGenerator[Response, None]:
        ns = self._requests
        stream = self._transport.stream(method, make(ns), timeout)
        try:
            try:
                first = await anext(stream, None)
            except errors.NotFound:
                ns = await self._reopen(ns, timeout)
                stream = self._transport.stream(method, make(ns), timeout)
                first = await anext(stream, None)
            if first is not None:
                yield first
                async for message in stream:
                    yield message
        finally:
            stream.cancel()


async def open_namespace(transport: Transport, identity: Identity, shared: bool,
                         timeout: float | None) -> NamespaceRequests:
    """What a namespace is made of."""
    opened = await transport.unary(methods.OPEN_NAMESPACE,
                                   requests.open_namespace(identity, shared), timeout)
    return NamespaceRequests(opened.namespace_id, identity.key_source, opened.block_bytes,
                             identity.layout.block_tokens, opened.max_message_bytes)
