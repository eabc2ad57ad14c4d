// EngineOptions: what an Engine is built from. Plain data, checked once by Validate().
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "cachestore/block/kv_layout.h"
#include "engine/sched/load_choice.h"

namespace reprise::engine {

// A block has a power of two of tokens, in these limits.
inline constexpr int32_t kLeastBlockTokens = 8;
inline constexpr int32_t kMostBlockTokens = 256;

struct EngineOptions {
  std::string model_folder;   // Hugging Face folder
  int32_t block_tokens = 16;  // tokens per KV block; a power of two from 8 to 256
  // What keys and values are kept as. All but f32 are rounded. f32 unless told otherwise, for
  // models with smaller weights as well: they are computed in f32, so nothing else reads back as
  // computed.
  cachestore::DType kv_dtype = cachestore::DType::kF32;
  int32_t step_tokens = 512;  // most tokens computed in one step (prefill is cut into chunks)
  int32_t max_running = 64;   // sequences computed at once
  int32_t max_waiting = 256;  // sequences queued; more are refused
  int32_t num_threads = 0;    // compute threads; 0: one per core
  // What of a prefix that only disk holds is loaded.
  PrefixLoading prefix_loading = PrefixLoading::kWhereFaster;

  // kInvalidArgument names the option, its value and the allowed range.
  absl::Status Validate() const;
};

}  // namespace reprise::engine
