// AttentionPlan: a batch of sequences cut into tasks of about equal work. Plain data; the tasks
// point into the batch and its blocks. Which rows share a task changes no bit of their output.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"
#include "engine/backend/attention_task.h"
#include "engine/backend/backend.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

struct AttentionPlan {
  std::vector<AttentionTask> tasks;
  int64_t pairs = 0;  // (row, head) pairs of the largest task
  int64_t work = 0;   // products of a query's and a key's element, of all tasks together
};

// Plans Backend::Attention for `num_threads` threads. REQUIRES: what Backend::Attention does.
AttentionPlan PlanAttention(Activations q, absl::Span<const SequenceRows> sequences,
                            const cachestore::KvLayout& layout, int32_t layer,
                            const AttentionScheme& scheme, int num_threads, Activations out);

}  // namespace reprise::engine
