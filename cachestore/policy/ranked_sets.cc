#include "cachestore/policy/ranked_sets.h"

#include <algorithm>
#include <iterator>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

uint64_t WordOf(const RankedSets::Rank& rank) {
  return uint64_t{rank.level} << RankedSets::kGroupBits | rank.group;
}

uint64_t GroupOf(uint64_t rank_word) {
  return rank_word & ((uint64_t{1} << RankedSets::kGroupBits) - 1);
}

}  // namespace

RankedSets::Entry RankedSets::EntryOf(uint64_t group, uint32_t depth, BlockId id) {
  const uint64_t word = group << kDepthBits | std::min(depth, kMaxDepth);
  return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word), id};
}

bool RankedSets::Insert(CandidateSet set, const Rank& rank, uint32_t depth, BlockId id) {
  if (set >= sets_.size()) sets_.resize(size_t{set} + 1);
  Set& its = sets_[set];
  const size_t size = its.blocks.size();
  const auto at = its.blocks.insert(its.last_change, EntryOf(rank.group, depth, id));
  CHECK(its.blocks.size() == size + 1);
  its.last_change = at;
  if (at != its.blocks.begin() && std::prev(at)->group() == rank.group) return false;
  const auto next = std::next(at);
  if (next != its.blocks.end() && next->group() == rank.group) return false;
  // Where a block just went, the one above it often goes next.
  its.ranks.insert(its.ranks.begin(), WordOf(rank));
  return true;
}

bool RankedSets::Erase(CandidateSet set, const Rank& rank, uint32_t depth, BlockId id) {
  Set& its = sets_[set];
  const Entry entry = EntryOf(rank.group, depth, id);
  auto at = its.last_change;
  if (at == its.blocks.end() || *at != entry) at = its.blocks.find(entry);
  CHECK(at != its.blocks.end());
  const auto next = its.blocks.erase(at);
  its.last_change = next;
  if (next != its.blocks.end() && next->group() == rank.group) return false;
  if (next != its.blocks.begin() && std::prev(next)->group() == rank.group) return false;
  const auto first = its.ranks.begin();
  const uint64_t word = WordOf(rank);
  const auto ranked = first != its.ranks.end() && *first == word ? first : its.ranks.find(word);
  CHECK(ranked != its.ranks.end());
  its.ranks.erase(ranked);
  return true;
}

void RankedSets::Move(CandidateSet set, const Rank& from, uint16_t level) {
  CHECK(sets_[set].ranks.erase(WordOf(from)) == 1);
  sets_[set].ranks.insert(WordOf({level, from.group}));
}

BlockId RankedSets::Best(CandidateSet set) const {
  if (size(set) == 0) return kNoBlock;
  const Set& its = sets_[set];
  return std::prev(EndOf(its, GroupOf(*its.ranks.begin())))->id;
}

void RankedSets::Visit(CandidateSet set, absl::FunctionRef<bool(BlockId)> consider) const {
  if (size(set) == 0) return;
  const Set& its = sets_[set];
  for (const uint64_t rank : its.ranks) {
    const uint64_t group = GroupOf(rank);
    auto at = EndOf(its, group);
    while (at != its.blocks.begin() && std::prev(at)->group() == group) {
      --at;
      if (!consider(at->id)) return;
    }
  }
}

}  // namespace reprise::cachestore
