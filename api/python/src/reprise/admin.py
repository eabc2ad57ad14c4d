"""The blocking client of the Admin service."""

from __future__ import annotations

from types import TracebackType

from reprise import _methods as methods
from reprise._connection import Tls
from reprise._transport import Transport
from reprise.recording import Recording
from reprise.v1 import admin_pb2 as pb


class Admin:
    """A connection to what operators do on one server. Thread-safe. `with` closes it.

    Every call needs the role admin and raises PermissionDenied without it; `timeout` is in seconds,
    None: the client's own.

    Args:
        address: where the server listens for it (`--admin-listen`): "unix:/path" or "HOST:PORT".
        token, tls, timeout: as of Client.
    """

    def __init__(self, address: str, *, token: str | None = None, tls: Tls | None = None,
                 timeout: float = 60.0) -> None:
        self._transport = Transport(address, token, tls, timeout)

    def close(self) -> None:
        """Ends all calls."""
        self._transport.close()

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def start_recording(self, path: str, *, max_bytes: int = 0,
                        timeout: float | None = None) -> Recording:
        """Records the stream of requests, until `stop_recording` or the end of the server.

        What is in the file: for each request its time, the lengths of prompt and answer, and
        numbers for its session and its blocks; no tokens, text or keys.

        Args:
            path: of a new file on the server, by convention NAME.ktr.gz.
            max_bytes: of the file, at which the recording ends by itself; 0: 1 GiB.

        Raises:
            AlreadyExists: the file is there.
            FailedPrecondition: a recording is under way.
            InvalidArgument: no path, a size below 0, or the file cannot be made.
        """
        request = pb.StartRecordingRequest(path=path, max_bytes=max_bytes)
        return Recording.from_proto(
            self._transport.unary(methods.START_RECORDING, request, timeout))

    def stop_recording(self, *, timeout: float | None = None) -> Recording:
        """Ends the recording: the file is whole when this returns; what is in it.

        FailedPrecondition: there is none.
        """
        return Recording.from_proto(
            self._transport.unary(methods.STOP_RECORDING, pb.StopRecordingRequest(), timeout))
