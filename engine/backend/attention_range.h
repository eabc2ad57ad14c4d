// Attention over the positions of one task, range by range: the state of a range is computed by
// itself, and the states are merged in order. Pure functions of the task and the KV blocks.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "engine/backend/attention_task.h"

namespace reprise::engine {

// Computes a whole task. A row's bits are those of AttendTaskRange of every range and then
// MergeTaskRanges. REQUIRES: `buffers` have room for the task's pairs.
void AttendTask(const AttentionTask& task, const AttentionBuffers& buffers);

// Sets `state` to what the range that starts at `begin`, a multiple of kAttentionRange, gives.
void AttendTaskRange(const AttentionTask& task, const AttentionBuffers& buffers, int64_t begin,
                     const AttentionState& state);

// Computes the output of a task from the states of its ranges, in order; the first is that at
// task.first_range(). Leaves the states undefined.
void MergeTaskRanges(const AttentionTask& task, absl::Span<const AttentionState> states);

}  // namespace reprise::engine
