#include "cachestore/store/recovery.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/block/namespace_identity.h"
#include "cachestore/store/candidates.h"

namespace reprise::cachestore {
namespace {

// Erased at once, so that a batch stays small.
constexpr size_t kEraseBatchKeys = 4096;

// The block entered last: most often the parent of the next one.
struct LastEntered {
  BlockKey key;
  BlockId id = kNoBlock;
};

using Encodings = absl::flat_hash_map<BlockKey, std::string>;  // root -> identity

// The namespace with this root, added if it is new; nullopt when it is not bound.
std::optional<uint32_t> NamespaceOf(const BlockKey& root, const Encodings& bound,
                                    const BackingTier& tier, StoreState& state) {
  std::optional<uint32_t> id = state.index.FindNamespace(root);
  if (id.has_value()) return id;
  const auto it = bound.find(root);
  if (it == bound.end()) return std::nullopt;
  const absl::StatusOr<NamespaceIdentity> identity = NamespaceIdentity::Decode(it->second);
  if (!identity.ok()) return std::nullopt;
  state.AddNamespace({.payload_bytes = identity->layout.BytesPerBlock(),
                      .identity = it->second,
                      .tenant = identity->tenant,
                      .bound = true,
                      .disk_bytes = tier.BudgetBytes(identity->layout.BytesPerBlock())});
  return state.index.AddNamespace(root, identity->block_words());
}

// The block's parent node; nullopt for a block that does not belong to what was entered so far.
std::optional<BlockId> ParentOf(const StoredBlock& block, const Encodings& bound,
                                const LastEntered& last, const BackingTier& tier,
                                StoreState& state) {
  const std::optional<uint32_t> namespace_id = NamespaceOf(block.root, bound, tier, state);
  if (!namespace_id.has_value() ||
      state.index.block_words(*namespace_id) != static_cast<int64_t>(block.tokens.size()) ||
      state.namespaces[*namespace_id].payload_bytes != block.payload_bytes) {
    return std::nullopt;
  }
  BlockId parent = kNoBlock;
  if (block.parent == block.root) {
    parent = state.index.root_node(*namespace_id);
  } else if (last.id != kNoBlock && block.parent == last.key) {
    parent = last.id;
  } else {
    parent = state.index.Find(block.parent);
  }
  if (parent == kNoBlock || state.index.node(parent).namespace_id != *namespace_id) {
    return std::nullopt;
  }
  return parent;
}

// Enters `blocks` (in the order of storing) into the order of eviction.
void OrderByAge(const std::vector<BlockId>& blocks, StoreState& state) {
  // From the youngest block on, each one directly after those ancestors that no younger block has
  // placed yet, the topmost first: every parent comes out younger than its children.
  std::vector<BlockId> youngest_first;
  std::vector<bool> placed;
  std::vector<BlockId> path;
  for (size_t i = blocks.size(); i-- > 0;) {
    path.clear();
    for (BlockId id = blocks[i]; !state.index.node(id).is_root; id = state.index.node(id).parent) {
      if (id >= placed.size()) placed.resize(static_cast<size_t>(id) + 1);
      if (placed[id]) break;
      placed[id] = true;
      path.push_back(id);
    }
    youngest_first.insert(youngest_first.end(), path.rbegin(), path.rend());
  }
  Candidates candidates(state);
  for (size_t i = youngest_first.size(); i-- > 0;) {
    state.order->OnRecover(youngest_first[i]);
    candidates.Update(youngest_first[i]);
  }
}

}  // namespace

absl::Status Recover(BackingTier& tier, KeyDeriver derive, StoreState& state) {
  std::vector<BlockId> blocks;
  std::vector<BlockKey> orphans;
  Encodings bound;
  LastEntered last;
  RETURN_IF_ERROR(tier.ForEachNamespace([&](const BlockKey& root, absl::string_view encoding) {
    bound.emplace(root, std::string(encoding));
  }));
  RETURN_IF_ERROR(tier.ForEach([&](const StoredBlock& block) {
    const std::optional<BlockId> parent = ParentOf(block, bound, last, tier, state);
    if (!parent.has_value() || derive(block.parent, block.tokens) != block.key ||
        block.key == block.root) {
      orphans.push_back(block.key);
      return;
    }
    const BlockId id = state.index.Insert(*parent, block.key, block.tokens);
    state.index.MarkStored(id);
    last = {block.key, id};
    state.index.SetPayloadHash(id, block.payload_hash);
    blocks.push_back(id);
  }));
  OrderByAge(blocks, state);
  state.counters.recovered_blocks = static_cast<int64_t>(blocks.size());
  // From the youngest on: children go before their parents.
  while (!orphans.empty()) {
    const size_t count = std::min(orphans.size(), kEraseBatchKeys);
    RETURN_IF_ERROR(tier.Erase(absl::MakeSpan(orphans).last(count)));
    orphans.resize(orphans.size() - count);
  }
  return absl::OkStatus();
}

}  // namespace reprise::cachestore
