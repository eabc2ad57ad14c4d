// Causal attention over paged KV blocks on the CPU, for prefill and decode rows alike.
//
// Softmax is computed online: positions are taken in tiles of 64, at multiples of 64 from position
// 0, in order. Per (row, head) and tile, with m the largest score so far,
//
//     s[t] = (((q[0] k[t][0]) + q[1] k[t][1]) + ...)      one chain of multiply-adds over head_dim
//     s[t] = softcap tanh(s[t] / softcap)                 for models that cap their scores
//     p[t] = exp(s[t] - m);  sum += p[t];  out += p[t] v[t]  one chain of multiply-adds over t
//
// and earlier sums are scaled when m grows. That is done for each range of 256 positions by itself;
// the ranges' m, sum and out are then merged one after the other, so that threads can take a range
// each where there are fewer (sequence, kv head) pairs than threads. No step depends on which other
// rows or heads are computed with it, nor on who computes a range: a decode row, a prefill row and
// a row of a chunk have the same bits.
//
// Work: 4 x head_dim operations and one exp per (row, position, head). Keys and values of a tile
// are read once for all rows of a task and all heads of a group; a task has up to 192 (row, head)
// pairs, so prefill is bound by arithmetic, and decode by reading 2 x positions x head_dim elements
// per kv head.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"
#include "engine/backend/backend.h"

namespace reprise::engine {

// Buffers. Contents mean nothing between calls; kept by the caller only to avoid allocating again.
struct AttentionScratch {
  std::vector<std::vector<float>> threads;  // one a thread
  std::vector<float> parts;                 // states of ranges
};

// Backend::Attention on all threads.
void AttendRows(Activations q, absl::Span<const SequenceRows> sequences,
                const cachestore::KvLayout& layout, int32_t layer, const AttentionScheme& scheme,
                AttentionScratch* scratch, Activations out);

}  // namespace reprise::engine
