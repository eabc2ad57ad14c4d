// PolicyTier: a tier of blocks that a policy orders, served with the turns of conversations.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <type_traits>
#include <vector>

#include "cachestore/policy/reuse_policy.h"

namespace reprise::cachestore {

inline constexpr CandidateSet kLeaves = 0;
inline constexpr int64_t kBlockTokens = 512;

struct Turn {
  std::vector<uint64_t> chain;  // names of blocks, root first
  double at = 0;                // seconds
  int64_t output_tokens = 100;
  bool has_partial_tail = false;
  RequestHints hints = {.use = RequestHints::Use::kRequest};
  RequestEnd end = {};
  uint32_t namespace_id = 0;
};

// A tier of so many blocks that gives up leaves in the order of a policy, in virtual time.
class PolicyTier {
 public:
  template <typename Policy>
  static PolicyTier Of(size_t capacity, int64_t attention_tokens = 0) {
    PolicyTier tier(capacity);
    if constexpr (std::is_same_v<Policy, ReusePolicy>) {
      tier.policy_ = std::make_unique<ReusePolicy>(attention_tokens);
    } else {
      tier.policy_ = std::make_unique<Policy>();
    }
    return tier;
  }

  // Returns how many of the leading blocks were there.
  size_t Serve(const Turn& turn) {
    const std::vector<BlockId> matched = Look(turn);
    if (!matched.empty()) policy_->Place(matched.back(), Membership::kRam, kNoSet);
    BlockId parent = matched.empty() ? kNoBlock : matched.back();
    for (size_t i = matched.size(); i < turn.chain.size(); ++i) {
      const BlockId id = next_id_++;
      ids_[turn.chain[i]] = id;
      nodes_[id] = {turn.chain[i], parent, 0};
      if (parent != kNoBlock) ++nodes_[parent].children;
      policy_->OnInsert(id, parent, KeyOf(turn.chain[i]));
      policy_->OnUse(id, parent);
      parent = id;
    }
    RequestEnd end = turn.end;
    end.output_tokens = turn.output_tokens;
    policy_->OnRequestEnd(
        {.block_tokens = kBlockTokens, .keys = keys_, .last = parent, .end = end});
    if (nodes_[parent].children == 0) policy_->Place(parent, Membership::kRam, kLeaves);
    while (nodes_.size() > capacity_) Evict();
    return matched.size();
  }

  // Tells of a request that waits.
  void Announce(const Turn& turn) { Look(turn); }

  // The name of the block that goes first.
  uint64_t Next() const { return nodes_.at(policy_->Best(kLeaves)).name; }
  void Evict() {
    const BlockId id = policy_->Best(kLeaves);
    ASSERT_NE(id, kNoBlock);
    policy_->Place(id, Membership::kRam, kNoSet);
    policy_->OnErase(id, KeyOf(nodes_[id].name));
    const BlockId parent = nodes_[id].parent;
    ids_.erase(nodes_[id].name);
    nodes_.erase(id);
    if (parent != kNoBlock && --nodes_[parent].children == 0) {
      policy_->Place(parent, Membership::kRam, kLeaves);
    }
  }
  bool Has(uint64_t name) const { return ids_.contains(name); }
  // A request, of no whole block, tells the policy what time it is.
  void PassTime(double at) { Look({.at = at}); }
  ReusePolicy& reuse() { return static_cast<ReusePolicy&>(*policy_); }

 private:
  struct Node {
    uint64_t name = 0;
    BlockId parent = kNoBlock;
    int children = 0;
  };

  explicit PolicyTier(size_t capacity) : capacity_(capacity) {}
  static BlockKey KeyOf(uint64_t name) {
    const uint64_t lo = (name + 1) * 0x9e3779b97f4a7c15;
    return {.hi = (lo ^ lo >> 29) * 0xbf58476d1ce4e5b9, .lo = lo};
  }
  std::vector<BlockId> Look(const Turn& turn) {
    keys_.clear();
    for (const uint64_t name : turn.chain) keys_.push_back(KeyOf(name));
    std::vector<BlockId> matched;
    for (const uint64_t name : turn.chain) {
      if (!ids_.contains(name)) break;
      matched.push_back(ids_[name]);
    }
    const auto tokens = static_cast<int64_t>(turn.chain.size()) * kBlockTokens;
    policy_->OnRequest({.time_ms = std::llround(turn.at * 1000),
                        .namespace_id = turn.namespace_id,
                        .block_tokens = kBlockTokens,
                        .prompt_tokens = tokens - (turn.has_partial_tail ? 100 : 0),
                        .keys = keys_,
                        .matched = matched,
                        .hints = turn.hints});
    return matched;
  }

  size_t capacity_;
  std::unique_ptr<EvictionPolicy> policy_;
  std::map<uint64_t, BlockId> ids_;
  std::map<BlockId, Node> nodes_;
  std::vector<BlockKey> keys_;
  BlockId next_id_ = 0;
};

inline std::vector<uint64_t> Chain(uint64_t first, size_t count) {
  std::vector<uint64_t> chain(count);
  for (size_t i = 0; i < count; ++i) chain[i] = first + i;
  return chain;
}

}  // namespace reprise::cachestore
