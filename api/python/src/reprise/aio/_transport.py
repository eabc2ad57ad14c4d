"""Calls on a channel, for asyncio: as reprise._transport, method for method."""

from __future__ import annotations

import asyncio
import typing
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from reprise import _connection, errors
from reprise._methods import Method

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")


class ServerStream(Generic[Response]):
    """Messages of a server's stream, as they come. For one task."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __aiter__(self) -> AsyncIterator[Response]:
        return self

    async def __anext__(self) -> Response:
        try:
            message = await self._call.read()
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
        except asyncio.CancelledError:
            if not self._call.cancelled() or _task_is_cancelled():
                raise
            raise errors.Cancelled("the call was cancelled") from None
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return typing.cast(Response, message)

    def cancel(self) -> None:
        """Ends the call; nothing happens when it has ended."""
        self._call.cancel()


def _task_is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def items_of(source: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    """The items of either kind of iterable."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item


class Transport:
    """A channel to one server, for one event loop; arguments as reprise._transport has them."""

    def __init__(self, address: str, token: str | None, tls: _connection.Tls | None,
                 timeout: float) -> None:
        _connection.check_address(address)
        self._metadata = _connection.call_metadata(address, token, tls)
        self.timeout = timeout
        if tls is None:
            self._channel = grpc.aio.insecure_channel(address, _connection.CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, tls.credentials(),
                                                    _connection.CHANNEL_OPTIONS)
        self._callables: dict[str, Any] = {}

    async def close(self) -> None:
        """Ends all calls."""
        await self._channel.close()

    async def unary(self, method: Method[Request, Response], request: Request,
                    timeout: float | None) -> Response:
        call = self._callable(self._channel.unary_unary, method)
        return typing.cast(Response, await self._end(self._begin(call, request, timeout)))

    def stream(self, method: Method[Request, Response], request: Request,
               timeout: float | None) -> ServerStream[Response]:
        call = self._callable(self._channel.unary_stream, method)
        return ServerStream(self._begin(call, request, timeout))

    async def send(self, method: Method[Request, Response], requests: AsyncIterable[Request],
                   timeout: float | None) -> Response:
        call = self._begin(self._callable(self._channel.stream_unary, method), None, timeout)
        try:
            async for request in requests:
                try:
                    await call.write(request)
                except (grpc.RpcError, asyncio.InvalidStateError):
                    break  # the server has answered already; the answer says why
            if not call.done():
                await call.done_writing()
        except BaseException:
            call.cancel()
            raise
        return typing.cast(Response, await self._end(call))

    def limit(self, timeout: float | None) -> float | None:
        """What `timeout` of a call means; None: no limit."""
        seconds = self.timeout if timeout is None else timeout
        return None if seconds == float("inf") else seconds

    def _begin(self, call: Any, request: Any, timeout: float | None) -> Any:
        limit = self.limit(timeout)
        try:
            if request is None:
                return call(timeout=limit, metadata=self._metadata)
            return call(request, timeout=limit, metadata=self._metadata)
        except grpc.aio.UsageError:
            raise errors.Unavailable("the client is closed") from None

    async def _end(self, call: Any) -> Any:
        try:
            return await call
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
        except grpc.aio.UsageError:
            raise errors.Unavailable("the client is closed") from None

    def _callable(self, kind: Callable[..., Any], method: Method[Any, Any]) -> Any:
        found = self._callables.get(method.path)
        if found is None:
            found = kind(method.path, request_serializer=method.serialize,
                         response_deserializer=method.parse)
            self._callables[method.path] = found
        return found
