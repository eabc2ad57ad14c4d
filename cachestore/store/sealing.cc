#include "cachestore/store/sealing.h"

namespace reprise::cachestore {
namespace {

bool MayAttachTo(const PrefixIndex& index, BlockId parent, const SealRequest& request) {
  if (parent == kNoBlock) return false;
  const PrefixIndex::Node& node = index.node(parent);
  // A block with the key of the root would pass for it as a parent.
  if (request.key == index.node(index.root_node(request.namespace_id)).key) return false;
  // While a private block has the parent's key, the key alone does not tell which of the two the
  // caller means, and a child under the wrong one would be served to the wrong prefix.
  return node.in_store() && node.namespace_id == request.namespace_id &&
         !index.HasPrivate(request.parent);
}

}  // namespace

BlockId EnterSealed(StoreState& state, const SealRequest& request, uint64_t epoch) {
  PrefixIndex& index = state.index;
  ++state.counters.sealed_blocks;
  const bool is_fenced = epoch < state.namespaces[request.namespace_id].fence;
  const BlockId root = index.root_node(request.namespace_id);
  const BlockId parent = request.parent == index.node(root).key ? root : index.Find(request.parent);
  if (!is_fenced && MayAttachTo(index, parent, request)) {
    const BlockId id = index.Find(request.key);
    if (id == kNoBlock) return index.Insert(parent, request.key, request.words);
    // Else another block has this key: it stays, ours is private.
    if (!index.node(id).stale && index.Verify(id, parent, request.words)) return id;
  }
  return index.InsertPrivate(request.namespace_id, request.key);
}

}  // namespace reprise::cachestore
