"""The blocking client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import BinaryIO, Unpack

from reprise import _methods as methods
from reprise import _requests as requests
from reprise._connection import Tls
from reprise._transport import ServerStream, Transport
from reprise.blocks import Imported, Invalidated, Stats
from reprise.generation import (Answers, Chunk, GenerateOptions, Message, Model, chat_request,
                                conversation, generate_request)
from reprise.identity import Identity
from reprise.namespace import Namespace
from reprise.session import Session
from reprise.v1 import cache_pb2 as cache
from reprise.v1 import inference_pb2 as inference


class Generation(Answers):
    """The answer to a request as it comes: an iterator of chunks. For one thread.

    Leaving it early, by `with` or `cancel`, frees what the server holds for it.
    """

    def __init__(self, stream: ServerStream[inference.GenerateResponse]) -> None:
        super().__init__()
        self._stream = stream

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        for event in self._stream:
            chunk = self.take(event)
            if chunk is not None:
                return chunk
        raise StopIteration

    def read(self) -> str:
        """Reads all chunks; the text of the first answer."""
        for _ in self:
            pass
        return self.text

    def cancel(self) -> None:
        """Ends the request in the server; for any thread."""
        self._stream.cancel()

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.cancel()


class Client:
    """A connection to one server. Thread-safe. `with` closes it.

    `timeout` of each call is in seconds; None: the client's own. Every call may raise any
    RepriseError: Unavailable where no server answers, DeadlineExceeded, ...

    Args:
        address: "HOST:PORT" or "unix:/path"; anything else is an InvalidArgument. No proxy of the
            environment is asked.
        token: bearer token, for a server that asks for credentials.
        tls: how to encrypt; None: plaintext, which a token is sent over only to this machine.
        timeout: seconds for calls that name none; infinity: no limit.
    """

    def __init__(self, address: str = "127.0.0.1:50051", *, token: str | None = None,
                 tls: Tls | None = None, timeout: float = 60.0) -> None:
        self._transport = Transport(address, token, tls, timeout)

    def close(self) -> None:
        """Ends all calls."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    # ---- Inference.

    def generate(self, prompt: str | Iterable[int], *, timeout: float | None = None,
                 **options: Unpack[GenerateOptions]) -> Generation:
        """Continues a text, or token ids. `timeout` is for the whole answer.

        Raises, with the first chunk:
            InvalidArgument: the prompt is empty or longer than the context, or an option is out of
                its range.
            ResourceExhausted: the server's queue is full.
            FailedPrecondition: no model is served, or it has too little memory for this prompt.
        """
        request = generate_request(prompt, options)
        return Generation(self._transport.stream(methods.GENERATE, request, timeout))

    def chat(self, messages: Iterable[Message], *, template_variables: str = "",
             timeout: float | None = None, **options: Unpack[GenerateOptions]) -> Generation:
        """Answers a conversation, oldest message first; errors as `generate`.

        Args:
            template_variables: what the model's chat template is told besides, a JSON object, such
                as '{"tools": [...]}'.
        """
        request = chat_request(messages, template_variables, options)
        return Generation(self._transport.stream(methods.GENERATE, request, timeout))

    def tokenize(self, text: str | Sequence[Message], *, template_variables: str = "",
                 timeout: float | None = None) -> tuple[int, ...]:
        """Token ids of a text, or of a conversation as `chat` renders it."""
        if isinstance(text, str):
            request = inference.TokenizeRequest(text=text)
        else:
            request = inference.TokenizeRequest(conversation=conversation(text, template_variables))
        return tuple(self._transport.unary(methods.TOKENIZE, request, timeout).ids)

    def model(self, *, timeout: float | None = None) -> Model:
        """The served model. FailedPrecondition: there is none."""
        return Model.from_proto(
            self._transport.unary(methods.GET_MODEL, inference.GetModelRequest(), timeout))

    def models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """All that are served; none is no error."""
        response = self._transport.unary(methods.LIST_MODELS, inference.ListModelsRequest(),
                                         timeout)
        return tuple(Model.from_proto(model) for model in response.models)

    # ---- Cache.

    def open_namespace(self, identity: Identity, *, shared: bool = False,
                       timeout: float | None = None) -> Namespace:
        """Opens the namespace of `identity`; `client.model().identity` is the served model's.

        Args:
            shared: all tenants may read it, and those with the role publisher write it; the
                identity's tenant is empty then.

        Raises:
            InvalidArgument: a field is missing, or a block does not fit into a tier.
            FailedPrecondition: the server hashes in another way than this package knows.
        """
        return Namespace(self._transport, identity, shared=shared, timeout=timeout)

    def session(self, *, name: str = "", shared_memory: bool = False, write: bool = False,
                max_ttl: float = 0.0, timeout: float | None = None) -> Session:
        """What holds leases; use it in a `with`.

        Args:
            name: for people who look at the server's sessions.
            shared_memory: read blocks where the server has them; for a client on its machine.
            write: of shared memory, also write new blocks there (Session.grant).
            max_ttl: seconds that leases outlive the last renewal, such as when this process hangs;
                0: as long as is usual, 4. The server grants 30 at most.

        Raises:
            InvalidArgument: max_ttl is negative or not finite.
        """
        request = requests.open_session(name=name, shared_memory=shared_memory, write=write,
                                        max_ttl=max_ttl)
        return Session(self._transport, request, timeout)

    def stats(self, *, timeout: float | None = None) -> Stats:
        """Every counter and gauge of store and engine."""
        response = self._transport.unary(methods.STATS, cache.StatsRequest(), timeout)
        return Stats(**requests.stats_fields(response))

    def usage(self, *, all_tenants: bool = False,
              timeout: float | None = None) -> cache.UsageResponse:
        """Bytes and blocks by tier, tenant and namespace, quotas, sessions and leases.

        PermissionDenied: `all_tenants` needs the role admin.
        """
        return self._transport.unary(methods.USAGE, cache.UsageRequest(all_tenants=all_tenants),
                                     timeout)

    def what_if(self, *, all_tenants: bool = False,
                timeout: float | None = None) -> cache.WhatIfResponse:
        """What other sizes of the cache would have made of the requests of the last hours.

        Of each tenant (the caller's, or with `all_tenants` every one and "", all together) a curve
        for RAM alone and one for RAM and disk. Each has a point for 0.5, 1, 2 and 4 times the size
        that there is: its bytes, the predicted share (0 to 1) of looked-up tokens that hit, and the
        prompt tokens, and seconds, that would not have been computed. A tenant without requests has
        no curve.

        PermissionDenied: `all_tenants` needs the role admin.
        """
        return self._transport.unary(methods.WHAT_IF, cache.WhatIfRequest(all_tenants=all_tenants),
                                     timeout)

    def list(self, *, with_token_ids: bool = False, page_size: int = 0,
             timeout: float | None = None) -> Iterator[cache.ListedBlock]:
        """All blocks of the caller's tenant; as Namespace.list."""
        cursor = b""
        while True:
            page = self._transport.unary(
                methods.LIST,
                cache.ListRequest(cursor=cursor, page_size=page_size,
                                  with_token_ids=with_token_ids), timeout)
            yield from page.blocks
            cursor = page.cursor
            if not cursor:
                return

    def watch(self, *, from_sequence: int = 0, epoch: int = 0, with_token_ids: bool = False,
              timeout: float = float("inf")) -> Iterator[cache.CacheEvent]:
        """Events of all namespaces of the caller's tenant; as Namespace.watch."""
        stream = self._transport.stream(
            methods.WATCH,
            cache.WatchRequest(from_sequence=from_sequence, epoch=epoch,
                               with_token_ids=with_token_ids), timeout)
        try:
            yield from stream
        finally:
            stream.cancel()

    def demote(self, *, timeout: float | None = None) -> int:
        """Moves every idle block from RAM to disk, durably; how many that were. Role admin.

        FailedPrecondition: there is no disk tier.
        """
        return self._transport.unary(methods.DEMOTE, cache.DemoteRequest(), timeout).demoted_blocks

    def invalidate(self, *, tenant: str | None = None, everything: bool = False,
                   timeout: float | None = None) -> Invalidated:
        """Takes the blocks of a tenant, or of all, out of every tier; as Namespace.invalidate.

        PermissionDenied: they are not the caller's own, and it has not the role admin.
        """
        request = requests.invalidate_scope(tenant, everything)
        return Invalidated.from_proto(
            self._transport.unary(methods.INVALIDATE, request, timeout))

    def import_file(self, file: BinaryIO, *, timeout: float | None = None) -> Imported:
        """Stores the blocks of a file that Namespace.export_file wrote.

        Raises:
            DataLoss: the file is damaged; blocks before the damage are stored.
            FailedPrecondition: it is of another format version, or hashed otherwise.
        """
        chunks = iter(lambda: file.read(requests.FILE_CHUNK_BYTES), b"")
        return Imported.from_proto(self._transport.send(
            methods.IMPORT, (cache.FileChunk(data=chunk) for chunk in chunks), timeout))
