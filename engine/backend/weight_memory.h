// WeightMemory: aligned memory for one packed weight, on huge pages where the system grants them (a
// decode step reads every weight once; 4 KiB pages would cost it a table walk each).
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"

namespace reprise::engine {

struct FreeWeightMemory {
  void operator()(std::byte* bytes) const;
};

// Aligned to 64 bytes at least; contents undefined.
using WeightMemory = std::unique_ptr<std::byte[], FreeWeightMemory>;

// kResourceExhausted: the system has no `size` bytes; the message gives the size.
absl::StatusOr<WeightMemory> AllocateWeightMemory(size_t size);

}  // namespace reprise::engine
