#!/usr/bin/env python3
"""Attention of other libraries, for `reprise bench gpu-attention --peers`, on stdin and stdout.

It starts with `ready NAME`. Then, for each line it reads, it answers one:

    libraries WORK            -> the libraries that can do it, each tried against plain f32 attention
    seconds LIBRARY N WORK    -> seconds of one launch, of N, each over other KV
    forget                    -> ok, and the memory of the last work is given back

or `error MESSAGE`. WORK is `decode BATCH CONTEXT` or `prefill TOKENS`: 32 heads over 8 kv heads of 128
dims, bf16, random; decode over pages of 16 tokens in random order for Triton, contiguous KV for
PyTorch, which has no pages.

    attention_peers.py --check    tries small shapes on the CPU (TRITON_INTERPRET=1 for Triton)
"""

import os
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError:
    print("error no PyTorch")  # before any other name of it is needed
    sys.exit(77)
try:
    import triton
    from paged_decode import PagedDecode
except ImportError:  # PyTorch alone is a peer as well
    triton = None

HEADS, KV_HEADS, DIM, PAGE = 32, 8, 128, 16
TOLERANCE = 2e-2
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


class Sdpa:
    """PyTorch's scaled_dot_product_attention by one of its backends; KV contiguous."""

    def __init__(self, backend, device, batch, rows, tokens, sets):
        self.backend = backend
        # Decode's one row sees everything; in prefill as many rows as tokens.
        self.causal = rows > 1
        self.q = numbers(device, batch, HEADS, rows, DIM)
        self.sets = [[numbers(device, batch, KV_HEADS, tokens, DIM) for _ in range(2)] for _ in range(sets)]

    def launch(self, number):
        k, v = self.sets[number % len(self.sets)]
        with sdpa_kernel(self.backend):
            return F.scaled_dot_product_attention(self.q, k, v, is_causal=self.causal, enable_gqa=True)

    def is_right(self):
        out = self.launch(0)
        k, v = self.sets[0]
        last = min(self.q.shape[2], 256)  # rows: all scores of a long prompt would not fit
        return all(agrees(out[b, :, -last:], plain(self.q[b, :, -last:], k[b], v[b], self.causal))
                   for b in {0, self.q.shape[0] - 1})


class TritonDecode:
    """Our own kernel in Triton; pages in random order."""

    def __init__(self, device, batch, context, sets):
        pages = (context + PAGE - 1) // PAGE
        self.context = context
        self.table = torch.randperm(batch * pages, device=device).to(torch.int32).view(batch, pages)
        self.sets = [[numbers(device, batch * pages, KV_HEADS, PAGE, DIM) for _ in range(2)] for _ in range(sets)]
        q = numbers(device, batch, HEADS, DIM)
        lengths = torch.full((batch,), context, device=device, dtype=torch.int32)
        programs = 4 * (torch.cuda.get_device_properties(0).multi_processor_count if device == "cuda" else 2)
        self.attend = PagedDecode(q, self.table, lengths, context, KV_HEADS, PAGE, programs)

    def launch(self, number):
        return self.attend(*self.sets[number % len(self.sets)])

    def is_right(self):
        out = self.launch(0).clone()
        for b in {0, out.shape[0] - 1}:
            k, v = (x[self.table[b].long()].transpose(0, 1).reshape(KV_HEADS, -1, DIM)[:, :self.context]
                    for x in self.sets[0])
            if not agrees(out[b], plain(self.attend.q[b].unsqueeze(1), k, v, False).squeeze(1)):
                return False
        return True


class Peers:
    def __init__(self, device):
        self.device = device
        self.work = None
        self.libraries = {}

    def name(self):
        return f"PyTorch {torch.__version__}" + (f", Triton {triton.__version__}" if triton else "")

    def sets_for(self, kv_bytes):
        """How many KV fill the cache three times."""
        if self.device == "cpu":
            return 1
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        return max(1, -(-3 * cache // kv_bytes))

    def candidates(self, work):
        """Library -> what makes it for the work."""
        if work[0] == "decode":
            batch, context = map(int, work[1:])
            rows, tokens = 1, context
        else:
            batch, rows, tokens = 1, int(work[1]), int(work[1])
        sets = self.sets_for(4 * batch * tokens * KV_HEADS * DIM)
        # The plain one is a peer nowhere, and what there is on a CPU.
        names = ["sdpa_math"] if self.device == "cpu" else ["sdpa_flash", "sdpa_cudnn"]
        found = {name: lambda backend=SDPA[name]: Sdpa(backend, self.device, batch, rows, tokens, sets)
                 for name in names}
        if work[0] == "decode" and triton is not None:
            found["triton"] = lambda: TritonDecode(self.device, batch, context, sets)
        return found

    def open(self, work):
        """Opens every library that can do the work and does it right."""
        self.forget()
        for name, make in self.candidates(work).items():
            try:
                library = make()
                if library.is_right():
                    self.libraries[name] = library
                else:
                    print(f"{name}: wrong result for {work}", file=sys.stderr)
            except Exception as error:  # too little memory, or a shape that it does not take
                print(f"{name}: {work}: {error!r}", file=sys.stderr)
        self.work = work
        return self.libraries

    def forget(self):
        self.work = None
        self.libraries = {}
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def seconds(self, name, launches):
        library = self.libraries[name]
        if self.device == "cpu":
            begin = time.perf_counter()
            for number in range(launches):
                library.launch(number)
            return (time.perf_counter() - begin) / launches
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for number in range(launches + 1):
            library.launch(number)
            if number == 0:  # not counted: while it runs, the others are enqueued
                begin.record()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / launches

    def answer(self, line):
        verb, *words = line.split()
        if verb == "libraries":
            return " ".join(self.open(words))
        if verb == "forget":
            self.forget()
            return "ok"
        if verb == "seconds":
            name, launches, *work = words
            if work != self.work:
                self.open(work)
            return repr(self.seconds(name, int(launches)))
        raise ValueError(f"no verb {verb}")


def check():
    """Shapes and results on the CPU. Returns the exit code."""
    peers = Peers("cpu")
    wanted = {"sdpa_math"} | ({"triton"} if triton and os.environ.get("TRITON_INTERPRET") == "1" else set())
    for line in ("decode 1 16", "decode 2 100", "decode 3 200", "prefill 33"):
        found = set(peers.answer(f"libraries {line}").split())
        needed = wanted if line.startswith("decode") else wanted - {"triton"}
        print(f"{line}: {' '.join(sorted(found))}")
        if not needed <= found:
            print(f"missing: {' '.join(sorted(needed - found))}")
            return 1
        for name in sorted(needed):
            if not float(peers.answer(f"seconds {name} 2 {line}")) > 0:
                return 1
    # What is wrong must be seen.
    library = next(iter(peers.open(["decode", "2", "40"]).values()))
    library.sets[0][0] = library.sets[0][0] * float("nan")
    if library.is_right() or peers.answer("forget") != "ok":
        print("a wrong result is not seen")
        return 1
    return 0


def main():
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    torch.manual_seed(int(time.time()))
    if not torch.cuda.is_available():  # the reader must not wait for ever
        print("error no CUDA card for PyTorch", file=out)
        return
    peers = Peers("cuda")
    print("ready", peers.name(), file=out)
    with torch.inference_mode():
        for line in sys.stdin:
            try:
                answer = peers.answer(line)
            except Exception as error:
                answer = "error " + repr(error).replace("\n", " ")
            print(answer, file=out)


if __name__ == "__main__":
    sys.exit(check() if "--check" in sys.argv[1:] else main())
