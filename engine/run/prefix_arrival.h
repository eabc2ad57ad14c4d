// PrefixArrival: tells the model which layers of a sequence's prefix have come. Engine-thread only.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "cachestore/block/kv_layout.h"
#include "engine/model/model.h"
#include "engine/sched/sequence.h"

namespace reprise::engine {

class PrefixArrival final : public LayerArrival {
 public:
  // `sequence`, which is arriving, outlives it.
  PrefixArrival(const Sequence* sequence, const cachestore::KvLayout& layout)
      : sequence_(sequence), layout_(layout) {}

  absl::Status AwaitLayer(int32_t layer) override {
    if (sequence_->AwaitPrefix(layout_.PartOffset(layer + 1, 0))) return absl::OkStatus();
    has_failed_ = true;
    return absl::UnavailableError("the prefix did not arrive in time");
  }
  bool has_failed() const { return has_failed_; }

 private:
  const Sequence* const sequence_;
  const cachestore::KvLayout layout_;
  bool has_failed_ = false;
};

}  // namespace reprise::engine
