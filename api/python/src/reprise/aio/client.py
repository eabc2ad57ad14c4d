"""The client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import BinaryIO, Unpack

from reprise import _methods as methods
from reprise import _requests as requests
from reprise._connection import Tls
from reprise.aio._transport import ServerStream, Transport, items_of
from reprise.aio.namespace import Namespace, open_namespace
from reprise.aio.session import Session
from reprise.blocks import Imported, Invalidated, Stats
from reprise.generation import (Answers, Chunk, GenerateOptions, Message, Model, chat_request,
                                conversation, generate_request)
from reprise.identity import Identity
from reprise.v1 import cache_pb2 as cache
from reprise.v1 import inference_pb2 as inference


class Generation(Answers):
    """As reprise.Generation: an asynchronous iterator of chunks. For one task."""

    def __init__(self, stream: ServerStream[inference.GenerateResponse]) -> None:
        super().__init__()
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        async for event in self._stream:
            chunk = self.take(event)
            if chunk is not None:
                return chunk
        raise StopAsyncIteration

    async def read(self) -> str:
        """Reads all chunks; the text of the first answer."""
        async for _ in self:
            pass
        return self.text

    def cancel(self) -> None:
        """Ends the request in the server."""
        self._stream.cancel()

    async def __aenter__(self) -> Generation:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self.cancel()


class Client:
    """As reprise.Client. Made, used and closed in one event loop; `async with` closes it."""

    def __init__(self, address: str = "127.0.0.1:50051", *, token: str | None = None,
                 tls: Tls | None = None, timeout: float = 60.0) -> None:
        self._transport = Transport(address, token, tls, timeout)

    async def close(self) -> None:
        """Ends all calls."""
        await self._transport.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    # ---- Inference.

    def generate(self, prompt: str | Iterable[int], *, timeout: float | None = None,
                 **options: Unpack[GenerateOptions]) -> Generation:
        """As reprise.Client.generate."""
        request = generate_request(prompt, options)
        return Generation(self._transport.stream(methods.GENERATE, request, timeout))

    def chat(self, messages: Iterable[Message], *, template_variables: str = "",
             timeout: float | None = None, **options: Unpack[GenerateOptions]) -> Generation:
        """As reprise.Client.chat."""
        request = chat_request(messages, template_variables, options)
        return Generation(self._transport.stream(methods.GENERATE, request, timeout))

    async def tokenize(self, text: str | Sequence[Message], *, template_variables: str = "",
                       timeout: float | None = None) -> tuple[int, ...]:
        """As reprise.Client.tokenize."""
        if isinstance(text, str):
            request = inference.TokenizeRequest(text=text)
        else:
            request = inference.TokenizeRequest(conversation=conversation(text, template_variables))
        return tuple((await self._transport.unary(methods.TOKENIZE, request, timeout)).ids)

    async def model(self, *, timeout: float | None = None) -> Model:
        """As reprise.Client.model."""
        return Model.from_proto(
            await self._transport.unary(methods.GET_MODEL, inference.GetModelRequest(), timeout))

    async def models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """As reprise.Client.models."""
        response = await self._transport.unary(methods.LIST_MODELS, inference.ListModelsRequest(),
                                               timeout)
        return tuple(Model.from_proto(model) for model in response.models)

    # ---- Cache.

    async def open_namespace(self, identity: Identity, *, shared: bool = False,
                             timeout: float | None = None) -> Namespace:
        """As reprise.Client.open_namespace."""
        opened = await open_namespace(self._transport, identity, shared, timeout)
        return Namespace(self._transport, identity, shared, opened)

    def session(self, *, name: str = "", shared_memory: bool = False, write: bool = False,
                max_ttl: float = 0.0, timeout: float | None = None) -> Session:
        """As reprise.Client.session; `async with` opens it."""
        request = requests.open_session(name=name, shared_memory=shared_memory, write=write,
                                        max_ttl=max_ttl)
        return Session(self._transport, request, timeout)

    async def stats(self, *, timeout: float | None = None) -> Stats:
        """As reprise.Client.stats."""
        response = await self._transport.unary(methods.STATS, cache.StatsRequest(), timeout)
        return Stats(**requests.stats_fields(response))

    async def usage(self, *, all_tenants: bool = False,
                    timeout: float | None = None) -> cache.UsageResponse:
        """As reprise.Client.usage."""
        return await self._transport.unary(methods.USAGE,
                                           cache.UsageRequest(all_tenants=all_tenants), timeout)

    async def what_if(self, *, all_tenants: bool = False,
                      timeout: float | None = None) -> cache.WhatIfResponse:
        """As reprise.Client.what_if."""
        return await self._transport.unary(methods.WHAT_IF,
                                           cache.WhatIfRequest(all_tenants=all_tenants), timeout)

    async def list(self, *, with_token_ids: bool = False, page_size: int = 0,
                   timeout: float | None = None) -> AsyncIterator[cache.ListedBlock]:
        """As reprise.Client.list."""
        cursor = b""
        while True:
            page = await self._transport.unary(
                methods.LIST,
                cache.ListRequest(cursor=cursor, page_size=page_size,
                                  with_token_ids=with_token_ids), timeout)
            for block in page.blocks:
                yield block
            cursor = page.cursor
            if not cursor:
                return

    async def watch(self, *, from_sequence: int = 0, epoch: int = 0, with_token_ids: bool = False,
                    timeout: float = float("inf")) -> AsyncIterator[cache.CacheEvent]:
        """As reprise.Client.watch."""
        stream = self._transport.stream(
            methods.WATCH,
            cache.WatchRequest(from_sequence=from_sequence, epoch=epoch,
                               with_token_ids=with_token_ids), timeout)
        try:
            async for event in stream:
                yield event
        finally:
            stream.cancel()

    async def demote(self, *, timeout: float | None = None) -> int:
        """As reprise.Client.demote."""
        return (await self._transport.unary(methods.DEMOTE, cache.DemoteRequest(),
                                            timeout)).demoted_blocks

    async def invalidate(self, *, tenant: str | None = None, everything: bool = False,
                         timeout: float | None = None) -> Invalidated:
        """As reprise.Client.invalidate."""
        request = requests.invalidate_scope(tenant, everything)
        return Invalidated.from_proto(
            await self._transport.unary(methods.INVALIDATE, request, timeout))

    async def import_file(self, file: BinaryIO, *, timeout: float | None = None) -> Imported:
        """As reprise.Client.import_file; reading `file` blocks, a chunk at a time."""
        chunks = iter(lambda: file.read(requests.FILE_CHUNK_BYTES), b"")
        return Imported.from_proto(await self._transport.send(
            methods.IMPORT, items_of(cache.FileChunk(data=chunk) for chunk in chunks), timeout))
