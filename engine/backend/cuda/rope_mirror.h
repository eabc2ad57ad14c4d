// RopeMirror: the pages of the RopeTables of one scheme in a device's memory. Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/cuda/memory_copy.h"
#include "engine/backend/rope_table.h"

namespace reprise::engine::cuda {

class RopeMirror {
 public:
  // Of tables that are as `table`. `copy` must outlive it.
  RopeMirror(const RopeTable& table, MemoryCopy* copy)
      : rotary_dim_(table.rotary_dim()), scheme_(table.scheme()), copy_(copy) {}

  // Whether `table` has the rows of this one, as far as both have them.
  bool IsOf(const RopeTable& table) const {
    return table.rotary_dim() == rotary_dim_ && table.scheme() == scheme_;
  }

  // Where the device finds the pages, in order, with all of `table`; copies those that it has not.
  // Errors are MemoryCopy's. REQUIRES: IsOf(table).
  absl::StatusOr<const float* const*> Pages(const RopeTable& table);

 private:
  const int64_t rotary_dim_;
  const RopeScheme scheme_;
  MemoryCopy* const copy_;
  std::vector<cachestore::DeviceBytes> pages_;
  cachestore::DeviceBytes list_;  // the addresses of the first num_listed_
  int64_t num_listed_ = 0;
};

}  // namespace reprise::engine::cuda
