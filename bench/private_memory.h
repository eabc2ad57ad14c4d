// What this process's private memory has grown to. Thread-safe.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace reprise::bench {

// Bytes of this process's private memory that the kernel holds for it, without what was freed. An
// arena's are shared memory and not among them. kUnavailable: the kernel does not tell.
absl::StatusOr<int64_t> PrivateBytes();

}  // namespace reprise::bench
