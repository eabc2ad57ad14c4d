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
        finish_reason: how the turn before ended: "tool_use", "end_turn"; with `put`, `seal` and
            `end_request`, this one.
        session_closed: no further turn will come.
        waiting_requests: that are queued at the caller and share the prefix; not used yet.
        reuse_probability: that the prefix is asked for again, from 0 to 1.
        reuse_in_seconds: when that is expected.
        priority: -100 to 100; the blocks of a lower one go first.
        ttl_seconds: unused for so long, the blocks are worth nothing.
    """

    session: str = ""
    turn: int = 0
    finish_reason: str = ""
    session_closed: bool = False
    waiting_requests: int = 0
    reuse_probability: float | None = None
    reuse_in_seconds: float | None = None
    priority: int = 0
    ttl_seconds: float = 0.0

    def to_proto(self) -> pb.CacheHints:
        """The same as a message."""
        return pb.CacheHints(session=self.session, turn=self.turn,
                             finish_reason=self.finish_reason,
                             session_closed=self.session_closed,
                             waiting_requests=self.waiting_requests,
                             reuse_probability=self.reuse_probability,
                             reuse_in_seconds=self.reuse_in_seconds,
                             priority=self.priority, ttl_seconds=self.ttl_seconds)
