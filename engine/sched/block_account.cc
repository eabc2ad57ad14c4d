#include "engine/sched/block_account.h"

#include <utility>

#include "cachestore/base/check.h"

namespace reprise::engine {

using cachestore::BlockKey;
using cachestore::BlockRef;
using cachestore::NamespaceHandle;
using cachestore::TokenId;
using cachestore::WritableBlock;

absl::StatusOr<WritableBlock> BlockAccount::Allocate(const NamespaceHandle& ns) {
  absl::StatusOr<WritableBlock> block =
      store_->Allocate(ns, store_->compute_tier(), cachestore::Purpose::kCompute);
  if (block.ok()) ++writable_blocks_;
  return block;
}

BlockRef BlockAccount::Seal(const NamespaceHandle& ns, WritableBlock block, const BlockKey& parent,
                            absl::Span<const TokenId> tokens) {
  --writable_blocks_;
  BlockRef ref = store_->Seal(ns, std::move(block), parent, tokens);
  Add(ref);
  return ref;
}

void BlockAccount::Add(const BlockRef& block) { ++pins_[block.key()]; }

void BlockAccount::GiveBack(BlockRef block) {
  const auto it = pins_.find(block.key());
  CHECK(it != pins_.end());
  if (--it->second == 0) pins_.erase(it);
}

void BlockAccount::GiveBack(WritableBlock block) {
  CHECK(block);
  --writable_blocks_;
}

int64_t BlockAccount::CountPins(const BlockKey& key) const {
  const auto it = pins_.find(key);
  return it == pins_.end() ? 0 : it->second;
}

}  // namespace reprise::engine
