"""Mooncake Store over TCP on the loopback interface: GB/s of putting and getting 64 blocks of 2 MiB.

Needs `pip install mooncake-transfer-engine-non-cuda`. Starts a master and a process that serves a
segment of memory; this process is the client, which has no segment of its own, so that every block
crosses a socket. Prints one line a round.
"""
import ctypes
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

from mooncake.store import MooncakeDistributedStore

BLOCKS = 64
BLOCK_BYTES = 2 << 20
ROUNDS = 5


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(master, segment_bytes):
    store = MooncakeDistributedStore()
    if store.setup("127.0.0.1", "P2PHANDSHAKE", segment_bytes, 256 << 20, "tcp", "", master) != 0:
        sys.exit("cannot set up a client of " + master)
    return store


def serve(master):
    store = connect(master, 2 << 30)
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


def measure(store):
    buffer = ctypes.create_string_buffer(BLOCKS * BLOCK_BYTES + 4096)
    start = (ctypes.addressof(buffer) + 4095) // 4096 * 4096
    assert store.register_buffer(start, BLOCKS * BLOCK_BYTES) == 0
    places = [start + i * BLOCK_BYTES for i in range(BLOCKS)]
    sizes = [BLOCK_BYTES] * BLOCKS
    rate = lambda seconds: BLOCKS * BLOCK_BYTES / seconds / 1e9
    for number in range(ROUNDS):
        keys = [f"{number}-{i}" for i in range(BLOCKS)]
        begin = time.perf_counter()
        codes = store.batch_put_from(keys, places, sizes)
        assert not any(codes), codes
        put = time.perf_counter()
        assert all(n == BLOCK_BYTES for n in store.batch_get_into(keys, places, sizes))
        got = time.perf_counter()
        alone = []
        for key in keys:
            before = time.perf_counter()
            assert store.get_into(key, start, BLOCK_BYTES) == BLOCK_BYTES
            alone.append(time.perf_counter() - before)
        print(f"put {rate(put - begin):.2f} GB/s  get {rate(got - put):.2f} GB/s  "
              f"one get {statistics.median(alone) * 1e3:.2f} ms p50", flush=True)


def main():
    port = free_port()
    master = f"127.0.0.1:{port}"
    program = os.path.join(os.path.dirname(sys.executable), "mooncake_master")
    # Sessions of their own: the master is a script that starts the program, and both have to go.
    children = [subprocess.Popen(
        [program, "--rpc_address=127.0.0.1", f"--rpc_port={port}",
         f"--metrics_port={free_port()}", "--enable_metric_reporting=false"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)]
    try:
        time.sleep(2)
        server = subprocess.Popen([sys.executable, __file__, "serve", master], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, start_new_session=True)
        children.append(server)
        while "ready" not in server.stdout.readline():
            if server.poll() is not None:
                sys.exit("the serving process ended")
        measure(connect(master, 0))
    finally:
        for child in children:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    os._exit(0)  # the library's threads do not end by themselves


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1:2] == ["serve"] else main()
