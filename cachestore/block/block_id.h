// BlockId: the name of a block inside this process, a small dense integer that the prefix index
// hands out and reuses. Never persisted, never sent. Policies and the store index arrays by it.
#pragma once

#include <cstdint>

namespace reprise::cachestore {

using BlockId = uint32_t;
inline constexpr BlockId kNoBlock = 0xffffffff;

}  // namespace reprise::cachestore
