"""Paged decode attention in Triton: what one writes in an afternoon, split over KV.

    q      [rows, heads, dim] bf16            table    [rows, pages of the longest] i32
    k, v   [pages, kv_heads, page, dim] bf16  lengths  [rows] i32
    out    [rows, heads, dim] bf16

One program takes SPLIT positions of one row and kv head, for all heads of the group, and leaves a
softmax state; a second kernel merges them. Without a GPU it runs under TRITON_INTERPRET=1.
"""

import torch
import triton
import triton.language as tl

TILE = 64
GROUP_ROWS = 16  # what a product takes at least; heads of a group beyond theirs are masked


@triton.jit
def _attend(q, k, v, table, lengths, sums, tops, weights, table_stride, scale, split,
            HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr,
            TILE: tl.constexpr, GROUP_ROWS: tl.constexpr):
    row, kv_head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    group: tl.constexpr = HEADS // KV_HEADS
    begin = part * split
    end = tl.minimum(begin + split, tl.load(lengths + row))
    in_group = tl.arange(0, GROUP_ROWS)
    heads = kv_head * group + in_group
    dims = tl.arange(0, DIM)
    is_head = in_group[:, None] < group
    query = tl.load(q + (row * HEADS + heads[:, None]) * DIM + dims[None, :], mask=is_head, other=0.0)
    top = tl.full([GROUP_ROWS], -1e30, tl.float32)
    weight = tl.zeros([GROUP_ROWS], tl.float32)
    total = tl.zeros([GROUP_ROWS, DIM], tl.float32)
    for at in range(begin, end, TILE):
        tokens = at + tl.arange(0, TILE)
        is_token = tokens < end
        page = tl.load(table + row * table_stride + tokens // PAGE, mask=is_token, other=0)
        place = (page.to(tl.int64) * KV_HEADS + kv_head) * PAGE + tokens % PAGE
        where = place[:, None] * DIM + dims[None, :]
        keys = tl.load(k + where, mask=is_token[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(keys)) * scale
        scores = tl.where(is_token[None, :], scores, -1e30)
        new_top = tl.maximum(top, tl.max(scores, 1))
        powers = tl.exp2(scores - new_top[:, None])
        fade = tl.exp2(top - new_top)
        values = tl.load(v + where, mask=is_token[:, None], other=0.0)
        total = total * fade[:, None] + tl.dot(powers.to(values.dtype), values)
        weight = weight * fade + tl.sum(powers, 1)
        top = new_top
    state = (row * HEADS + heads) * tl.num_programs(2) + part
    tl.store(sums + state[:, None] * DIM + dims[None, :], total, mask=is_head)
    tl.store(tops + state, top, mask=in_group < group)
    tl.store(weights + state, weight, mask=in_group < group)


@triton.jit
def _merge(sums, tops, weights, out, parts, DIM: tl.constexpr, PARTS: tl.constexpr):
    pair = tl.program_id(0)
    part = tl.arange(0, PARTS)
    dims = tl.arange(0, DIM)
    is_part = part < parts
    top = tl.load(tops + pair * parts + part, mask=is_part, other=-1e30)
    factor = tl.exp2(top - tl.max(top, 0))
    weight = tl.load(weights + pair * parts + part, mask=is_part, other=0.0)
    total = tl.load(sums + (pair * parts + part[:, None]) * DIM + dims[None, :], mask=is_part[:, None], other=0.0)
    result = tl.sum(total * factor[:, None], 0) / tl.sum(weight * factor, 0)
    tl.store(out + pair * DIM + dims, result.to(out.dtype.element_ty))


class PagedDecode:
    """Launches for one batch; `programs`: how many should run at once, for the split over KV."""

    def __init__(self, q, table, lengths, longest, kv_heads, page, programs):
        self.q, self.table, self.lengths = q, table, lengths
        rows, self.heads, self.dim = q.shape
        self.kv_heads, self.page = kv_heads, page
        tiles = triton.cdiv(longest, TILE)
        wanted = max(1, programs // (rows * kv_heads))
        self.split = triton.cdiv(tiles, min(wanted, tiles)) * TILE
        self.parts = triton.cdiv(longest, self.split)
        states = rows * self.heads * self.parts
        self.sums = torch.empty(states * self.dim, device=q.device, dtype=torch.float32)
        self.tops = torch.empty(states, device=q.device, dtype=torch.float32)
        self.weights = torch.empty(states, device=q.device, dtype=torch.float32)
        self.out = torch.empty_like(q)

    def __call__(self, k, v):
        rows = self.q.shape[0]
        scale = self.dim**-0.5 * 1.4426950408889634
        _attend[(rows, self.kv_heads, self.parts)](
            self.q, k, v, self.table, self.lengths, self.sums, self.tops, self.weights,
            self.table.stride(0), scale, self.split, HEADS=self.heads, KV_HEADS=self.kv_heads,
            DIM=self.dim, PAGE=self.page, TILE=TILE, GROUP_ROWS=GROUP_ROWS, num_stages=3)
        _merge[(rows * self.heads,)](
            self.sums, self.tops, self.weights, self.out, self.parts, DIM=self.dim,
            PARTS=triton.next_power_of_2(self.parts))
        return self.out
