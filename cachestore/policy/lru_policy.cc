#include "cachestore/policy/lru_policy.h"

#include "cachestore/base/check.h"

namespace reprise::cachestore {

void LruPolicy::OnInsert(BlockId id, BlockId parent) {
  CHECK(!Contains(id));
  if (id >= links_.size()) links_.resize(static_cast<size_t>(id) + 1);
  LinkBefore(id, Contains(parent) ? parent : kNoBlock);
}

void LruPolicy::OnHit(absl::Span<const BlockId> chain) {
  // Last block first, so that the root ends up the youngest.
  for (size_t i = chain.size(); i-- > 0;) {
    if (!Contains(chain[i])) continue;
    Unlink(chain[i]);
    LinkBefore(chain[i], kNoBlock);
  }
}

void LruPolicy::OnErase(BlockId id) {
  CHECK(Contains(id));
  Unlink(id);
}

void LruPolicy::ProposeVictims(absl::FunctionRef<bool(BlockId)> consider) const {
  for (BlockId id = oldest_; id != kNoBlock; id = links_[id].younger) {
    if (!consider(id)) return;
  }
}

bool LruPolicy::Contains(BlockId id) const { return id < links_.size() && links_[id].held; }

void LruPolicy::LinkBefore(BlockId id, BlockId younger) {
  const BlockId older = younger == kNoBlock ? youngest_ : links_[younger].older;
  links_[id] = {older, younger, true};
  (older == kNoBlock ? oldest_ : links_[older].younger) = id;
  (younger == kNoBlock ? youngest_ : links_[younger].older) = id;
  ++size_;
}

void LruPolicy::Unlink(BlockId id) {
  const Link link = links_[id];
  (link.older == kNoBlock ? oldest_ : links_[link.older].younger) = link.younger;
  (link.younger == kNoBlock ? youngest_ : links_[link.younger].older) = link.older;
  links_[id] = {};
  --size_;
}

}  // namespace reprise::cachestore
