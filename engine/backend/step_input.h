// StepInput: what one forward pass runs over, told to the backend once, before its operations.
// Plain data; pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"

namespace reprise::engine {

// One sequence's rows in a batch: `num_rows` consecutive rows of the activations hold its tokens at
// positions [start, start + num_rows). `blocks` holds the sequence's KV blocks in order, covering
// at least positions [0, start + num_rows); each is laid out by the KvLayout and lies in memory
// that the backend reaches. The blocks that hold positions < start are only read; those from start
// on are written.
struct SequenceRows {
  int64_t first_row = 0;
  int64_t num_rows = 0;
  int64_t start = 0;
  absl::Span<std::byte* const> blocks;
};

struct StepInput {
  absl::Span<const uint32_t> ids;            // [rows]: tokens
  absl::Span<const SequenceRows> sequences;  // in the order of their rows, which are all rows
  // The rows that are left once KV of the last layer is written; ascending.
  absl::Span<const int64_t> kept_rows;
  cachestore::KvLayout layout;  // of all blocks
  bool arrives = false;         // some KV before the rows comes into its blocks layer by layer

  int64_t num_rows() const { return static_cast<int64_t>(ids.size()); }
};

// The positions of all rows of `sequences`, in order.
void ListPositions(absl::Span<const SequenceRows> sequences, std::vector<int32_t>* positions);

// `kept_rows` of `sequences` as they lie once the others are gone: one entry a row.
// REQUIRES: the rows are ascending, and rows of `sequences`.
void ListKeptRows(absl::Span<const SequenceRows> sequences, absl::Span<const int64_t> kept_rows,
                  std::vector<SequenceRows>* kept);

}  // namespace reprise::engine
