"""What the caller knows of a conversation."""

from __future__ import annotations

import dataclasses

from reprise.v1 import cache_pb2 as pb


@dataclasses.dataclass(frozen=True, slots=True)
class Hints:
    """Reaches the eviction policy; all optional. What is said of the order is of the learned one.

    Attributes:
        session: id of the conversation. Requests beside it (sub-agents, titles) have another one,
            or tell no turn.
        turn: of it, from 1; for a conversation whose beginning the server has not seen, or whose
            history was rewritten.
        finish_reason: with `put`, `seal` and `end_request` how this turn ended: "tool_use",
            "end_turn"; elsewhere the one before, which is not used yet.
        session_closed: no further turn will come; used where this turn's end is told.
        waiting_requests: that are queued at the caller and share the prefix; not used yet.
        reuse_probability: that the prefix is asked for again, from 0 to 1.
        reuse_in_seconds: when that is expected.
        priority: -100 to 100; each step doubles what the blocks are worth to keep, as far as 16
            and -16.
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
