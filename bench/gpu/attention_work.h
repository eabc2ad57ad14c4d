// AttentionWork: launches of an attention kernel over KV of its own, as the rows of suite
// gpu-attention time them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "cachestore/block/kv_layout.h"
#include "cachestore/memory/device.h"

namespace reprise::bench {

// One layer of a Llama-3-8B in blocks of 16 tokens.
struct AttentionShape {
  int32_t heads = 32;
  int32_t kv_heads = 8;
  int32_t head_dim = 128;
  int32_t block_tokens = 16;
  cachestore::DType dtype = cachestore::DType::kBF16;
};

class AttentionWork {
 public:
  virtual ~AttentionWork() = default;

  // Seconds of one launch: `launches` of them one after the other on the compute lane, between two
  // events, each over other KV, so that none finds its own in the cache. BLOCKS.
  virtual absl::StatusOr<double> Seconds(int launches) = 0;
  // The same of a kernel that reads the same bytes of KV once, in order, and does nothing else.
  virtual absl::StatusOr<double> ReadSeconds(int launches) = 0;
};

using AttentionWorkOr = absl::StatusOr<std::unique_ptr<AttentionWork>>;

// Rows of a decode step, one a sequence.
struct DecodeBatch {
  std::vector<int32_t> lengths;
  int32_t shared = 0;  // leading tokens that all have in common, in the same blocks; whole blocks
};

enum class PrefillKernel { kMmaSync, kHopper };

// How works are opened: random q and KV, blocks anywhere in the device's memory. The device
// outlives them. kDataLoss: the kernel's results are not those of the generic kernel, so it is not
// timed; kNotFound: this build has no CUDA; kUnimplemented: not on this card.
struct AttentionWorks {
  std::function<AttentionWorkOr(cachestore::Device*, const AttentionShape&, const DecodeBatch&)>
      decode;
  // The same, with what is shared read once.
  std::function<AttentionWorkOr(cachestore::Device*, const AttentionShape&, const DecodeBatch&)>
      cascade;
  // All rows of one prompt.
  std::function<AttentionWorkOr(cachestore::Device*, const AttentionShape&, int32_t tokens,
                                PrefillKernel kernel)>
      prefill;
};

// Ours.
AttentionWorks OurAttentionWorks();

}  // namespace reprise::bench
