"""The client of the Admin service, for asyncio."""

from __future__ import annotations

from types import TracebackType

from reprise import _methods as methods
from reprise._connection import Tls
from reprise.aio._transport import Transport
from reprise.recording import Recording
from reprise.v1 import admin_pb2 as pb


class Admin:
    """As reprise.Admin. Made, used and closed in one event loop; `async with` closes it."""

    def __init__(self, address: str, *, token: str | None = None, tls: Tls | None = None,
                 timeout: float = 60.0) -> None:
        self._transport = Transport(address, token, tls, timeout)

    async def close(self) -> None:
        """Ends all calls."""
        await self._transport.close()

    async def __aenter__(self) -> Admin:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    async def start_recording(self, path: str, *, max_bytes: int = 0,
                              timeout: float | None = None) -> Recording:
        """As reprise.Admin.start_recording."""
        request = pb.StartRecordingRequest(path=path, max_bytes=max_bytes)
        return Recording.from_proto(
            await self._transport.unary(methods.START_RECORDING, request, timeout))

    async def stop_recording(self, *, timeout: float | None = None) -> Recording:
        """As reprise.Admin.stop_recording."""
        return Recording.from_proto(
            await self._transport.unary(methods.STOP_RECORDING, pb.StopRecordingRequest(), timeout))
