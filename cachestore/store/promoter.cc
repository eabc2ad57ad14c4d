#include "cachestore/store/promoter.h"

#include <algorithm>
#include <optional>

#include "absl/time/clock.h"
#include "cachestore/base/check.h"
#include "cachestore/store/pin_state.h"

namespace reprise::cachestore {
namespace {

// Longer than the demoter needs to write a batch, short enough to recompute instead when the room
// is pinned away.
constexpr absl::Duration kRoomPatience = absl::Milliseconds(500);

}  // namespace

Promoter::Promoter(StoreCore& core, BlockRegistry& registry, const StoreOptions& options)
    : core_(core),
      registry_(registry),
      queue_(core.tier == nullptr ? 0 : options.disk.num_io_threads, options.max_queued_loads,
             [this](BlockId id) { StartLoad(id); }) {}

Promoter::~Promoter() { Close(); }

void Promoter::Close() {
  queue_.Close();
  absl::MutexLock lock(&core_.mu);
  while (in_flight_ > 0) flight_cv_.Wait(&core_.mu);
}

PinTicket Promoter::Pin(const PinRequest& request, std::function<void()> on_done) {
  const auto pending = std::make_shared<Pending>();
  std::optional<PinnedPrefix> result;
  {
    absl::MutexLock lock(&core_.mu);
    pending->entries = MatchLocked(request);
    pending->block_tokens = request.block_tokens;
    pending->state = std::make_shared<PinState>(static_cast<int64_t>(pending->entries.size()),
                                                std::move(on_done));
    // Everything in RAM is pinned before a load can take a slot, which may evict.
    PinResidentLocked(*pending);
    StartLoadsLocked(pending);
    if (pending->loads_left == 0) result = FinishLocked(*pending);
    core_.NoteChange();
  }
  PinTicket ticket(pending->state);
  if (result.has_value()) pending->state->Complete(*std::move(result));
  return ticket;
}

std::vector<Promoter::Entry> Promoter::MatchLocked(const PinRequest& request) {
  StoreState& state = core_.state;
  std::vector<BlockId> ids(request.keys.size());
  MatchEnd end;
  ids.resize(state.index.Match(state.index.root_node(request.namespace_id), request.keys,
                               request.words, absl::MakeSpan(ids), end));
  std::vector<Entry> entries(ids.size() - std::min(ids.size(), request.first_block));
  for (size_t i = 0; i < entries.size(); ++i) entries[i].id = ids[request.first_block + i];
  const int64_t looked_up = static_cast<int64_t>(request.keys.size() - request.first_block);
  const int64_t missed = looked_up - static_cast<int64_t>(entries.size());
  const int64_t collisions = end == MatchEnd::kCollision && missed > 0 ? 1 : 0;
  state.counters.looked_up_tokens += looked_up * request.block_tokens;
  state.counters.missed_collision_tokens += collisions * request.block_tokens;
  state.counters.missed_absent_tokens += (missed - collisions) * request.block_tokens;
  // All of the chain: a block is of no use without those before it.
  state.disk_order->OnHit(ids);
  return entries;
}

void Promoter::PinResidentLocked(Pending& pending) {
  for (Entry& entry : pending.entries) {
    entry.from_disk = !core_.state.index.node(entry.id).in_ram();
    if (entry.from_disk) continue;
    core_.ram.Pin(entry.id);
    entry.pinned = true;
  }
}

void Promoter::StartLoadsLocked(const std::shared_ptr<Pending>& pending) {
  std::vector<Entry>& entries = pending->entries;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].from_disk || StartLoadLocked(pending, i)) continue;
    // Blocks behind a missing one are of no use; FinishLocked gives their pins back.
    entries[i].outcome = Outcome::kNoRoom;
    pending->first_miss = i;
    for (size_t j = i + 1; j < entries.size(); ++j) entries[j].outcome = Outcome::kBehindMiss;
    return;
  }
}

bool Promoter::StartLoadLocked(const std::shared_ptr<Pending>& pending, size_t entry) {
  const BlockId id = pending->entries[entry].id;
  auto it = loads_.find(id);
  if (it == loads_.end()) {
    // The worker waits for mu before it looks at the load, so it finds what follows here.
    if (!queue_.TryPush(id)) return false;
    core_.disk.BeginLoad(id);
    it = loads_.emplace(id, Load{.number = next_number_++, .waiters = {}}).first;
  }
  it->second.waiters.push_back({pending, entry});
  core_.ram.Pin(id);
  pending->entries[entry].pinned = true;
  pending->entries[entry].outcome = Outcome::kLoading;
  ++pending->loads_left;
  return true;
}

PinnedPrefix Promoter::FinishLocked(Pending& pending) {
  PinnedPrefix prefix;
  size_t good = 0;
  for (Entry& entry : pending.entries) {
    // Invalidated meanwhile.
    if (core_.state.index.node(entry.id).stale) entry.outcome = Outcome::kLost;
    if (entry.outcome != Outcome::kReady) break;
    ++good;
  }
  prefix.blocks.reserve(good);
  prefix.from_disk.reserve(good);
  for (size_t i = 0; i < pending.entries.size(); ++i) {
    const Entry& entry = pending.entries[i];
    if (i < good) {
      (entry.from_disk ? core_.state.counters.hit_disk_tokens
                       : core_.state.counters.hit_ram_tokens) += pending.block_tokens;
      ++(entry.from_disk ? prefix.disk_blocks : prefix.ram_blocks);
      prefix.from_disk.push_back(entry.from_disk);
      prefix.blocks.emplace_back(&registry_, entry.id, core_.state.index.node(entry.id).key,
                                 core_.RamBytes(entry.id));
      continue;
    }
    MissCounterLocked(i == good ? entry.outcome : Outcome::kBehindMiss) += pending.block_tokens;
    if (entry.pinned) core_.ram.Unpin(entry.id);
  }
  return prefix;
}

int64_t& Promoter::MissCounterLocked(Outcome outcome) {
  StoreStats& counters = core_.state.counters;
  switch (outcome) {
    case Outcome::kCorrupt:
      return counters.missed_corrupt_tokens;
    case Outcome::kIoError:
      return counters.missed_io_error_tokens;
    case Outcome::kNoRoom:
      return counters.missed_no_room_tokens;
    case Outcome::kLost:
      return counters.missed_lost_tokens;
    case Outcome::kBehindMiss:
      return counters.missed_after_miss_tokens;
    case Outcome::kReady:
    case Outcome::kLoading:
      break;
  }
  CHECK(false);
  return counters.missed_after_miss_tokens;
}

bool Promoter::IsNeededLocked(BlockId id) const {
  const std::vector<Waiter>& waiters = loads_.at(id).waiters;
  return !core_.closing && std::any_of(waiters.begin(), waiters.end(), [](const Waiter& waiter) {
    return waiter.entry < waiter.pending->first_miss;
  });
}

SlotIndex Promoter::AwaitSlotLocked(BlockId id) {
  // Loads start in the order of their numbers, so the one whose turn it is has a thread.
  const uint64_t number = loads_.at(id).number;
  while (slot_turn_ != number) turn_cv_.Wait(&core_.mu);
  const absl::Time deadline = absl::Now() + kRoomPatience;
  ++core_.room_waiters;
  std::optional<SlotIndex> slot;
  while (IsNeededLocked(id)) {
    slot = core_.disk.AllocateLoadSlot(id);
    if (slot.has_value()) break;
    core_.state.wanted_bytes = core_.state.payload_bytes(id);
    core_.NoteChange();
    // When everything is pinned, only the tickets' holders can make room: not worth waiting for.
    if (core_.state.ram_order->size() == 0) break;
    if (core_.room_cv.WaitWithDeadline(&core_.mu, deadline)) break;
  }
  --core_.room_waiters;
  ++slot_turn_;
  turn_cv_.SignalAll();
  return slot.value_or(kNoSlot);
}

void Promoter::StartLoad(BlockId id) {
  std::vector<LoadRequest> batch(1);
  SlotIndex slot = kNoSlot;
  {
    absl::MutexLock lock(&core_.mu);
    slot = AwaitSlotLocked(id);
    if (slot != kNoSlot) {
      while (in_flight_ >= core_.tier->load_depth(core_.state.payload_bytes(id))) {
        flight_cv_.Wait(&core_.mu);
      }
      ++in_flight_;
      batch[0].block = core_.Describe(id);
      batch[0].payload = core_.state.pool.SlotMemory(slot).first(batch[0].block.payload_bytes);
    }
  }
  if (slot == kNoSlot) {
    FinishLoad(id, slot, absl::ResourceExhaustedError("no slot to load into"));
    return;
  }
  batch[0].done = [this, id, slot](const absl::Status& status) {
    FinishLoad(id, slot, status);
    absl::MutexLock lock(&core_.mu);
    --in_flight_;
    flight_cv_.SignalAll();
  };
  core_.tier->StartLoads(std::move(batch));
}

void Promoter::FinishLoad(BlockId id, SlotIndex slot, const absl::Status& status) {
  // Both may hold the last reference to a PinState, which must not end under the lock.
  std::vector<Waiter> waiters;
  std::vector<Completion> completions;
  {
    absl::MutexLock lock(&core_.mu);
    waiters = std::move(loads_.at(id).waiters);
    loads_.erase(id);
    const Outcome outcome = EndLoadLocked(id, slot, status);
    for (const Waiter& waiter : waiters) {
      Pending& pending = *waiter.pending;
      pending.entries[waiter.entry].outcome = outcome;
      if (outcome != Outcome::kReady) {
        pending.first_miss = std::min(pending.first_miss, waiter.entry);
      }
      if (--pending.loads_left > 0) continue;
      completions.emplace_back(pending.state, FinishLocked(pending));
    }
    core_.NoteChange();
  }
  for (Completion& completion : completions) {
    completion.first->Complete(std::move(completion.second));
  }
}

Promoter::Outcome Promoter::EndLoadLocked(BlockId id, SlotIndex slot, const absl::Status& status) {
  if (status.ok()) {
    return core_.disk.EndLoad(id, slot) ? Outcome::kReady : Outcome::kLost;
  }
  const bool readable = core_.disk.AbortLoad(id, slot);
  const bool lost =
      status.code() == absl::StatusCode::kDataLoss || status.code() == absl::StatusCode::kNotFound;
  if (lost && !core_.state.index.node(id).condemned) core_.disk.Condemn(id);
  if (readable) return Outcome::kReady;
  if (slot == kNoSlot) return Outcome::kNoRoom;
  return status.code() == absl::StatusCode::kDataLoss ? Outcome::kCorrupt : Outcome::kIoError;
}

}  // namespace reprise::cachestore
