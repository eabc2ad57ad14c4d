#include "bench/hitrate/eviction_bed.h"

#include <algorithm>

#include "bench/hitrate/sweep.h"
#include "bench/hitrate/trace_keys.h"
#include "cachestore/base/check.h"

namespace reprise::bench {

using cachestore::BlockId;
using cachestore::kNoBlock;
using cachestore::Membership;

namespace {

constexpr cachestore::CandidateSet kEnds = 0;
constexpr cachestore::CandidateSet kCopiesAbove = 1;
constexpr int64_t kBlockTokens = 16;
constexpr int64_t kPromptTokens = kBlockTokens * EvictionBed::kChainBlocks;
constexpr int64_t kHourUs = 3'600'000'000;

}  // namespace

EvictionBed::EvictionBed(const PolicyMaker& make, int64_t num_blocks)
    : num_blocks_(num_blocks), policy_(make()) {
  CHECK(num_blocks >= kChainBlocks);
  policy_->Reserve(static_cast<size_t>(num_blocks));
  chain_of_.reserve(static_cast<size_t>(num_blocks));
  while (num_victims_ == 0) ServeOne();
}

double EvictionBed::Serve(int64_t num_victims) {
  const int64_t before = num_victims_;
  victim_seconds_ = 0;
  while (num_victims_ - before < num_victims) ServeOne();
  return victim_seconds_ / static_cast<double>(num_victims_ - before);
}

cachestore::BlockKey EvictionBed::KeyOfBlock(size_t chain, size_t depth) const {
  return KeyOf(static_cast<cachestore::BlockNumber>(chain * kChainBlocks + depth));
}

void EvictionBed::PlaceEnd(const Chain& chain, bool candidate) {
  if (chain.ids.empty()) return;
  policy_->Place(chain.ids.back(), Membership::kDisk, candidate ? kEnds : cachestore::kNoSet);
}

void EvictionBed::Evict() {
  const BlockId id = policy_->Best(kEnds);
  Chain& chain = chains_[chain_of_[id]];
  CHECK(chain.ids.back() == id);
  PlaceEnd(chain, false);
  chain.ids.pop_back();
  policy_->Place(id, Membership::kRam, cachestore::kNoSet);
  policy_->OnErase(id, KeyOfBlock(chain_of_[id], chain.ids.size()));
  PlaceEnd(chain, true);
  ++num_victims_;
  free_.push_back(id);
}

void EvictionBed::MakeRoom(size_t num_blocks) {
  const double begin = CpuSeconds();
  while (free_.size() + static_cast<size_t>(num_blocks_) - chain_of_.size() < num_blocks) Evict();
  victim_seconds_ += CpuSeconds() - begin;
}

void EvictionBed::ServeOne() {
  now_us_ += kHourUs * kChainBlocks / num_blocks_;
  size_t number = chains_.size();
  const size_t recent =
      std::min(chains_.size(), static_cast<size_t>(num_blocks_) / 4 / kChainBlocks);
  if (recent > 0 && random_() % 3 == 0) {
    number -= 1 + random_() % recent;
  } else {
    chains_.emplace_back().ids.reserve(kChainBlocks);
  }
  Chain& chain = chains_[number];
  keys_.clear();
  for (size_t depth = 0; depth < kChainBlocks; ++depth) keys_.push_back(KeyOfBlock(number, depth));
  PlaceEnd(chain, false);
  const cachestore::RequestHints hints = {.use = cachestore::RequestHints::Use::kRequest};
  policy_->OnRequest({.time_ms = now_us_ / 1000,
                      .block_tokens = kBlockTokens,
                      .prompt_tokens = kPromptTokens,
                      .keys = keys_,
                      .matched = chain.ids,
                      .hints = hints});
  MakeRoom(kChainBlocks - chain.ids.size());
  while (chain.ids.size() < kChainBlocks) {
    BlockId id = static_cast<BlockId>(chain_of_.size());
    if (free_.empty()) {
      chain_of_.emplace_back();
    } else {
      id = free_.back();
      free_.pop_back();
    }
    chain_of_[id] = static_cast<uint32_t>(number);
    const BlockId parent = chain.ids.empty() ? kNoBlock : chain.ids.back();
    policy_->OnInsert(id, parent, keys_[chain.ids.size()]);
    policy_->OnUse(id, parent);
    policy_->Place(id, Membership::kRam, kCopiesAbove);
    chain.ids.push_back(id);
  }
  const cachestore::RequestEnd end = {.output_tokens = 100};
  policy_->OnRequestEnd(
      {.block_tokens = kBlockTokens, .keys = keys_, .last = chain.ids.back(), .end = end});
  PlaceEnd(chain, true);
}

}  // namespace reprise::bench
