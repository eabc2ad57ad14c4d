"""Mooncake Store over loopback TCP as a peer: mooncake_store.py BLOCKS BLOCK_BYTES.

Needs `pip install mooncake-transfer-engine-non-cuda`. Starts a master and a process that serves a
segment of memory; this process is the client, which has no segment of its own, so that every block
crosses a socket. All blocks of a round are one batch. Speaks the lines of store_protocol.py.
"""
import ctypes
import importlib.metadata
import os
import socket
import subprocess
import sys
import time

from mooncake.store import MooncakeDistributedStore

from store_protocol import serve

PACKAGE = "mooncake-transfer-engine-non-cuda"
SEGMENT_BYTES = 4 << 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(master, segment_bytes):
    store = MooncakeDistributedStore()
    if store.setup("127.0.0.1", "P2PHANDSHAKE", segment_bytes, 256 << 20, "tcp", "", master) != 0:
        raise RuntimeError("cannot set up a client of " + master)
    return store


def start(*command, **options):
    # One whose parent is killed goes as well.
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], text=True,
                            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)


class Mooncake:
    def __init__(self, blocks, block_bytes):
        self.name = f"Mooncake Store {importlib.metadata.version(PACKAGE)} over TCP, one batch"
        master = f"127.0.0.1:{free_port()}"
        # The program itself: the script of that name beside python would outlive its death.
        import mooncake
        program = os.path.join(os.path.dirname(mooncake.__file__), "mooncake_master")
        self._master = start(program, "--rpc_address=127.0.0.1",
                             "--rpc_port=" + master.split(":")[1], f"--metrics_port={free_port()}",
                             "--enable_metric_reporting=false", stdout=subprocess.DEVNULL)
        time.sleep(2)
        self._segment = start(sys.executable, __file__, "segment", master, stdout=subprocess.PIPE)
        while "ready" not in self._segment.stdout.readline():
            if self._segment.poll() is not None:
                raise RuntimeError("the process with the segment ended")
        self._store = connect(master, 0)
        size = blocks * block_bytes
        self._buffer = ctypes.create_string_buffer(size + 4096)
        self._begin = (ctypes.addressof(self._buffer) + 4095) // 4096 * 4096
        if self._store.register_buffer(self._begin, size) != 0:
            raise RuntimeError("cannot register the buffer")
        self._size = size
        self._places = [self._begin + i * block_bytes for i in range(blocks)]
        self._sizes = [block_bytes] * blocks

    def _keys(self, number):
        return [f"{number}-{i}" for i in range(len(self._sizes))]

    def put(self, number):
        ctypes.memset(self._begin, number % 255 + 1, self._size)
        begin = time.perf_counter()
        codes = self._store.batch_put_from(self._keys(number), self._places, self._sizes)
        seconds = time.perf_counter() - begin
        if any(codes):
            raise RuntimeError(f"a put failed: {codes}")
        return seconds

    def get(self, number):
        ctypes.memset(self._begin, 0, self._size)
        begin = time.perf_counter()
        sizes = self._store.batch_get_into(self._keys(number), self._places, self._sizes)
        seconds = time.perf_counter() - begin
        if list(sizes) != self._sizes:
            raise RuntimeError(f"a get failed: {sizes}")
        if ctypes.string_at(self._begin, self._size) != bytes([number % 255 + 1]) * self._size:
            raise RuntimeError("a get brought other bytes")
        return seconds


def hold_segment(master):
    store = connect(master, SEGMENT_BYTES)
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0 if store else 1)


if __name__ == "__main__":
    if sys.argv[1] == "segment":
        hold_segment(sys.argv[2])
    else:
        serve(lambda: Mooncake(int(sys.argv[1]), int(sys.argv[2])))
        os._exit(0)  # the library's threads do not end by themselves
