"""LMCache's local disk and Redis paths on CPU tensors: GB/s of putting and getting 256 x 2 MiB.

Needs `pip install lmcache==0.5.6`, which takes its CPU device where there is no GPU, and
redis-server.

    python lmcache_store.py DIRECTORY    # on the disk to measure

Each path is a storage manager as a serving engine sets it up, with the RAM cache off. Chunks are
bf16 tensors in the manager's memory: a put ends when the backend reports the last one stored, a get
when they lie in that memory again. What comes back is compared with what was put, outside the
times. Prints one line a round:

    put       on disk: files are written, not synced
    durable   on disk: put and a sync of the file system
    get       all chunks in one call; on disk: none in the page cache
    again     on disk: the same at once, in the page cache unless O_DIRECT
    one get   median of 32 calls for a chunk each; on disk: as for `again`
"""
import ctypes
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback

os.environ.setdefault("LMCACHE_LOG_LEVEL", "ERROR")

import torch
from lmcache.utils import CacheEngineKey
from lmcache.v1.config import LMCacheEngineConfig
from lmcache.v1.event_manager import EventManager
from lmcache.v1.metadata import LMCacheMetadata
from lmcache.v1.storage_backend.storage_manager import StorageManager

CHUNKS = 256
CHUNK_BYTES = 2 << 20
ROUNDS = 5
# Layers, K and V, tokens, heads, head size.
METADATA = LMCacheMetadata(
    model_name="bench", world_size=1, local_world_size=1, worker_id=0, local_worker_id=0,
    kv_dtype=torch.bfloat16, kv_shape=(2, 2, 256, 8, 128))
KEYS = [CacheEngineKey("bench", 1, 0, i, torch.bfloat16) for i in range(CHUNKS)]


def rate(seconds):
    return CHUNKS * CHUNK_BYTES / seconds / 1e9


def seconds_of(work):
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def words(chunk):
    return chunk.tensor.view(torch.int64)


class Path:
    """One backend behind a storage manager of its own."""

    def __init__(self, backend, **settings):
        config = LMCacheEngineConfig.from_defaults(
            local_cpu=False, max_local_cpu_size=2, save_unfull_chunk=False, **settings)
        self.name = backend
        self.manager = StorageManager(config, METADATA, EventManager())
        self.backend = self.manager.storage_backends[backend]
        self.chunks = self.manager.batched_allocate(
            METADATA.get_shapes(), METADATA.get_dtypes(), CHUNKS)
        assert all(len(chunk.byte_array) == CHUNK_BYTES for chunk in self.chunks)

    def fill(self):
        for chunk in self.chunks:
            words(chunk).random_()

    def put(self):
        stored = threading.Semaphore(0)
        self.backend.batched_submit_put_task(
            KEYS, self.chunks, on_complete_callback=lambda key: stored.release())
        for _ in KEYS:
            assert stored.acquire(timeout=60), "a put did not end"

    def get(self, keys):
        """Seconds of one call for `keys`."""
        seconds, got = seconds_of(lambda: self.manager.batched_get(keys, location=self.name))
        for key, chunk in zip(keys, got, strict=True):
            assert chunk is not None, f"{key} was not found"
            assert torch.equal(words(chunk), words(self.chunks[key.chunk_hash])), f"{key} is wrong"
            words(chunk).zero_()  # a later get that reads nothing must not find the right bytes
            chunk.ref_count_down()
        return seconds

    def one_get(self):
        return statistics.median(self.get([key]) for key in KEYS[::CHUNKS // 32]) * 1e3


def forget_pages(directory):
    for entry in os.scandir(directory):
        fd = os.open(entry.path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def measure_disk(name, directory, **extra):
    # Room for all rounds: the backend counts what was removed as still there.
    path = Path("LocalDiskBackend", local_disk=directory, max_local_disk_size=ROUNDS,
                extra_config=extra)
    folder = os.open(directory, os.O_RDONLY)
    sync = lambda: ctypes.CDLL(None).syncfs(folder)
    for _ in range(ROUNDS):
        path.fill()
        path.manager.batched_remove(KEYS)
        sync()
        put, _ = seconds_of(path.put)
        synced, failed = seconds_of(sync)
        assert not failed
        forget_pages(directory)
        get = path.get(KEYS)
        again = path.get(KEYS)
        print(f"{name}  put {rate(put):.2f} GB/s  durable {rate(put + synced):.2f} GB/s  "
              f"get {rate(get):.2f} GB/s  again {rate(again):.2f} GB/s  "
              f"one get {path.one_get():.2f} ms p50", flush=True)
    path.manager.batched_remove(KEYS)
    os.close(folder)
    path.manager.close()


def measure_redis(name, url):
    path = Path("RemoteBackend", remote_url=url, extra_config={"save_chunk_meta": False})
    for _ in range(ROUNDS):
        path.fill()
        put, _ = seconds_of(path.put)
        get = path.get(KEYS)
        print(f"{name}  put {rate(put):.2f} GB/s  get {rate(get):.2f} GB/s  "
              f"one get {path.one_get():.2f} ms p50", flush=True)


def start_redis(directory):
    """A server without persistence, its port and its socket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    unix = os.path.join(directory, "redis.socket")
    server = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL",  # one that is killed leaves no server behind
         "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", unix,
         "--save", "", "--appendonly", "no", "--dir", directory],
        stdout=subprocess.PIPE, text=True)
    while "ready to accept connections" not in server.stdout.readline():
        if server.poll() is not None:
            raise RuntimeError("redis-server ended before it was ready")
    return server, port, unix


def main():
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as directory:
        measure_disk("disk          ", os.path.join(directory, "buffered"))
        measure_disk("disk, O_DIRECT", os.path.join(directory, "direct"), use_odirect=True)
    with tempfile.TemporaryDirectory() as directory:
        server, port, unix = start_redis(directory)
        try:
            measure_redis("redis, Python client, Unix socket", f"unix://{unix}")
            measure_redis("redis, native client, TCP        ", f"resp://127.0.0.1:{port}")
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    code = 1
    try:
        main()
        code = 0
    except Exception:
        traceback.print_exc()
    # Closing a remote backend waits for the event loop in the event loop, for ever.
    os._exit(code)
