"""What the peers of attention_peers.py have in common, and those that come with PyTorch and Triton.

A library is made for one work over KV that others may share. `launch(n)` attends over the n-th set
of KV; `is_right()` holds the result over the first to attention in f32.
"""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

try:
    import triton
    from paged_decode import PagedDecode
except ImportError:  # PyTorch alone is a peer as well
    triton = None

HEADS, KV_HEADS, DIM, PAGE = 32, 8, 128, 16
TOLERANCE = 2e-2
LAST_ROWS = 256  # of a prompt: all scores of a long one would not fit
SDPA = {"sdpa_flash": SDPBackend.FLASH_ATTENTION, "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
        "sdpa_math": SDPBackend.MATH}


def numbers(device, *shape):
    """Random ones. On a CPU f16: Triton's interpreter multiplies bf16 wrongly."""
    return torch.randn(*shape, device=device, dtype=torch.float16 if device == "cpu" else torch.bfloat16)


def plain(q, k, v, causal):
    """Attention in f32; q [heads, rows, dim], k and v [kv_heads, tokens, dim]."""
    k, v = (x.float().repeat_interleave(q.shape[0] // k.shape[0], 0) for x in (k, v))
    scores = q.float() @ k.transpose(1, 2) * DIM**-0.5
    if causal:
        rows, tokens = scores.shape[1:]
        seen = torch.ones(rows, tokens, dtype=torch.bool, device=q.device).tril(tokens - rows)
        scores = scores.masked_fill(~seen, float("-inf"))
    return scores.softmax(-1) @ v


def agrees(out, expected):
    error = (out.float() - expected).norm() / expected.norm()
    return bool(error <= TOLERANCE)  # NaN is not


class ContiguousKv:
    """Sets of keys and values, each [batch, kv_heads, tokens, dim]."""

    def __init__(self, device, batch, tokens, sets):
        self.sets = [[numbers(device, batch, KV_HEADS, tokens, DIM) for _ in range(2)] for _ in range(sets)]


class PagedKv:
    """Sets of keys and values in pages in random order, each [pages, kv_heads, page, dim]."""

    def __init__(self, device, batch, context, sets):
        pages = (context + PAGE - 1) // PAGE
        self.context = context
        self.table = torch.randperm(batch * pages, device=device).to(torch.int32).view(batch, pages)
        self.sets = [[numbers(device, batch * pages, KV_HEADS, PAGE, DIM) for _ in range(2)] for _ in range(sets)]

    def is_right(self, q, out):
        """Whether `out` is decode of q, both [batch, heads, dim], over the first set."""
        for b in {0, out.shape[0] - 1}:
            k, v = (x[self.table[b].long()].transpose(0, 1).reshape(KV_HEADS, -1, DIM)[:, :self.context]
                    for x in self.sets[0])
            if not agrees(out[b], plain(q[b].unsqueeze(1), k, v, False).squeeze(1)):
                return False
        return True


class Sdpa:
    """PyTorch's scaled_dot_product_attention by one of its backends, over ContiguousKv."""

    def __init__(self, backend, device, kv, rows):
        self.backend, self.kv = backend, kv
        # Decode's one row sees everything; in prefill as many rows as tokens.
        self.causal = rows > 1
        self.q = numbers(device, kv.sets[0][0].shape[0], HEADS, rows, DIM)

    def launch(self, number):
        k, v = self.kv.sets[number % len(self.kv.sets)]
        with sdpa_kernel(self.backend):
            return F.scaled_dot_product_attention(self.q, k, v, is_causal=self.causal, enable_gqa=True)

    def is_right(self):
        out = self.launch(0)
        k, v = self.kv.sets[0]
        return all(agrees(out[b, :, -LAST_ROWS:], plain(self.q[b, :, -LAST_ROWS:], k[b], v[b], self.causal))
                   for b in {0, self.q.shape[0] - 1})


class TritonDecode:
    """Our own kernel in Triton, over PagedKv."""

    def __init__(self, device, kv):
        self.kv = kv
        batch = kv.table.shape[0]
        q = numbers(device, batch, HEADS, DIM)
        lengths = torch.full((batch,), kv.context, device=device, dtype=torch.int32)
        programs = 4 * (torch.cuda.get_device_properties(0).multi_processor_count if device == "cuda" else 2)
        self.attend = PagedDecode(q, kv.table, lengths, kv.context, KV_HEADS, PAGE, programs)

    def launch(self, number):
        return self.attend(*self.kv.sets[number % len(self.kv.sets)])

    def is_right(self):
        return self.kv.is_right(self.attend.q, self.launch(0))
