#include "engine/block_fit.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "cachestore/pool/slot_pool.h"
#include "engine/backend/kv_format.h"
#include "engine/engine_options.h"

namespace reprise::engine {
namespace {

// Why a block does not fit; empty when it does.
std::string Obstacle(const cachestore::KvLayout& layout, const TierSize& tier) {
  const absl::Status valid = layout.Validate();
  if (!valid.ok()) return std::string(valid.message());
  const auto slot_bytes =
      static_cast<int64_t>(cachestore::SlotPool::SlotBytes(layout.BytesPerBlock()));
  if (slot_bytes <= tier.bytes) return "";
  return absl::StrCat("it takes ", slot_bytes, " bytes and the ", tier.name, " tier has ",
                      tier.bytes);
}

}  // namespace

absl::Status CheckBlockFits(const ModelConfig& config, int32_t block_tokens,
                            cachestore::DType dtype, const TierSize& tier) {
  if (cachestore::DTypeBits(dtype) < 8 && config.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "KV cannot be kept as ", cachestore::DTypeName(dtype), ": this model's head_dim is ",
        config.head_dim, ", and two elements share a byte; choose a kv_dtype of 8 bits or more"));
  }
  const auto layout = [&](int32_t tokens) { return WithDType(KvLayoutOf(config, tokens), dtype); };
  const std::string obstacle = Obstacle(layout(block_tokens), tier);
  if (obstacle.empty()) return absl::OkStatus();
  int32_t fitting = block_tokens / 2;
  while (fitting >= kLeastBlockTokens && !Obstacle(layout(fitting), tier).empty()) {
    fitting /= 2;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "a KV block of ", block_tokens, " tokens of this model is too large: ", obstacle, "; ",
      fitting >= kLeastBlockTokens
          ? absl::StrCat("the largest block_tokens that fits is ", fitting)
          : absl::StrCat("not even one of ", kLeastBlockTokens, " tokens, the least, fits")));
}

}  // namespace reprise::engine
