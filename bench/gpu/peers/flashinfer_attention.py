"""FlashInfer as a peer of attention_peers.py, for version 0.5: as serving engines call it.

What it launches must have been compiled before (pack_flashinfer.py does): its first use would
otherwise take minutes of a measurement.
"""

import os

# FlashInfer reads it at each use. One who wants to wait sets it empty.
os.environ.setdefault("FLASHINFER_DISABLE_JIT", "1")
os.environ.setdefault("TVM_FFI_DISABLE_TORCH_C_DLPACK", "1")  # it would be compiled as well

import flashinfer
import torch
from attention_libraries import DIM, HEADS, KV_HEADS, LAST_ROWS, PAGE, agrees, numbers, plain

VERSION = flashinfer.__version__
WORKSPACE_BYTES = 128 << 20  # what its documentation asks for


class FlashInferDecode:
    """Decode over PagedKv, on tensor cores or without them; planned once, as for all layers of a step."""

    def __init__(self, device, kv, tensor_cores):
        self.kv = kv
        batch, pages = kv.table.shape
        self.q = numbers(device, batch, HEADS, DIM)
        self.out = torch.empty_like(self.q)
        workspace = torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device=device)
        self.wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
            workspace, kv_layout="HND", use_tensor_cores=tensor_cores)
        starts = torch.arange(batch + 1, dtype=torch.int32) * pages
        in_last = torch.full((batch,), kv.context - (pages - 1) * PAGE, dtype=torch.int32)
        self.wrapper.plan(starts, kv.table.flatten(), in_last, HEADS, KV_HEADS, DIM, PAGE,
                          q_data_type=self.q.dtype, kv_data_type=self.q.dtype)

    def launch(self, number):
        k, v = self.kv.sets[number % len(self.kv.sets)]
        return self.wrapper.run(self.q, (k, v), out=self.out)

    def is_right(self):
        return self.kv.is_right(self.q, self.launch(0))


class FlashInferPrefill:
    """Prefill of one prompt over ContiguousKv; on Hopper it takes its FlashAttention 3."""

    def __init__(self, device, kv):
        self.kv = kv
        self.q = numbers(device, kv.sets[0][0].shape[2], HEADS, DIM)

    def launch(self, number):
        k, v = self.kv.sets[number % len(self.kv.sets)]
        return flashinfer.single_prefill_with_kv_cache(self.q, k[0], v[0], causal=True, kv_layout="HND")

    def is_right(self):
        out = self.launch(0)
        k, v = self.kv.sets[0]
        q, out = (x[-LAST_ROWS:].transpose(0, 1) for x in (self.q, out))
        return agrees(out, plain(q, k[0], v[0], True))
