// Why a prompt hits or misses, block by block: what TieredStore::Explain tells. Plain data.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "cachestore/block/block_key.h"

namespace reprise::cachestore {

enum class BlockVerdict : uint8_t {
  kGpu,  // cached; the fastest tier that has it
  kRam,
  kDisk,
  kNeverStored,  // not as far as the store remembers: never, or before the events that it keeps
  kEvicted,      // it had to make room
  kNotAdmitted,  // the same, and it was not worth a write to disk, or its quota there had no room
  kInvalidated,
  kFailedVerification,  // its bytes were not what was stored
  kLost,                // it could not be read, the device failed, or it went with an ancestor
  kCollision,           // another block has its key
  kBehindAMiss,         // a block before it is missing, and nothing more is known of it
  kPartial,             // the end of the prompt, which fills no block
};

struct ExplainedBlock {
  std::optional<BlockKey> key;  // none of the partial block
  BlockVerdict verdict = BlockVerdict::kNeverStored;
  std::optional<absl::Time> left_at;  // when it left its last tier, if the verdict says that it did
};

}  // namespace reprise::cachestore
