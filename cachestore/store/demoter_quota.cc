// What the demoter does for tenants' quotas.
#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/clock.h"
#include "cachestore/store/demoter.h"

namespace reprise::cachestore {
namespace {

// Blocks taken from RAM under one hold of the lock, and erased in one durable write.
constexpr size_t kTakenAtOnce = 64;
constexpr size_t kErasedAtOnce = 256;

// Disk copies that a look at what may be erased goes through, under one hold of the lock.
constexpr size_t kLookedAt = 4096;

// Whether the disk copy of `id` could go if `gone` of its children were.
bool CouldGo(const StoreState& state, BlockId id, uint32_t gone) {
  const PrefixIndex::Node& node = state.index.node(id);
  return node.readable_on_disk() && !node.loading && !node.verifying && !node.gpu_held &&
         node.pins == 0 && node.live_children == gone && node.children_on_disk == gone;
}

// Whether erasing disk copies of the share, children before parents, could bring `bytes`. True as
// well when there are too many to look at.
bool CouldErase(const StoreState& state, uint32_t share, int64_t bytes) {
  absl::flat_hash_map<BlockId, uint32_t> gone_children;
  size_t looked_at = 0;
  for (const uint32_t line : state.shares[share].lines) {
    state.order->ProposeVictims(SetFor(line, CandidateKind::kErasable), [&](BlockId id) {
      for (bool more = true; more && bytes > 0 && ++looked_at < kLookedAt;) {
        bytes -= state.namespace_of(id).disk_bytes;
        id = state.index.node(id).parent;
        more = !state.index.node(id).is_root && CouldGo(state, id, ++gone_children[id]);
      }
      return bytes > 0 && looked_at < kLookedAt;
    });
  }
  return bytes <= 0 || looked_at >= kLookedAt;
}

}  // namespace

uint32_t Demoter::NextInNeed() {
  std::vector<Share>& shares = core_.state.shares;
  const auto num_shares = static_cast<uint32_t>(shares.size());
  for (uint32_t looked = 0; looked < num_shares; ++looked) {
    last_relieved_ = (last_relieved_ + 1) % num_shares;
    if (std::exchange(shares[last_relieved_].needs_relief, false)) return last_relieved_;
  }
  core_.state.shares_need_relief = false;
  return kCommonShare;
}

Demoter::Outcome Demoter::RelieveShares() {
  absl::flat_hash_set<uint32_t> seen;
  for (;;) {
    uint32_t share = kCommonShare;
    {
      absl::MutexLock lock(&core_.mu);
      share = NextInNeed();
      if (share == kCommonShare) return Outcome::kNothing;
      if (!seen.insert(share).second) {
        // Nothing can be done for those that are left, until something changes.
        core_.state.NeedRelief(share);
        return Outcome::kNothing;
      }
    }
    // Whose need is not over says so again.
    const Outcome stored = RelieveShare(share);
    const Outcome erased = EraseBeyondQuota(share);
    if (stored == Outcome::kProgress || erased == Outcome::kProgress) return Outcome::kProgress;
    if (stored == Outcome::kRefused || erased == Outcome::kRefused) return Outcome::kRefused;
  }
}

std::optional<StoreGoal> Demoter::GoalOf(uint32_t number) {
  Share& share = core_.state.shares[number];
  // Of all that wait, only those for this share say so again.
  if (share.quota.ram_bytes == 0 || absl::Now() >= share.wanted_at + kWantLasts) {
    share.wanted_bytes = 0;
  }
  if (share.quota.ram_bytes == 0) return std::nullopt;
  const int64_t ready = core_.state.ReadyBytesOf(number);
  const int64_t missing = 2 * share.low_watermark_bytes - ready;
  if (ready < share.low_watermark_bytes) share.relieving = true;
  if (missing <= 0) share.relieving = false;
  if (!share.relieving && share.wanted_bytes == 0) return std::nullopt;
  StoreGoal goal = {.max_blocks = kBatchBlocks, .max_bytes = kBatchBytes, .share = number};
  // Nothing is written before its time.
  if (share.wanted_bytes == 0) {
    goal.max_bytes = std::min(goal.max_bytes, static_cast<uint64_t>(missing));
  }
  return goal;
}

Demoter::Outcome Demoter::RelieveShare(uint32_t number) {
  std::optional<StoreGoal> goal;
  {
    absl::MutexLock lock(&core_.mu);
    const bool keeps_to_quota = core_.ram.MakeShareRoom(number, 0, kTakenAtOnce);
    goal = GoalOf(number);
    if (keeps_to_quota && !goal.has_value()) return Outcome::kNothing;
    core_.state.NeedRelief(number);
    // With clean blocks left, they go first.
    if (!goal.has_value()) return Outcome::kProgress;
    if (absl::Now() < retry_after_) return Outcome::kRefused;
  }
  std::vector<BlockId> stored;
  const Outcome outcome = StoreOne(*goal, stored);
  absl::MutexLock lock(&core_.mu);
  uint64_t& wanted = core_.state.shares[number].wanted_bytes;
  const auto more = wanted == 0 ? 0 : static_cast<int64_t>(SlotPool::SlotBytes(wanted));
  if (core_.ram.MakeShareRoom(number, more, kTakenAtOnce)) wanted = 0;
  core_.room_cv.SignalAll();
  core_.load_cv.Signal();
  if (outcome == Outcome::kProgress) core_.WakeGpuDemoter();
  return outcome;
}

Demoter::Outcome Demoter::EraseBeyondQuota(uint32_t share) {
  std::vector<BlockId> victims;
  {
    absl::MutexLock lock(&core_.mu);
    const int64_t beyond = core_.disk.BytesBeyondQuota(share);
    if (beyond <= 0) return Outcome::kNothing;
    // What pins and loads keep there now goes once they have ended.
    core_.state.NeedRelief(share);
    victims = core_.disk.BeginEraseOfShare(share, beyond, kErasedAtOnce);
    if (victims.empty()) return Outcome::kNothing;
  }
  return Erase(victims);
}

std::optional<int64_t> Demoter::MakeQuotaRoom(const StoreBatch& batch) {
  const auto wanted = static_cast<int64_t>(batch.blocks.size());
  for (;;) {
    std::vector<BlockId> victims;
    int64_t fitting = wanted;
    {
      absl::MutexLock lock(&core_.mu);
      const int64_t beyond = core_.disk.BytesBeyondQuota(batch.share);
      if (beyond <= 0) return wanted;
      const int64_t each = core_.state.namespace_of(batch.blocks[0]).disk_bytes;
      // What does not fit then either takes nothing.
      const int64_t for_one = beyond - (wanted - 1) * each;
      if (for_one > 0 && !CouldErase(core_.state, batch.share, for_one)) return 0;
      fitting = std::max<int64_t>(0, wanted - (beyond + each - 1) / each);
      victims = core_.disk.BeginEraseOfShare(batch.share, beyond, kErasedAtOnce);
    }
    if (victims.empty()) return fitting;
    if (Erase(victims) != Outcome::kProgress) return std::nullopt;
  }
}

}  // namespace reprise::cachestore
