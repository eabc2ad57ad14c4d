// A kernel that only takes time.
#pragma once

#include <cstdint>

namespace reprise {

// Gives `stream` (a cudaStream_t) a kernel that runs for `microseconds`. Whether it could.
bool HoldStream(void* stream, int64_t microseconds);

}  // namespace reprise
