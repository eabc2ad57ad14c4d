#include "cachestore/store/candidates.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

bool IsOf(CandidateKind kind, CandidateSet set) {
  return set != kNoSet && set % kNumCandidateKinds == static_cast<uint32_t>(kind);
}

}  // namespace

CandidateSet RamSetFor(const StoreState& state, BlockId id) {
  const PrefixIndex::Node& node = state.index.node(id);
  if (!node.in_ram() || node.pins > 0 || node.doomed || node.is_private) return kNoSet;
  const uint32_t line = state.namespace_of(id).line;
  if (state.index.MayEvict(id)) return SetFor(line, CandidateKind::kClean);
  if (node.disk != DiskState::kNone) return kNoSet;
  if (MayLeaveRam(state, id)) return SetFor(line, CandidateKind::kTwin);
  const bool may_drop = state.index.MayDrop(id);
  if (node.rejected) return may_drop ? SetFor(line, CandidateKind::kClean) : kNoSet;
  return SetFor(line, may_drop ? CandidateKind::kLast : CandidateKind::kParent);
}

CandidateSet DiskSetFor(const StoreState& state, BlockId id) {
  const uint32_t line = state.namespace_of(id).line;
  if (state.index.MayEraseCondemned(id)) return SetFor(line, CandidateKind::kCondemned);
  // A pinned block is in use: giving up its disk copy would only mean writing it again.
  const PrefixIndex::Node& node = state.index.node(id);
  if (node.pins > 0 || node.gpu_held || !state.index.MayEraseFromDisk(id)) return kNoSet;
  return SetFor(line, CandidateKind::kErasable);
}

CandidateSet GpuSetFor(const StoreState& state, BlockId id) {
  const PrefixIndex::Node& node = state.index.node(id);
  if (!node.in_gpu || node.gpu_held || node.doomed || node.is_private) return kNoSet;
  const uint32_t line = state.namespace_of(id).line;
  if (state.index.MayEvictFromGpu(id)) return SetFor(line, CandidateKind::kGpuClean);
  return SetFor(
      line, state.index.MayDropFromGpu(id) ? CandidateKind::kGpuLast : CandidateKind::kGpuParent);
}

bool MayLeaveRam(const StoreState& state, BlockId id) {
  return state.index.MayEvict(id) || (!state.has_disk && state.index.MayLeaveToGpu(id));
}

void Candidates::CountClean(CandidateSet set, int64_t bytes) {
  if (!IsOf(CandidateKind::kClean, set)) return;
  state_.clean_bytes += bytes;
  state_.shares[state_.lines[set / kNumCandidateKinds].share].clean_bytes += bytes;
}

void Candidates::Update(BlockId id) {
  // The policy is not told of these.
  if (state_.index.node(id).is_root || state_.index.node(id).is_private) return;
  const CandidateSet before = state_.order->SetOf(id, Membership::kRam);
  const CandidateSet after = RamSetFor(state_, id);
  CountClean(before, -state_.slot_bytes(id));
  CountClean(after, state_.slot_bytes(id));
  state_.order->Place(id, Membership::kRam, after);
  state_.order->Place(id, Membership::kDisk, DiskSetFor(state_, id));
  if (state_.gpu.capacity_bytes() == 0) return;
  const CandidateSet gpu_before = state_.order->SetOf(id, Membership::kGpu);
  const CandidateSet gpu_after = GpuSetFor(state_, id);
  state_.gpu.clean_bytes +=
      (IsOf(CandidateKind::kGpuClean, gpu_after) - IsOf(CandidateKind::kGpuClean, gpu_before)) *
      state_.slot_bytes(id);
  state_.order->Place(id, Membership::kGpu, gpu_after);
}

void Candidates::UpdateWithParent(BlockId id) {
  Update(id);
  const BlockId parent = state_.index.node(id).parent;
  if (parent != kNoBlock) Update(parent);
}

void Candidates::TakeBetter(uint32_t line, Kinds kinds, BlockId& best) const {
  for (const CandidateKind kind : kinds) {
    const BlockId id = state_.order->Best(SetFor(line, kind));
    if (id != kNoBlock && (best == kNoBlock || state_.order->GoesBefore(id, best))) best = id;
  }
}

BlockId Candidates::Best(uint32_t size_class, Kinds kinds) const {
  BlockId best = kNoBlock;
  for (uint32_t line = 0; line < state_.lines.size(); ++line) {
    if (state_.lines[line].size_class == size_class) TakeBetter(line, kinds, best);
  }
  return best;
}

BlockId Candidates::BestOfOthers(uint32_t size_class, Kinds kinds) const {
  BlockId best = kNoBlock;
  for (uint32_t line = 0; line < state_.lines.size(); ++line) {
    if (state_.lines[line].size_class != size_class) TakeBetter(line, kinds, best);
  }
  return best;
}

BlockId Candidates::BestUnused(Kinds kinds, uint64_t moment) const {
  const std::vector<BlockId> best = BestFewUnused(kinds, moment, 1);
  return best.empty() ? kNoBlock : best[0];
}

std::vector<BlockId> Candidates::BestFewUnused(Kinds kinds, uint64_t moment, size_t count) const {
  std::vector<BlockId> few;
  for (uint32_t line = 0; line < state_.lines.size(); ++line) {
    AddFew(line, kinds, count, moment, few);
  }
  std::sort_heap(few.begin(), few.end(),
                 [this](BlockId a, BlockId b) { return state_.order->GoesBefore(a, b); });
  return few;
}

BlockId Candidates::BestOfShare(uint32_t share, Kinds kinds) const {
  BlockId best = kNoBlock;
  for (const uint32_t line : state_.shares[share].lines) TakeBetter(line, kinds, best);
  return best;
}

BlockId Candidates::BestOfLine(uint32_t line, Kinds kinds) const {
  BlockId best = kNoBlock;
  TakeBetter(line, kinds, best);
  return best;
}

uint32_t Candidates::LineOf(BlockId id, Kinds kinds) const {
  for (const Membership membership : {Membership::kRam, Membership::kDisk, Membership::kGpu}) {
    const CandidateSet set = state_.order->SetOf(id, membership);
    for (const CandidateKind kind : kinds) {
      if (IsOf(kind, set)) return set / kNumCandidateKinds;
    }
  }
  CHECK(false);
  return 0;
}

void Candidates::AddFew(uint32_t line, Kinds kinds, size_t count, uint64_t moment,
                        std::vector<BlockId>& few) const {
  const auto before = [this](BlockId a, BlockId b) { return state_.order->GoesBefore(a, b); };
  for (const CandidateKind kind : kinds) {
    state_.order->ProposeVictims(SetFor(line, kind), [&](BlockId id) {
      if (state_.order->UsedSince(id, moment)) return true;
      if (few.size() == count) {
        if (!before(id, few.front())) return false;
        std::pop_heap(few.begin(), few.end(), before);
        few.pop_back();
      }
      few.push_back(id);
      std::push_heap(few.begin(), few.end(), before);
      return true;
    });
  }
}

std::vector<BlockId> Candidates::BestFew(BlockId first, Kinds kinds, size_t count,
                                         uint64_t moment) const {
  std::vector<BlockId> few;
  AddFew(LineOf(first, kinds), kinds, count, moment, few);
  std::sort_heap(few.begin(), few.end(),
                 [this](BlockId a, BlockId b) { return state_.order->GoesBefore(a, b); });
  return few;
}

std::vector<BlockId> Candidates::BestFewOfSize(BlockId first, Kinds kinds, size_t count,
                                               uint64_t moment) const {
  std::vector<BlockId> few = BestFew(first, kinds, count, moment);
  const uint32_t own = LineOf(first, kinds);
  std::vector<BlockId> others;
  for (uint32_t line = 0; line < state_.lines.size(); ++line) {
    if (line == own || state_.lines[line].size_class != state_.lines[own].size_class) continue;
    AddFew(line, kinds, count, moment, others);
  }
  std::sort_heap(others.begin(), others.end(),
                 [this](BlockId a, BlockId b) { return state_.order->GoesBefore(a, b); });
  few.insert(few.end(), others.begin(), others.end());
  return few;
}

}  // namespace reprise::cachestore
