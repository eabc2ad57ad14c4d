"""LMCache's server over loopback TCP as a peer: lmcache_server.py BLOCKS BLOCK_BYTES.

Needs `pip install lmcache`, which takes its CPU device where there is no GPU. The server is a
process of its own (`lmcache_server`, blocks in its RAM); this process is a storage manager as a
serving engine sets it up, its RAM cache off, so that every block crosses a socket. All blocks of a
round are one call. Speaks the lines of store_protocol.py.
"""
import importlib.metadata
import os
import socket
import subprocess
import sys
import threading
import time

os.environ.setdefault("LMCACHE_LOG_LEVEL", "ERROR")

import torch
from lmcache.utils import CacheEngineKey
from lmcache.v1.config import LMCacheEngineConfig
from lmcache.v1.event_manager import EventManager
from lmcache.v1.metadata import LMCacheMetadata
from lmcache.v1.storage_backend.storage_manager import StorageManager

from store_protocol import serve

BACKEND = "RemoteBackend"
TOKENS = 256  # of a block


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port, server):
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError("lmcache_server does not listen")


def words(chunk):
    return chunk.tensor.view(torch.int64)


class LMCache:
    def __init__(self, blocks, block_bytes):
        self.name = f"LMCache {importlib.metadata.version('lmcache')}, lmcache_server, one call"
        port = free_port()
        # One whose parent is killed goes as well.
        self._server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "lmcache.v1.server",
             "127.0.0.1", str(port), "cpu"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_port(port, self._server)
        # Layers, K and V, tokens, heads, head size; of bf16.
        metadata = LMCacheMetadata(
            model_name="bench", world_size=1, local_world_size=1, worker_id=0, local_worker_id=0,
            kv_dtype=torch.bfloat16,
            kv_shape=(block_bytes // (2 * TOKENS * 8 * 128 * 2), 2, TOKENS, 8, 128))
        config = LMCacheEngineConfig.from_defaults(
            local_cpu=False, max_local_cpu_size=2, save_unfull_chunk=False,
            remote_url=f"lm://127.0.0.1:{port}")
        self._manager = StorageManager(config, metadata, EventManager())
        self._backend = self._manager.storage_backends[BACKEND]
        self._chunks = self._manager.batched_allocate(
            metadata.get_shapes(), metadata.get_dtypes(), blocks)
        if any(len(chunk.byte_array) != block_bytes for chunk in self._chunks):
            raise RuntimeError("blocks are of another size")

    def _keys(self, number):
        return [CacheEngineKey("bench", 1, 0, number * len(self._chunks) + i, torch.bfloat16)
                for i in range(len(self._chunks))]

    def put(self, number):
        for chunk in self._chunks:
            words(chunk).random_()
        stored = threading.Semaphore(0)
        begin = time.perf_counter()
        self._backend.batched_submit_put_task(
            self._keys(number), self._chunks, on_complete_callback=lambda key: stored.release())
        for _ in self._chunks:
            if not stored.acquire(timeout=60):
                raise RuntimeError("a put did not end")
        return time.perf_counter() - begin

    def get(self, number):
        begin = time.perf_counter()
        got = self._manager.batched_get(self._keys(number), location=BACKEND)
        seconds = time.perf_counter() - begin
        for put, chunk in zip(self._chunks, got, strict=True):
            if chunk is None or not torch.equal(words(put), words(chunk)):
                raise RuntimeError("a get brought nothing or other bytes")
            words(chunk).zero_()  # a later get that reads nothing must not find the right bytes
            chunk.ref_count_down()
        return seconds


if __name__ == "__main__":
    serve(lambda: LMCache(int(sys.argv[1]), int(sys.argv[2])))
    os._exit(0)  # the library's threads do not end by themselves
