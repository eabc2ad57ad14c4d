#include "cachestore/index/prefix_index.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

static_assert(sizeof(PrefixIndex::Node) == 64);
static_assert(std::is_trivially_destructible_v<PrefixIndex::Node>);

uint32_t PrefixIndex::AddNamespace(const BlockKey& root, int32_t block_words) {
  CHECK(block_words > 0);
  const uint32_t namespace_id = static_cast<uint32_t>(namespaces_.size());
  CHECK(namespace_of_root_.emplace(root, namespace_id).second);
  namespaces_.push_back({root, kNoBlock, block_words});
  const BlockId id = NewNode(root, namespace_id);
  at(id).is_root = true;
  namespaces_.back().node = id;
  return namespace_id;
}

std::optional<uint32_t> PrefixIndex::FindNamespace(const BlockKey& root) const {
  const auto it = namespace_of_root_.find(root);
  if (it == namespace_of_root_.end()) return std::nullopt;
  return it->second;
}

BlockId PrefixIndex::Find(const BlockKey& key) const {
  return table_.Find(key, [this](BlockId id) -> const BlockKey& { return node(id).key; });
}

bool PrefixIndex::Verify(BlockId id, BlockId parent, absl::Span<const uint32_t> words) const {
  const Node& n = node(id);
  return n.parent == parent &&
         std::memcmp(n.words(), words.data(), words.size() * sizeof(uint32_t)) == 0;
}

size_t PrefixIndex::Match(BlockId parent, absl::Span<const BlockKey> keys,
                          absl::Span<const uint32_t> words, absl::Span<BlockId> ids,
                          MatchEnd& end) const {
  // The table entries and then the nodes of a window are fetched side by side; one block after the
  // other would wait for memory twice per block.
  constexpr size_t kWindow = 64;
  const size_t block_words = namespaces_[node(parent).namespace_id].block_words;
  for (size_t begin = 0; begin < keys.size(); begin += kWindow) {
    const absl::Span<const BlockKey> window = keys.subspan(begin, kWindow);
    std::array<BlockId, kWindow> candidates;
    for (const BlockKey& key : window) table_.Prefetch(key);
    size_t found = 0;
    for (; found < window.size(); ++found) {
      candidates[found] = table_.FindCandidate(window[found]);
      if (candidates[found] == kNoBlock) break;
    }
    // A loop of its own: a probe that the CPU guesses wrong would hold up the fetches behind it.
    for (size_t i = 0; i < found; ++i) {
      const Node& candidate = node(candidates[i]);
      __builtin_prefetch(&candidate);
      __builtin_prefetch(candidate.words());
    }
    for (size_t i = 0; i < window.size(); ++i) {
      BlockId id = candidates[i];
      if (id != kNoBlock && node(id).key != window[i]) id = Find(window[i]);
      if (id == kNoBlock || !node(id).in_store()) {
        end = MatchEnd::kAbsent;
        return begin + i;
      }
      if (!Verify(id, parent, words.subspan((begin + i) * block_words, block_words))) {
        end = MatchEnd::kCollision;
        return begin + i;
      }
      ids[begin + i] = id;
      parent = id;
    }
  }
  end = MatchEnd::kAllMatched;
  return keys.size();
}

BlockId PrefixIndex::Insert(BlockId parent, const BlockKey& key, absl::Span<const uint32_t> words) {
  const uint32_t namespace_id = node(parent).namespace_id;
  CHECK(words.size() == static_cast<size_t>(block_words(namespace_id)));
  const BlockId id = NewNode(key, namespace_id);
  std::copy(words.begin(), words.end(), reinterpret_cast<uint32_t*>(&at(id) + 1));
  LinkChild(parent, id);
  table_.Insert(key, id);
  if (node_listener_ != nullptr) {
    node_listener_->OnInsert(id, node(parent).is_root ? kNoBlock : parent, key);
  }
  return id;
}

BlockId PrefixIndex::InsertPrivate(uint32_t namespace_id, const BlockKey& key) {
  const BlockId id = NewNode(key, namespace_id);
  at(id).is_private = true;
  ++private_keys_[key];
  return id;
}

void PrefixIndex::RemoveIfGone(BlockId id) {
  while (id != kNoBlock) {
    const Node& n = node(id);
    if (!n.in_use || n.is_root || n.in_memory() || n.disk != DiskState::kNone || n.pins > 0 ||
        n.loading || n.orphan || n.first_child != kNoBlock) {
      return;
    }
    const BlockId parent = n.parent;
    if (n.is_private) {
      const auto it = private_keys_.find(n.key);
      if (--it->second == 0) private_keys_.erase(it);
    } else {
      table_.Erase(n.key, id);
      UnlinkChild(id);
      if (node_listener_ != nullptr) node_listener_->OnErase(id, n.key);
    }
    FreeNode(id);
    id = parent;
  }
}

template <typename Mutate>
void PrefixIndex::Change(BlockId id, Mutate mutate, Removal why) {
  Node& n = at(id);
  const TierSet before = n.tiers();
  const bool was_in_store = n.in_store();
  const bool was_on_disk = n.disk == DiskState::kStored;
  const bool was_needing_parent = n.needs_parent_on_disk();
  const bool was_condemned = n.condemned;
  const bool had_disk_copy = n.disk != DiskState::kNone;
  mutate(n);
  const int in_store = n.in_store() - was_in_store;
  const int on_disk = (n.disk == DiskState::kStored) - was_on_disk;
  num_on_disk_ += on_disk;
  num_condemned_ += n.condemned - was_condemned;
  if (n.parent == kNoBlock) return;
  Node& parent = at(n.parent);
  parent.live_children += in_store;
  parent.children_on_disk += n.needs_parent_on_disk() - was_needing_parent;
  const TierSet after = n.tiers();
  const int disk_copies = (n.disk != DiskState::kNone) - had_disk_copy;
  if ((before == after && disk_copies == 0) || listener_ == nullptr) return;
  listener_->OnChange({.namespace_id = n.namespace_id,
                       .key = n.key,
                       .parent = parent.key,
                       .before = before,
                       .after = after,
                       .disk_copies = disk_copies,
                       .why = why});
}

void PrefixIndex::AttachRam(BlockId id, uint32_t slot) {
  Change(id, [slot](Node& n) {
    CHECK(!n.in_ram() && !n.stale);
    n.ram_slot = slot;
    n.doomed = false;
  });
}

uint32_t PrefixIndex::DetachRam(BlockId id, Removal why) {
  uint32_t slot = kNoRamSlot;
  const auto detach = [&slot](Node& n) {
    CHECK(n.in_ram() && n.pins == 0 && n.disk != DiskState::kStoring);
    slot = std::exchange(n.ram_slot, kNoRamSlot);
    if (n.in_gpu) return;
    n.doomed = false;
    n.stale = false;
  };
  Change(id, detach, why);
  return slot;
}

void PrefixIndex::AttachGpu(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(!n.in_gpu && !n.stale);
    n.in_gpu = true;
    n.doomed = false;
  });
}

void PrefixIndex::DetachGpu(BlockId id, Removal why) {
  const auto detach = [](Node& n) {
    CHECK(n.in_gpu && !n.gpu_held);
    n.in_gpu = false;
    if (n.in_ram()) return;
    n.doomed = false;
    if (n.pins == 0) n.stale = false;
  };
  Change(id, detach, why);
}

void PrefixIndex::SetGpuHeld(BlockId id, bool held) {
  CHECK(node(id).in_gpu);
  at(id).gpu_held = held;
}

void PrefixIndex::BeginStore(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(n.disk == DiskState::kNone && n.in_ram() && !n.condemned);
    n.disk = DiskState::kStoring;
  });
}

void PrefixIndex::EndStore(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(n.disk == DiskState::kStoring);
    n.disk = DiskState::kStored;
  });
}

void PrefixIndex::AbortStore(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(n.disk == DiskState::kStoring);
    n.disk = DiskState::kNone;
    n.condemned = false;
  });
}

void PrefixIndex::MarkStored(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(n.disk == DiskState::kNone);
    n.disk = DiskState::kStored;
  });
}

void PrefixIndex::BeginErase(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(n.disk == DiskState::kStored && !n.loading && !n.verifying && n.children_on_disk == 0);
    n.disk = DiskState::kErasing;
  });
}

void PrefixIndex::EndErase(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(n.disk == DiskState::kErasing);
    n.disk = DiskState::kNone;
    n.condemned = false;
  });
}

void PrefixIndex::AbortErase(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(n.disk == DiskState::kErasing);
    n.disk = DiskState::kStored;
    n.condemned = true;
  });
}

void PrefixIndex::Condemn(BlockId id, Removal why) {
  const auto condemn = [](Node& n) {
    CHECK(n.disk != DiskState::kNone);
    n.condemned = true;
  };
  Change(id, condemn, why);
}

void PrefixIndex::Doom(BlockId id, Removal why) {
  const auto doom = [](Node& n) {
    CHECK(n.in_memory());
    n.doomed = true;
  };
  Change(id, doom, why);
}

void PrefixIndex::LiftDoom(BlockId id) {
  Change(id, [](Node& n) {
    CHECK(!n.stale);
    n.doomed = false;
  });
}

void PrefixIndex::MarkStale(BlockId id) {
  CHECK(node(id).pins > 0 || node(id).in_memory());
  CHECK(node(id).doomed || !node(id).in_memory());
  at(id).stale = true;
}

void PrefixIndex::SetLoading(BlockId id) {
  CHECK(node(id).readable_on_disk() && !node(id).loading);
  at(id).loading = true;
}

void PrefixIndex::ClearLoading(BlockId id) {
  CHECK(node(id).loading);
  at(id).loading = false;
}

void PrefixIndex::SetVerifying(BlockId id, bool verifying) {
  CHECK(node(id).verifying != verifying && (!verifying || node(id).readable_on_disk()));
  at(id).verifying = verifying;
}

void PrefixIndex::Pin(BlockId id) {
  if (at(id).pins++ == 0) ++num_pinned_;
}

uint32_t PrefixIndex::Unpin(BlockId id) {
  Node& n = at(id);
  CHECK(n.pins > 0);
  if (--n.pins > 0) return n.pins;
  --num_pinned_;
  if (!n.in_memory()) n.stale = false;
  return 0;
}

bool PrefixIndex::MayEvict(BlockId id) const {
  const Node& n = node(id);
  return n.in_ram() && n.pins == 0 && n.readable_on_disk();
}

bool PrefixIndex::MayDrop(BlockId id) const {
  const Node& n = node(id);
  return n.in_ram() && n.pins == 0 && n.disk == DiskState::kNone && !n.loading &&
         n.live_children == 0;
}

bool PrefixIndex::MayLeaveToGpu(BlockId id) const {
  const Node& n = node(id);
  return n.in_ram() && n.pins == 0 && n.in_gpu && !n.doomed && n.disk == DiskState::kNone;
}

bool PrefixIndex::MayEvictFromGpu(BlockId id) const {
  const Node& n = node(id);
  return n.in_gpu && !n.gpu_held && (n.in_ram() || n.readable_on_disk());
}

bool PrefixIndex::MayDropFromGpu(BlockId id) const {
  const Node& n = node(id);
  return n.in_gpu && !n.gpu_held && !n.in_ram() && n.pins == 0 && n.disk == DiskState::kNone &&
         !n.loading && n.live_children == 0;
}

bool PrefixIndex::MayEraseFromDisk(BlockId id) const {
  const Node& n = node(id);
  return n.readable_on_disk() && !n.loading && !n.verifying && n.children_on_disk == 0 &&
         n.live_children == 0 && (n.in_memory() || n.pins == 0);
}

bool PrefixIndex::MayEraseCondemned(BlockId id) const {
  const Node& n = node(id);
  return n.condemned && n.disk == DiskState::kStored && !n.loading && !n.verifying &&
         n.children_on_disk == 0;
}

BlockId PrefixIndex::VisitSome(BlockId from, size_t count,
                               absl::FunctionRef<void(BlockId)> visit) const {
  for (size_t range = arena_.range_of(from); range < arena_.num_ranges(); ++range) {
    for (BlockId id = std::max(from, arena_.first_id(range)); id < arena_.end_id(range); ++id) {
      if (count-- == 0) return id;
      if (node(id).in_use) visit(id);
    }
  }
  return kNoBlock;
}

int64_t PrefixIndex::DepthOf(BlockId id) const {
  // Deeper ones do not know it themselves.
  int64_t below = 0;
  for (; node(id).depth == kMaxDepth; id = node(id).parent) ++below;
  return node(id).depth + below;
}

BlockId PrefixIndex::NewNode(const BlockKey& key, uint32_t namespace_id) {
  const BlockId id = arena_.Allocate(sizeof(Node) + block_words(namespace_id) * sizeof(uint32_t));
  Node& n = *new (arena_.at(id)) Node();
  n.key = key;
  n.namespace_id = namespace_id;
  n.in_use = true;
  ++num_nodes_;
  return id;
}

void PrefixIndex::FreeNode(BlockId id) {
  at(id) = Node();  // not in use
  arena_.Free(id);
  --num_nodes_;
}

void PrefixIndex::LinkChild(BlockId parent, BlockId id) {
  Node& n = at(id);
  Node& p = at(parent);
  n.parent = parent;
  n.depth = p.is_root ? 0 : std::min<uint32_t>(p.depth + 1, kMaxDepth);
  n.next_sibling = p.first_child;
  if (p.first_child != kNoBlock) at(p.first_child).previous_sibling = id;
  p.first_child = id;
}

void PrefixIndex::UnlinkChild(BlockId id) {
  const Node& n = node(id);
  if (n.next_sibling != kNoBlock) at(n.next_sibling).previous_sibling = n.previous_sibling;
  (n.previous_sibling != kNoBlock ? at(n.previous_sibling).next_sibling
                                  : at(n.parent).first_child) = n.next_sibling;
}

}  // namespace reprise::cachestore
