"""Errors of the server and of the way to it: one tree, its root is RepriseError.

What the server says stands in the message, word for word.
"""

from __future__ import annotations

import re

import grpc


class RepriseError(Exception):
    """A call has failed.

    Attributes:
        message: what the server, or gRPC, says of it.
        code: name of the gRPC status code, such as "NOT_FOUND".
        retry_after: seconds after which the server wants to be asked again; None: it does not say.
    """

    code = "UNKNOWN"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class InvalidArgument(RepriseError, ValueError):
    """Something in the request is wrong; the same request will always be."""

    code = "INVALID_ARGUMENT"


class NotFound(RepriseError, LookupError):
    """What the request names is not there, or is another tenant's."""

    code = "NOT_FOUND"


class AlreadyExists(RepriseError, FileExistsError):
    """What the request would make is there."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(RepriseError):
    """The server is not in a state for this request; the message says what to change."""

    code = "FAILED_PRECONDITION"


class OutOfRange(RepriseError):
    """The place asked for is not reached yet."""

    code = "OUT_OF_RANGE"


class Unauthenticated(RepriseError):
    """The credential is missing or not known."""

    code = "UNAUTHENTICATED"


class PermissionDenied(RepriseError):
    """The credential does not allow this."""

    code = "PERMISSION_DENIED"


class ResourceExhausted(RepriseError):
    """A limit, quota or rate is reached: try again after `retry_after`."""

    code = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(RepriseError, TimeoutError):
    """The time given to the call was not enough."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(RepriseError):
    """The call was cancelled, by the caller or because it has lasted too long."""

    code = "CANCELLED"


class Unavailable(RepriseError, ConnectionError):
    """No server answers at the address, or it is shutting down."""

    code = "UNAVAILABLE"


class Unimplemented(RepriseError, NotImplementedError):
    """The server is older than this package and does not offer the call."""

    code = "UNIMPLEMENTED"


class DataLoss(RepriseError):
    """Bytes are not those that were stored or sent."""

    code = "DATA_LOSS"


class ChecksumMismatch(DataLoss):
    """A block has arrived whose bytes do not have the checksum that came with it."""


class LeaseEnded(FailedPrecondition):
    """The lease was released, has expired, or its session has ended."""


class BufferInUse(FailedPrecondition):
    """Views of a buffer are alive that this call needs to be gone."""


class Internal(RepriseError):
    """The server has failed in a way that is a fault of its own."""

    code = "INTERNAL"


_BY_CODE: dict[str, type[RepriseError]] = {
    kind.code: kind
    for kind in (InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, OutOfRange,
                 Unauthenticated, PermissionDenied, ResourceExhausted, DeadlineExceeded, Cancelled,
                 Unavailable, Unimplemented, DataLoss, Internal)
}


def from_rpc_error(error: grpc.RpcError) -> RepriseError:
    """The error of this package for one of grpc's, sync or asyncio."""
    assert isinstance(error, (grpc.Call, grpc.aio.AioRpcError))
    code = error.code().name
    kind = _BY_CODE.get(code, RepriseError)
    message = error.details() or code
    result = kind(message, retry_after=_retry_after(message))
    result.code = code
    return result


def _retry_after(message: str) -> float | None:
    found = re.search(r"retry-after-ms=(\d+)$", message)
    return None if found is None else int(found[1]) / 1000
