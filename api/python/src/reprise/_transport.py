"""Calls on a channel, blocking: timeouts on each, errors of this package."""

from __future__ import annotations

import threading
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import grpc

from reprise import _connection, errors
from reprise._methods import Method

Request = TypeVar("Request")
Response = TypeVar("Response")


class ServerStream(Generic[Response]):
    """Messages of a server's stream, as they come. For one thread; `cancel` is for any."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Response]:
        return self

    def __next__(self) -> Response:
        try:
            return typing.cast(Response, next(self._call))
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None

    def cancel(self) -> None:
        """Ends the call; nothing happens when it has ended."""
        self._call.cancel()


class _Recorded(Generic[Request]):
    """Passes an iterable on and keeps what it raises: gRPC would only log it."""

    def __init__(self, source: Iterable[Request]) -> None:
        self._source = iter(source)
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        try:
            return next(self._source)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


class Transport:
    """A channel to one server. Thread-safe.

    Args:
        address: "HOST:PORT" or "unix:/path".
        token: bearer token; only sent over TLS, or to an address of this machine.
        tls: None: plaintext.
        timeout: seconds for calls that name none.
    """

    def __init__(self, address: str, token: str | None, tls: _connection.Tls | None,
                 timeout: float) -> None:
        _connection.check_address(address)
        self._metadata = _connection.call_metadata(address, token, tls)
        self.timeout = timeout
        if tls is None:
            self._channel = grpc.insecure_channel(address, _connection.CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, tls.credentials(),
                                                _connection.CHANNEL_OPTIONS)
        self._lock = threading.Lock()
        self._callables: dict[str, Any] = {}

    def close(self) -> None:
        """Ends all calls."""
        self._channel.close()

    def unary(self, method: Method[Request, Response], request: Request,
              timeout: float | None) -> Response:
        """BLOCKS for at most `timeout` seconds."""
        call = self._callable(self._channel.unary_unary, method)
        return typing.cast(Response, self._end(call, request, timeout))

    def stream(self, method: Method[Request, Response], request: Request,
               timeout: float | None) -> ServerStream[Response]:
        """`timeout` is for the whole stream; infinity: none. Returns at once."""
        call = self._callable(self._channel.unary_stream, method)
        limit = self.limit(timeout)
        try:
            return ServerStream(call(request, timeout=limit, metadata=self._metadata))
        except ValueError:
            raise errors.Unavailable("the client is closed") from None

    def send(self, method: Method[Request, Response], requests: Iterable[Request],
             timeout: float | None) -> Response:
        """Sends all `requests`, for one answer. What they raise ends the call and is raised here.

        BLOCKS for at most `timeout` seconds.
        """
        recorded = _Recorded(requests)
        call = self._callable(self._channel.stream_unary, method)
        try:
            return typing.cast(Response, self._end(call, recorded, timeout))
        finally:
            if recorded.error is not None:
                raise recorded.error

    def _end(self, call: Any, request: Any, timeout: float | None) -> Any:
        try:
            return call(request, timeout=self.limit(timeout), metadata=self._metadata)
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
        except ValueError as error:
            if "closed channel" not in str(error):
                raise
            raise errors.Unavailable("the client is closed") from None

    def limit(self, timeout: float | None) -> float | None:
        """What `timeout` of a call means; None: no limit."""
        seconds = self.timeout if timeout is None else timeout
        return None if seconds == float("inf") else seconds

    def _callable(self, kind: Callable[..., Any], method: Method[Any, Any]) -> Any:
        with self._lock:
            found = self._callables.get(method.path)
            if found is None:
                found = kind(method.path, request_serializer=method.serialize,
                             response_deserializer=method.parse)
                self._callables[method.path] = found
            return found
