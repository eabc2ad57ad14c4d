"""The server's arena, mapped: blocks are read, and written, where they lie. For Linux.

Whoever looks at a block must never see another one's bytes. The server does not use a slot again
that this client may see, until the client releases its lease or hangs up the arena's connection. So
a view holds, by reference counts alone: its lease's Hold, which is released when nothing refers to
it any more, and through it the arena, whose connection is hung up and whose memory is unmapped when
nothing refers to it any more. A view of numpy, torch or memoryview made from a view holds the same.
A forked child has no such memory: it would not hear when its parent lets go.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import mmap
import os
import socket
import weakref
from typing import Any

from reprise import errors
from reprise._hold import Hold

SESSION_ID_BYTES = 16

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                       ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_MAP_FAILED = ctypes.c_void_p(-1).value


class Arena:
    """A mapping of the server's memory, and the connection that keeps what is seen of it.

    BLOCKS for at most `timeout` seconds to connect.

    Args:
        socket_path: where the server hands the memory out.
        session_id: of a session that has asked for shared memory.
        size: bytes of the arena.

    Attributes:
        writable: granted slots may be written.

    Raises:
        Unavailable: nobody listens there, or the server has refused.
    """

    def __init__(self, socket_path: str, session_id: bytes, size: int,
                 timeout: float | None) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            fd = _receive_fd(connection, socket_path, session_id, timeout)
        except BaseException:
            connection.close()
            raise
        try:
            self.writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
            self._size = size
            # All of the file: of huge pages nothing less could be unmapped.
            file_size = os.fstat(fd).st_size
            self._address = _map(fd, size, file_size, self.writable)
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(fd)
        weakref.finalize(self, _leave, self._address, file_size, connection).atexit = False

    def view(self, offset: int, size: int, hold: Hold) -> memoryview:
        """The bytes [offset, offset + size), read-only; the view keeps `hold`."""
        return memoryview(self.window(offset, size, hold)).cast("B").toreadonly()

    def window(self, offset: int, size: int, hold: Hold) -> ctypes.Array[ctypes.c_ubyte]:
        """What exports the bytes: it lives while any view of them does. It may be written only if
        the arena is writable.

        DataLoss: the server names a place that is not in the arena.
        """
        if offset < 0 or size < 0 or offset + size > self._size:
            raise errors.DataLoss(f"the server names {size} bytes at {offset} of an arena of "
                                  f"{self._size}")
        window: Any = _window_type(size).from_address(self._address + offset)
        window.hold = hold
        window.arena = self
        return window  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=64)
def _window_type(size: int) -> type[ctypes.Array[ctypes.c_ubyte]]:
    return ctypes.c_ubyte * size


def _receive_fd(connection: socket.socket, path: str, session_id: bytes,
                timeout: float | None) -> int:
    connection.settimeout(timeout)
    try:
        connection.connect(path)
        connection.sendall(session_id)
        _, fds, _, _ = socket.recv_fds(connection, 1, 1)
    except OSError as error:
        raise errors.Unavailable(f"cannot get the server's memory from {path}: {error}") from None
    if not fds:
        raise errors.Unavailable(f"the server does not hand out its memory at {path}: the session "
                                 "has ended, or this user may not see it")
    os.set_inheritable(fds[0], False)
    return fds[0]


def _map(fd: int, size: int, file_size: int, writable: bool) -> int:
    """The address. Unavailable: the file could become shorter, or the system has no room for it."""
    if file_size < size or not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
        raise errors.Unavailable(f"the server's memory is not a file of {size} bytes for good")
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    address: int = _libc.mmap(None, file_size, protection, mmap.MAP_SHARED, fd, 0)
    if address == _MAP_FAILED:
        raise errors.Unavailable(f"cannot map {file_size} bytes: {os.strerror(ctypes.get_errno())}")
    _libc.madvise(address, file_size, mmap.MADV_DONTFORK)
    return address


def _leave(address: int, size: int, connection: socket.socket) -> None:
    _libc.munmap(address, size)
    connection.close()
