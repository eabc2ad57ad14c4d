#include "cachestore/store/invalidator.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Nodes looked at under one hold of the lock, which takes some ten microseconds.
constexpr size_t kNodesAtOnce = 512;

constexpr uint64_t kClosed = std::numeric_limits<uint64_t>::max();

}  // namespace

absl::StatusOr<InvalidateReport> Invalidator::Run(const InvalidateTarget& target,
                                                  absl::Time deadline) {
  places_.clear();
  report_ = {};
  CloseFence(target);
  TakeBlocks();
  OpenFence();
  if (AwaitErased(deadline)) return report_;
  return absl::UnavailableError(
      absl::StrCat("the blocks are out of this store, but the disk has not erased all of them: "
                   "after a restart some may be back; taken so far: ",
                   report_.ram_blocks, " from RAM, ", report_.disk_blocks, " from disk"));
}

void Invalidator::CloseFence(const InvalidateTarget& target) {
  using Target = InvalidateTarget;
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  const auto* tenant = std::get_if<Target::Tenant>(&target.scope);
  const auto* space = std::get_if<Target::Namespace>(&target.scope);
  const auto* below = std::get_if<Target::Below>(&target.scope);
  namespaces_.assign(state.namespaces.size(), std::holds_alternative<Target::All>(target.scope));
  for (uint32_t id = 0; id < namespaces_.size(); ++id) {
    if (tenant != nullptr) namespaces_[id] = state.namespaces[id].tenant == tenant->name;
    if (space != nullptr) namespaces_[id] = id == space->id;
    if (below != nullptr) namespaces_[id] = id == below->namespace_id;
    if (namespaces_[id]) state.namespaces[id].fence = kClosed;
  }
  whole_namespaces_ = below == nullptr;
  top_ = kNoBlock;
  if (whole_namespaces_) return;
  CHECK(!below->keys.empty());
  top_ = FindTop(*below);
}

BlockId Invalidator::FindTop(const InvalidateTarget::Below& below) const {
  const PrefixIndex& index = core_.state.index;
  const size_t step = static_cast<size_t>(index.block_words(below.namespace_id));
  BlockId at = index.root_node(below.namespace_id);
  for (size_t i = 0; i < below.keys.size(); ++i) {
    const BlockId id = index.Find(below.keys[i]);
    if (id == kNoBlock || !index.Verify(id, at, below.words.subspan(i * step, step))) {
      return kNoBlock;
    }
    at = id;
  }
  return at;
}

void Invalidator::OpenFence() {
  absl::MutexLock lock(&core_.mu);
  ++core_.state.epoch;
  for (uint32_t id = 0; id < namespaces_.size(); ++id) {
    if (!namespaces_[id]) continue;
    core_.state.namespaces[id].fence = core_.state.epoch;
    // Nothing could come into it meanwhile.
    if (whole_namespaces_) core_.state.book.NoteCleared(id);
  }
}

void Invalidator::TakeBlocks() {
  if (!whole_namespaces_ && top_ == kNoBlock) return;
  for (BlockId next = 0; next != kNoBlock;) {
    absl::MutexLock lock(&core_.mu);
    next = core_.state.index.VisitSome(next, kNodesAtOnce, [this](BlockId id) {
      core_.mu.AssertHeld();
      if (IsTarget(id)) TakeOne(id);
    });
    core_.NoteChange();
  }
}

bool Invalidator::IsTarget(BlockId id) {
  const PrefixIndex::Node& node = core_.state.index.node(id);
  // Namespaces opened since hold nothing old.
  if (node.is_root || node.is_private || node.namespace_id >= namespaces_.size()) return false;
  return namespaces_[node.namespace_id] && (whole_namespaces_ || IsBelowTop(id));
}

bool Invalidator::IsBelowTop(BlockId id) {
  const PrefixIndex& index = core_.state.index;
  std::vector<BlockId> path;
  Place place = Place::kUnknown;
  for (BlockId at = id; place == Place::kUnknown; at = index.node(at).parent) {
    if (at >= places_.size()) places_.resize(static_cast<size_t>(at) + 1, Place::kUnknown);
    if (at == top_) {
      place = Place::kBelow;
    } else if (index.node(at).is_root) {
      place = Place::kElsewhere;
    } else {
      place = places_[at];
    }
    path.push_back(at);
  }
  for (const BlockId at : path) places_[at] = place;
  return place == Place::kBelow;
}

void Invalidator::TakeOne(BlockId id) {
  const PrefixIndex::Node& node = core_.state.index.node(id);
  if (node.in_memory() && !node.doomed) {
    report_.ram_blocks += node.in_ram();
    report_.gpu_blocks += node.in_gpu;
    const bool pinned_on_gpu = node.in_gpu && core_.state.gpu.copies.at(id).pins > 0;
    if (node.pins > 0 || pinned_on_gpu) ++report_.pinned_blocks;
  }
  if (node.disk == DiskState::kStoring || node.readable_on_disk()) ++report_.disk_blocks;
  core_.disk.Invalidate(id);
}

bool Invalidator::AwaitErased(absl::Time deadline) {
  if (core_.tier == nullptr) return true;
  absl::MutexLock lock(&core_.mu);
  const uint64_t settling = ++core_.settlings_wanted;
  core_.WakeDemoter();
  const auto is_left = [this, settling] {
    core_.mu.AssertHeld();
    if (core_.settlings_done < settling) return true;
    for (const BlockId id : core_.state.condemned) {
      const uint32_t ns = core_.state.index.node(id).namespace_id;
      if (ns < namespaces_.size() && namespaces_[ns]) return true;
    }
    return false;
  };
  while (is_left()) {
    if (core_.erased_cv.WaitWithDeadline(&core_.mu, deadline)) return !is_left();
  }
  return true;
}

}  // namespace reprise::cachestore
