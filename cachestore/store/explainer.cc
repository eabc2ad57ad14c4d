#include "cachestore/store/explainer.h"

namespace reprise::cachestore {
namespace {

BlockVerdict VerdictOf(TierSet tiers) {
  if (tiers.Has(CacheTier::kGpu)) return BlockVerdict::kGpu;
  return tiers.Has(CacheTier::kRam) ? BlockVerdict::kRam : BlockVerdict::kDisk;
}

BlockVerdict VerdictOf(Removal why) {
  switch (why) {
    case Removal::kEvicted:
      return BlockVerdict::kEvicted;
    case Removal::kInvalidated:
      return BlockVerdict::kInvalidated;
    case Removal::kFailedVerification:
      return BlockVerdict::kFailedVerification;
    case Removal::kNotAdmitted:
      return BlockVerdict::kNotAdmitted;
    case Removal::kLost:
      break;
  }
  return BlockVerdict::kLost;
}

}  // namespace

std::vector<ExplainedBlock> Explain(const StoreCore& core, uint32_t namespace_id,
                                    absl::Span<const BlockKey> keys,
                                    absl::Span<const uint32_t> words) {
  std::vector<ExplainedBlock> blocks(keys.size());
  std::vector<BlockId> ids(keys.size());
  MatchEnd end;
  absl::ReaderMutexLock lock(&core.mu);
  const PrefixIndex& index = core.state.index;
  const size_t matched =
      index.Match(index.root_node(namespace_id), keys, words, absl::MakeSpan(ids), end);
  for (size_t i = 0; i < keys.size(); ++i) {
    blocks[i].key = keys[i];
    if (i < matched) {
      blocks[i].verdict = VerdictOf(index.node(ids[i]).tiers());
      continue;
    }
    // Behind a collision the keys are those of other blocks.
    if (end == MatchEnd::kCollision) {
      blocks[i].verdict = i == matched ? BlockVerdict::kCollision : BlockVerdict::kBehindAMiss;
      continue;
    }
    const std::optional<LastRemoval> removal = core.events.LastRemovalOf(keys[i]);
    if (removal.has_value()) {
      blocks[i].verdict = VerdictOf(removal->why);
      blocks[i].left_at = removal->time;
    } else if (i > matched) {
      blocks[i].verdict = BlockVerdict::kBehindAMiss;
    }
  }
  return blocks;
}

}  // namespace reprise::cachestore
