// Explain: why blocks are found or missing. Thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/types/span.h"
#include "cachestore/store/explanation.h"
#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

// One for each of `keys` (root first), whose contents are `words`. What is known of those that are
// missing is their last removal.
std::vector<ExplainedBlock> Explain(const StoreCore& core, uint32_t namespace_id,
                                    absl::Span<const BlockKey> keys,
                                    absl::Span<const uint32_t> words) ABSL_LOCKS_EXCLUDED(core.mu);

}  // namespace reprise::cachestore
