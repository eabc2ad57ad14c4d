"""What keeps a lease or grant."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reprise._arena import Arena


class Hold:
    """A lease or grant, held while anything refers to this.

    Args:
        ids: what to release then; whoever empties the list has released them already.
        arena: where its blocks lie; None: they are not in shared memory.
        release: takes `ids`. Called from wherever the last reference goes: any thread, between any
            two instructions. So it takes no lock and makes no call.
    """

    __slots__ = ("__weakref__", "arena", "ids")

    def __init__(self, ids: list[bytes], arena: Arena | None,
                 release: Callable[[list[bytes]], None]) -> None:
        self.ids = ids
        self.arena = arena
        weakref.finalize(self, release, ids).atexit = False


def any_alive(windows: Sequence[weakref.ref[Any]]) -> int:
    """How many of the windows some view still needs."""
    return sum(window() is not None for window in windows)
