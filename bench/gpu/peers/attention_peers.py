#!/usr/bin/env python3
"""Attention of other libraries, for `reprise bench gpu-attention --peers`, on stdin and stdout.

It starts with `ready NAME`. Then, for each line it reads, it answers one:

    libraries WORK            -> the libraries that can do it, each tried against plain f32 attention
    seconds LIBRARY N WORK    -> seconds of one launch, of N, each over other KV
    forget                    -> ok, and the memory of the last work is given back

or `error MESSAGE`. WORK is `decode BATCH CONTEXT` or `prefill TOKENS`: 32 heads over 8 kv heads of 128
dims, bf16, random; decode over pages of 16 tokens in random order for FlashInfer and Triton,
contiguous KV for PyTorch, which has no pages. NAME says which of the three are there.

    attention_peers.py --check    tries small shapes on the CPU (TRITON_INTERPRET=1 for Triton; for
                                  FlashInfer a stand-in, with its signatures where it is there)
"""

import functools
import os
import sys
import time

try:
    import torch
except ImportError:
    print("error no PyTorch")  # before any other name of it is needed
    sys.exit(77)
from attention_libraries import (DIM, KV_HEADS, SDPA, ContiguousKv, PagedKv, Sdpa, TritonDecode,
                                 agrees, triton)

if "--check" in sys.argv[1:]:
    import flashinfer_stand_in
    flashinfer_stand_in.install()
try:
    import flashinfer_attention
except Exception as error:  # there or not, it must not cost the other peers
    print(f"no FlashInfer: {error!r}", file=sys.stderr)
    flashinfer_attention = None


class Peers:
    def __init__(self, device):
        self.device = device
        self.work = None
        self.libraries = {}
        self.runs = {}  # (library, launches) -> what runs them

    def name(self):
        return ", ".join([f"PyTorch {torch.__version__}",
                          f"Triton {triton.__version__}" if triton else "no Triton",
                          f"FlashInfer {flashinfer_attention.VERSION}" if flashinfer_attention else "no FlashInfer"])

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
        # One KV for all that read the same kind; the longest leaves no room for more.
        contiguous = functools.cache(lambda: ContiguousKv(self.device, batch, tokens, sets))
        paged = functools.cache(lambda: PagedKv(self.device, batch, tokens, sets))
        # The plain one is a peer nowhere, and what there is on a CPU.
        names = ["sdpa_math"] if self.device == "cpu" else ["sdpa_flash", "sdpa_cudnn"]
        found = {}
        # Where there is no room for both kinds, what reads pages as we do is the better peer.
        if flashinfer_attention is not None and work[0] == "decode":
            # Engines differ in which they take for four heads over one kv head.
            for name, tensor_cores in (("flashinfer", False), ("flashinfer_tensor_cores", True)):
                found[name] = lambda tensor_cores=tensor_cores: flashinfer_attention.FlashInferDecode(
                    self.device, paged(), tensor_cores)
        elif flashinfer_attention is not None:
            found["flashinfer"] = lambda: flashinfer_attention.FlashInferPrefill(self.device, contiguous())
        if work[0] == "decode" and triton is not None:
            found["triton"] = lambda: TritonDecode(self.device, paged())
        for name in names:
            found[name] = lambda backend=SDPA[name]: Sdpa(backend, self.device, contiguous(), rows)
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
        self.runs = {}
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
        run = self.recorded(name, launches)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        run()  # not counted: while it runs, the one that counts is enqueued
        begin.record()
        run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / launches

    def recorded(self, name, launches):
        """What launches `name` so often: a CUDA graph, since Python takes longer to launch a short one
        than the card to run it. What cannot be recorded is launched."""
        if (name, launches) not in self.runs:
            library = self.libraries[name]

            def launch():
                for number in range(1, launches + 1):
                    out = library.launch(number)
                return out

            self.runs[name, launches] = launch
            try:
                self.runs[name, launches] = self.graph_of(launch)
            except Exception as error:
                print(f"{name}: no graph: {error!r}", file=sys.stderr)
        return self.runs[name, launches]

    @staticmethod
    def graph_of(launch):
        """Records what `launch` does; an error if repeating it does not give the same."""
        expected = launch().float()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = launch()
        out.zero_()
        graph.replay()
        if not agrees(out, expected):
            raise RuntimeError("it gives other results")
        return graph.replay

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
    both = {"sdpa_math", "flashinfer"}
    interpreted = {"triton"} if triton and os.environ.get("TRITON_INTERPRET") == "1" else set()
    wanted = {"decode": both | interpreted | {"flashinfer_tensor_cores"}, "prefill": both}
    print(peers.name())
    for line in ("decode 1 16", "decode 2 100", "decode 3 200", "prefill 33"):
        found = set(peers.answer(f"libraries {line}").split())
        needed = wanted[line.split()[0]]
        print(f"{line}: {' '.join(sorted(found))}")
        if not needed <= found:
            print(f"missing: {' '.join(sorted(needed - found))}")
            return 1
        for name in sorted(needed):
            if not float(peers.answer(f"seconds {name} 2 {line}")) > 0:
                return 1
    # What is wrong must be seen.
    for line in ("decode 2 40", "prefill 40"):
        for name, library in peers.open(line.split()).items():
            right = library.launch(0)
            for wrong in (right * 1.1, right * float("nan")):
                library.launch = lambda number, wrong=wrong: wrong
                if library.is_right():
                    print(f"a wrong result of {name} is not seen")
                    return 1
    if peers.answer("forget") != "ok":
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
