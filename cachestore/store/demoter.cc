#include "cachestore/store/demoter.h"

#include <algorithm>
#include <limits>

#include "absl/time/clock.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// One durable write for this many blocks: the sync is paid once, and Allocate still finds room
// soon.
constexpr size_t kBatchBlocks = 32;

// Condemned blocks erased in one durable write: an invalidation may leave millions.
constexpr size_t kErasedAtOnce = 1024;

constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(5);

}  // namespace

Demoter::Demoter(StoreCore& core) : core_(core), pause_(kFirstPause) {
  CHECK(core.tier != nullptr);
  thread_ = std::thread([this] { Run(); });
}

Demoter::~Demoter() {
  {
    absl::MutexLock lock(&core_.mu);
    stop_ = true;
    core_.work_cv.Signal();
  }
  thread_.join();
}

int64_t Demoter::DemoteAll() {
  Request request;
  absl::MutexLock lock(&core_.mu);
  requests_.push_back(&request);
  core_.work_cv.Signal();
  while (!request.done) request_done_.Wait(&core_.mu);
  return request.moved;
}

void Demoter::Run() {
  while (AwaitWork()) {
    uint64_t events = 0;
    {
      absl::MutexLock lock(&core_.mu);
      events = core_.work_events;
    }
    ServeRequests();
    const bool nothing_condemned = EraseCondemned() == Outcome::kNothing;
    const bool nothing_stored = Relieve() == Outcome::kNothing;
    absl::MutexLock lock(&core_.mu);
    fruitless_events_ =
        nothing_condemned && nothing_stored ? events : std::numeric_limits<uint64_t>::max();
  }
}

bool Demoter::AwaitWork() {
  absl::MutexLock lock(&core_.mu);
  while (!stop_) {
    if (!requests_.empty()) return true;
    const bool changed = core_.work_events != fruitless_events_;
    if (!changed || !HasWork()) {
      core_.work_cv.Wait(&core_.mu);
    } else if (absl::Now() < retry_after_) {
      core_.work_cv.WaitWithDeadline(&core_.mu, retry_after_);
    } else {
      return true;
    }
  }
  return false;
}

bool Demoter::HasWork() const { return !core_.state.condemned.empty() || core_.NeedsRelief(); }

void Demoter::ServeRequests() {
  std::vector<Request*> requests;
  {
    absl::MutexLock lock(&core_.mu);
    requests.swap(requests_);
  }
  if (requests.empty()) return;
  const int64_t moved = MoveEverything();
  absl::MutexLock lock(&core_.mu);
  for (Request* request : requests) {
    request->moved = moved;
    request->done = true;
  }
  request_done_.SignalAll();
}

int64_t Demoter::MoveEverything() {
  // Blocks whose bad copies are still on disk cannot be stored.
  EraseCondemned();
  int64_t limit = 0;
  {
    absl::MutexLock lock(&core_.mu);
    limit = static_cast<int64_t>(core_.state.ram_order->size());
  }
  // Blocks sealed or unpinned from now on are younger, so counting to `limit` ends under load.
  int64_t moved = 0;
  while (moved < limit) {
    {
      absl::MutexLock lock(&core_.mu);
      moved += core_.ram.TakeVictims(limit - moved, RamVictims::kClean);
      core_.NoteChange();
    }
    if (moved >= limit) break;
    Outcome outcome = StoreOldest(std::numeric_limits<int64_t>::max());
    if (outcome == Outcome::kNothing) outcome = EraseCondemned();
    if (outcome == Outcome::kProgress) continue;
    absl::MutexLock lock(&core_.mu);
    const int64_t count = std::min<int64_t>(limit - moved, kBatchBlocks);
    const int64_t dropped =
        outcome == Outcome::kRefused ? core_.ram.TakeVictims(count, RamVictims::kCleanOrLast) : 0;
    core_.NoteChange();
    if (dropped == 0) break;
    moved += dropped;
  }
  return moved;
}

Demoter::Outcome Demoter::Relieve() {
  int64_t clean_bytes = 0;
  {
    absl::MutexLock lock(&core_.mu);
    if (!core_.NeedsRelief()) return Outcome::kNothing;
    if (absl::Now() < retry_after_) return Outcome::kRefused;
    const SlotPool& pool = core_.state.pool;
    const int64_t free = pool.capacity_bytes() - pool.used_bytes();
    // Somebody waits for a slot: which blocks must be clean for it depends on where they lie.
    clean_bytes =
        core_.state.wanted_bytes > 0 ? pool.capacity_bytes() : 2 * core_.low_watermark_bytes - free;
  }
  const Outcome outcome = StoreOldest(clean_bytes);
  absl::MutexLock lock(&core_.mu);
  uint64_t& wanted = core_.state.wanted_bytes;
  if (wanted > 0 && core_.ram.MakeRoom(wanted)) wanted = 0;
  core_.room_cv.SignalAll();
  return outcome;
}

Demoter::Outcome Demoter::StoreOldest(int64_t clean_bytes) {
  StoreBatch batch;
  {
    absl::MutexLock lock(&core_.mu);
    batch = core_.disk.BeginStore(clean_bytes, kBatchBlocks);
  }
  if (batch.blocks.empty()) return Outcome::kNothing;
  const int64_t fitting =
      MakeDiskRoom(batch.payload_bytes, static_cast<int64_t>(batch.blocks.size()));
  std::vector<BlockToStore> payloads;
  {
    absl::MutexLock lock(&core_.mu);
    core_.disk.ShrinkStore(batch, static_cast<size_t>(fitting));
    if (batch.blocks.empty()) {
      NoteRefusal();
      return Outcome::kRefused;
    }
    for (const BlockId id : batch.blocks)
      payloads.push_back({core_.Describe(id), core_.RamBytes(id)});
  }
  const absl::Status status = core_.tier->Store(payloads);
  absl::MutexLock lock(&core_.mu);
  if (status.ok()) {
    core_.disk.EndStore(batch);
    NoteSuccess();
    return Outcome::kProgress;
  }
  ++core_.state.counters.failed_disk_writes;
  core_.disk.ShrinkStore(batch, 0);
  NoteRefusal();
  return Outcome::kRefused;
}

int64_t Demoter::MakeDiskRoom(uint64_t payload_bytes, int64_t num_slots) {
  for (;;) {
    const int64_t free = core_.tier->FreeSlots(payload_bytes);
    if (free >= num_slots) return num_slots;
    std::vector<BlockId> victims;
    {
      absl::MutexLock lock(&core_.mu);
      victims = core_.disk.BeginErase(payload_bytes, static_cast<size_t>(num_slots - free));
    }
    if (victims.empty() || Erase(victims) != Outcome::kProgress) return std::max<int64_t>(0, free);
  }
}

Demoter::Outcome Demoter::EraseCondemned() {
  std::vector<BlockId> condemned;
  {
    absl::MutexLock lock(&core_.mu);
    condemned = core_.disk.BeginEraseCondemned(kErasedAtOnce);
  }
  return condemned.empty() ? Outcome::kNothing : Erase(condemned);
}

Demoter::Outcome Demoter::Erase(const std::vector<BlockId>& blocks) {
  std::vector<BlockKey> keys;
  {
    absl::MutexLock lock(&core_.mu);
    for (const BlockId id : blocks) keys.push_back(core_.state.index.node(id).key);
  }
  const absl::Status status = core_.tier->Erase(keys);
  absl::MutexLock lock(&core_.mu);
  if (status.ok()) {
    core_.disk.EndErase(blocks);
    core_.erased_cv.SignalAll();
    return Outcome::kProgress;
  }
  ++core_.state.counters.failed_disk_writes;
  core_.disk.AbortErase(blocks);
  NoteRefusal();
  return Outcome::kRefused;
}

void Demoter::NoteRefusal() {
  core_.state.victims = RamVictims::kCleanOrLast;
  retry_after_ = absl::Now() + pause_;
  pause_ = std::min(pause_ * 2, kLongestPause);
  core_.room_cv.SignalAll();
}

void Demoter::NoteSuccess() {
  core_.state.victims = RamVictims::kClean;
  retry_after_ = absl::InfinitePast();
  pause_ = kFirstPause;
}

}  // namespace reprise::cachestore
