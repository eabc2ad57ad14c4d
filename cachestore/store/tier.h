// Tier: a place whose blocks are used where they lie. What disk holds is loaded into one first.
#pragma once

#include <cstdint>

namespace reprise::cachestore {

enum class Tier : uint8_t { kGpu, kRam };

}  // namespace reprise::cachestore
