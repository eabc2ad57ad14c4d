"""A recording of a server's requests."""

from __future__ import annotations

import dataclasses

from reprise.v1 import admin_pb2 as pb


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """What a recording has come to.

    Attributes:
        path: of the file, on the server.
        ended: nothing is written to it any more.
        requests, blocks: in the file.
        dropped_requests: that came faster than they were written, or after the recording's end.
        bytes: of the file.
        cause: why it has ended by itself; empty: it has not.
    """

    path: str
    ended: bool
    requests: int
    blocks: int
    dropped_requests: int
    bytes: int
    cause: str

    @classmethod
    def from_proto(cls, state: pb.RecordingState) -> Recording:
        """What the message says."""
        return cls(state.path, state.ended, state.requests, state.blocks, state.dropped_requests,
                   state.bytes, state.cause)
