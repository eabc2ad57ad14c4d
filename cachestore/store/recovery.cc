#include "cachestore/store/recovery.h"

#include <optional>
#include <vector>

#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

// The block entered last: most often the parent of the next one.
struct LastEntered {
  BlockKey key;
  BlockId id = kNoBlock;
};

// The block's parent node, in its namespace (added if it is new); nullopt for a block that does not
// belong to what was entered so far.
std::optional<BlockId> ParentOf(const StoredBlock& block, const LastEntered& last,
                                StoreState& state) {
  if (block.tokens.empty() || block.payload_bytes == 0) return std::nullopt;
  const int32_t block_words = static_cast<int32_t>(block.tokens.size());
  std::optional<uint32_t> namespace_id = state.index.FindNamespace(block.root);
  if (!namespace_id.has_value()) {
    namespace_id = state.index.AddNamespace(block.root, block_words);
    state.namespaces.push_back({.payload_bytes = block.payload_bytes, .identity = ""});
  }
  if (state.index.block_words(*namespace_id) != block_words ||
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
  for (size_t i = youngest_first.size(); i-- > 0;) {
    state.disk_order->OnInsert(youngest_first[i], kNoBlock);
  }
}

}  // namespace

absl::Status Recover(BackingTier& tier, KeyDeriver derive, StoreState& state) {
  std::vector<BlockId> blocks;
  std::vector<BlockKey> orphans;
  LastEntered last;
  RETURN_IF_ERROR(tier.ForEach([&](const StoredBlock& block) {
    const std::optional<BlockId> parent = ParentOf(block, last, state);
    if (!parent.has_value() || derive(block.parent, block.tokens) != block.key ||
        block.key == block.root) {
      orphans.push_back(block.key);
      return;
    }
    const BlockId id = state.index.Insert(*parent, block.key, block.tokens);
    state.index.MarkStored(id);
    last = {block.key, id};
    blocks.push_back(id);
  }));
  OrderByAge(blocks, state);
  state.counters.recovered_blocks = static_cast<int64_t>(blocks.size());
  return orphans.empty() ? absl::OkStatus() : tier.Erase(orphans);
}

}  // namespace reprise::cachestore
