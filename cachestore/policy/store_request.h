// StoreRequest, StoreRequestEnd: a request as the store sees it come, and how it ended. Plain data,
// valid during a call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "cachestore/block/block_id.h"
#include "cachestore/block/block_key.h"
#include "cachestore/policy/request_hints.h"

namespace reprise::cachestore {

struct StoreRequest {
  int64_t time_ms = 0;  // when it came, since any moment; never less than that of the one before
  uint32_t namespace_id = 0;
  int64_t block_tokens = 0;
  int64_t prompt_tokens = 0;          // those behind the last full block included
  absl::Span<const BlockKey> keys;    // the blocks looked up, root first
  absl::Span<const BlockId> matched;  // of these, the leading ones that the store has
  const RequestHints& hints;
};

struct StoreRequestEnd {
  int64_t time_ms = 0;  // when that was told, likewise
  uint32_t namespace_id = 0;
  int64_t block_tokens = 0;
  int64_t first_block = 0;          // of `keys` in their chain
  absl::Span<const BlockKey> keys;  // the last blocks of the chain that the request leaves behind
  BlockId last = kNoBlock;          // the last of them; kNoBlock: not in the store any more
  const RequestEnd& end;
};

}  // namespace reprise::cachestore
