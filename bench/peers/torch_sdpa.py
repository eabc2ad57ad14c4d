#!/usr/bin/env python3
"""Attention of PyTorch's scaled_dot_product_attention in the shapes of `reprise bench attention`.

    pip install torch && python3 bench/peers/torch_sdpa.py [threads]

14 heads over 2 kv heads of 64 dims, f32, K and V contiguous in memory (a paged cache would have to
gather them first). Decode goes over 24 layers' K and V, so that they come from memory. Prints
medians.
"""
import statistics
import sys
import time

import torch
import torch.nn.functional as F

HEADS, KV_HEADS, DIM, LAYERS, ROUNDS = 14, 2, 64, 24, 21


def seconds(work):
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def attend(q, k, v, causal):
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    torch.manual_seed(1)
    with torch.inference_mode():
        for tokens in (2048,):
            q = torch.randn(1, HEADS, tokens, DIM)
            k, v = (torch.randn(1, KV_HEADS, tokens, DIM) for _ in range(2))
            took = seconds(lambda: attend(q, k, v, True))
            operations = 4 * DIM * HEADS * tokens * (tokens + 1) / 2
            print(f"prefill_{tokens}: {took * 1e3:.2f} ms, {operations / took * 1e-9:.1f} GFLOP/s")
        for context, batch, repeats in ((1024, 1, 8), (1024, 8, 1), (8192, 1, 1)):
            q = torch.randn(batch, HEADS, 1, DIM)
            layers = [[torch.randn(batch, KV_HEADS, context, DIM) for _ in range(2)]
                      for _ in range(LAYERS * repeats)]
            took = seconds(lambda: [attend(q, k, v, False) for k, v in layers])
            moved = 2 * KV_HEADS * DIM * 4 * context * batch * len(layers)
            print(f"decode_{context} batch {batch}: {took / len(layers) * 1e6:.1f} us a layer, "
                  f"{moved / took * 1e-9:.2f} GB/s")


if __name__ == "__main__":
    main()
