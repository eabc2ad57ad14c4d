#include "engine/sched/block_budget.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::engine {

BlockBudget::BlockBudget(int64_t capacity_blocks, int32_t block_tokens, int64_t max_positions,
                         cachestore::Tier tier)
    // A sixteenth is room for one more prefix on a small tier; more than 16 blocks is never needed
    // to keep loads and puts going one after the other.
    : usable_blocks_(capacity_blocks - std::min<int64_t>(capacity_blocks / 16, 16)),
      block_tokens_(block_tokens),
      max_positions_(max_positions),
      tier_(tier) {
  CHECK(capacity_blocks > 0 && block_tokens > 0 && max_positions > 0);
}

int64_t BlockBudget::WorstCaseBlocks(const GenerateRequest& request) const {
  // The last new token is emitted without computing its KV.
  const int64_t positions =
      static_cast<int64_t>(request.prompt.size()) + request.stop.max_new_tokens - 1;
  return (std::min(positions, max_positions_) + block_tokens_ - 1) / block_tokens_;
}

absl::Status BlockBudget::CheckFits(const GenerateRequest& request) const {
  const int64_t needed = WorstCaseBlocks(request);
  if (needed <= usable_blocks_) return absl::OkStatus();
  const int64_t room = usable_blocks_ * block_tokens_ - static_cast<int64_t>(request.prompt.size());
  const std::string remedy =
      room >= 0 ? absl::StrCat("ask for at most ", room + 1, " new tokens (max_new_tokens)")
                : "shorten the prompt";
  const bool on_gpu = tier_ == cachestore::Tier::kGpu;
  return absl::FailedPreconditionError(absl::StrCat(
      "a prompt of ", request.prompt.size(), " tokens with up to ", request.stop.max_new_tokens,
      " new ones needs ", needed, " KV blocks of ", block_tokens_, " tokens, but the ",
      on_gpu ? "GPU" : "RAM", " tier has ", usable_blocks_, " for sequences; ", remedy,
      ", or give the server more ", on_gpu ? "of the GPU (--gpu-bytes)" : "RAM (--ram-bytes)"));
}

}  // namespace reprise::engine
