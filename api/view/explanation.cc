#include "api/view/explanation.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "api/view/namespace_names.h"

namespace reprise::api {
namespace {

using cachestore::BlockVerdict;

bool IsHit(BlockVerdict verdict) {
  return verdict == BlockVerdict::kGpu || verdict == BlockVerdict::kRam ||
         verdict == BlockVerdict::kDisk;
}

v1::BlockVerdict ToProto(BlockVerdict verdict) {
  switch (verdict) {
    case BlockVerdict::kGpu:
      return v1::BLOCK_VERDICT_GPU;
    case BlockVerdict::kRam:
      return v1::BLOCK_VERDICT_RAM;
    case BlockVerdict::kDisk:
      return v1::BLOCK_VERDICT_DISK;
    case BlockVerdict::kNeverStored:
      return v1::BLOCK_VERDICT_NEVER_STORED;
    case BlockVerdict::kLost:
      return v1::BLOCK_VERDICT_LOST;
    case BlockVerdict::kEvicted:
      return v1::BLOCK_VERDICT_EVICTED;
    case BlockVerdict::kNotAdmitted:
      return v1::BLOCK_VERDICT_NOT_ADMITTED;
    case BlockVerdict::kInvalidated:
      return v1::BLOCK_VERDICT_INVALIDATED;
    case BlockVerdict::kFailedVerification:
      return v1::BLOCK_VERDICT_FAILED_VERIFICATION;
    case BlockVerdict::kCollision:
      return v1::BLOCK_VERDICT_COLLISION;
    case BlockVerdict::kBehindAMiss:
      return v1::BLOCK_VERDICT_BEHIND_A_MISS;
    case BlockVerdict::kPartial:
      break;
  }
  return v1::BLOCK_VERDICT_PARTIAL;
}

// What became of the first block that is missing.
std::string Fate(const cachestore::ExplainedBlock& block, absl::Time now) {
  std::string when;
  if (block.left_at.has_value()) {
    const absl::Duration ago = absl::Trunc(now - *block.left_at, absl::Seconds(1));
    when = ago < absl::Seconds(1) ? " less than a second ago"
                                  : absl::StrCat(" ", absl::FormatDuration(ago), " ago");
  }
  switch (block.verdict) {
    case BlockVerdict::kEvicted:
      return absl::StrCat("was evicted to make room", when);
    case BlockVerdict::kNotAdmitted:
      return absl::StrCat(
          "was evicted from RAM and not admitted to disk (not worth a write, or no room in its "
          "quota)",
          when);
    case BlockVerdict::kInvalidated:
      return absl::StrCat("was invalidated", when);
    case BlockVerdict::kFailedVerification:
      return absl::StrCat("failed verification and was taken out", when);
    case BlockVerdict::kLost:
      return absl::StrCat("was lost, or went with a block before it,", when);
    case BlockVerdict::kCollision:
      return "cannot be cached: another block has its key";
    case BlockVerdict::kPartial:
      return "is partial: only full blocks are cached";
    default:
      return "was not stored, as far as the server remembers";
  }
}

}  // namespace

v1::ExplainResponse ToProto(const std::vector<cachestore::ExplainedBlock>& blocks,
                            int64_t block_tokens, absl::Time now) {
  v1::ExplainResponse response;
  for (size_t i = 0; i < blocks.size(); ++i) {
    v1::ExplainedBlock& block = *response.add_blocks();
    block.set_block_index(static_cast<int64_t>(i));
    if (blocks[i].key.has_value()) block.set_key(KeyBytes(*blocks[i].key));
    block.set_verdict(ToProto(blocks[i].verdict));
    if (blocks[i].left_at.has_value()) {
      block.set_seconds_ago(std::max(0.0, absl::ToDoubleSeconds(now - *blocks[i].left_at)));
    }
  }
  const auto miss = std::find_if(blocks.begin(), blocks.end(),
                                 [](const auto& block) { return !IsHit(block.verdict); });
  const int64_t hits = miss - blocks.begin();
  response.set_usable_tokens(hits * block_tokens);
  if (blocks.empty()) {
    response.set_summary("The prompt is empty.");
  } else if (miss == blocks.end()) {
    response.set_summary(
        absl::StrCat("All ", hits, " blocks are cached, ", hits * block_tokens, " tokens."));
  } else {
    const std::string cached =
        hits == 0 ? "Nothing is cached"
                  : absl::StrCat("The first ", hits, " of ", blocks.size(), " blocks are cached, ",
                                 hits * block_tokens, " tokens");
    response.set_summary(absl::StrCat(cached, "; block ", hits, " ", Fate(*miss, now), "."));
  }
  return response;
}

}  // namespace reprise::api
