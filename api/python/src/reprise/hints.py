"""What the caller knows of a conversation."""

from __future__ import annotations

import dataclasses

from reprise.v1 import cache_pb2 as pb


@dataclasses.dataclass(frozen=True, slots=True)
class Hints:
    """Reaches the eviction policy; all optional.

    Attributes:
        session: id of the conversation.
        turn: of it, from 1.
        finish_reason: how the turn before ended: "tool_use", "end_turn".
        session_closed: no further turn will come.
        waiting_requests: that are queued at the caller and share the prefix.
    """

    session: str = ""
    turn: int = 0
    finish_reason: str = ""
    session_closed: bool = False
    waiting_requests: int = 0

    def to_proto(self) -> pb.CacheHints:
        """The same as a message."""
        return pb.CacheHints(session=self.session, turn=self.turn,
                             finish_reason=self.finish_reason,
                             session_closed=self.session_closed,
                             waiting_requests=self.waiting_requests)
