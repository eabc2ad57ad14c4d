#include "cachestore/store/demoter.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/time/clock.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

// When everything goes, nobody waits for the first blocks of it: syncs and the index's commits, a
// quarter of the time of a 64 MiB batch, are paid less often.
constexpr size_t kDemoteBlocks = 256;
constexpr uint64_t kDemoteBytes = uint64_t{256} << 20;

// A look at what lies beside a block may read the whole index: after one in vain, not at once
// again.
constexpr absl::Duration kLookBesidePause = absl::Seconds(1);

// Blocks of a payload file looked at under one hold of the lock: one of small slots has thousands.
constexpr size_t kLookedAtOnce = 256;

// Below the blocks of a payload file there may be twice as many, and so many more.
constexpr size_t kFewBelow = 64;

// Blocks taken under one hold of the lock.
constexpr int64_t kTakenAtOnce = 64;

// The blocks whose bytes are not those that their hashes were made of: all, so that however many
// there are, the others are written anew once.
std::vector<BlockId> CorruptOf(const StoreBatch& batch, absl::Span<const BlockToStore> payloads) {
  std::vector<BlockId> corrupt;
  for (size_t i = 0; i < payloads.size(); ++i) {
    if (HashBytes64(payloads[i].payload) != payloads[i].payload_hash) {
      corrupt.push_back(batch.blocks[i]);
    }
  }
  return corrupt;
}

// Orphans condemned under one hold of the lock, which takes some ten microseconds.
constexpr size_t kCondemnedAtOnce = 256;

// Condemned blocks erased in one durable write: an invalidation may leave millions.
constexpr size_t kErasedAtOnce = 1024;

constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(5);

}  // namespace

Demoter::Demoter(StoreCore& core, absl::Duration save_model_every)
    : core_(core), pause_(kFirstPause), model_keeper_(core, save_model_every) {
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

std::optional<TakenBlocks> Demoter::DemoteAll(absl::Time deadline) {
  const auto request = std::make_shared<Request>();
  absl::MutexLock lock(&core_.mu);
  request->moment = core_.state.order->TakeMoment();
  requests_.push_back(request);
  has_new_request_ = true;
  core_.work_cv.Signal();
  bool in_time = true;
  while (!request->done && in_time) {
    in_time = !request_done_.WaitWithDeadline(&core_.mu, deadline);
  }
  if (request->done) return request->taken;
  std::erase(requests_, request);
  return std::nullopt;
}

void Demoter::Run() {
  for (Wake wake = AwaitWork(); wake != Wake::kEnd; wake = AwaitWork()) {
    if (absl::Now() >= model_keeper_.due()) model_keeper_.Save();
    // What the disk has refused waits for its time.
    if (wake == Wake::kSave) continue;
    uint64_t events = 0;
    {
      absl::MutexLock lock(&core_.mu);
      events = core_.work_events;
    }
    ServeRequests();
    const bool nothing_condemned = EraseCondemned() == Outcome::kNothing;
    const bool nothing_stored = Relieve() == Outcome::kNothing;
    const bool nothing_of_shares = RelieveShares() == Outcome::kNothing;
    const bool nothing = nothing_condemned && nothing_stored && nothing_of_shares;
    absl::MutexLock lock(&core_.mu);
    fruitless_events_ = nothing ? events : std::numeric_limits<uint64_t>::max();
  }
  model_keeper_.Save();
}

Demoter::Wake Demoter::AwaitWork() {
  const absl::Time save_due = model_keeper_.due();
  absl::MutexLock lock(&core_.mu);
  while (!stop_) {
    const absl::Time now = absl::Now();
    const bool changed = core_.work_events != fruitless_events_;
    const bool has_work = changed && (!requests_.empty() || HasWork());
    if (has_new_request_ || (has_work && now >= retry_after_)) return Wake::kWork;
    if (now >= save_due) return Wake::kSave;
    core_.work_cv.WaitWithDeadline(&core_.mu,
                                   has_work ? std::min(retry_after_, save_due) : save_due);
  }
  return Wake::kEnd;
}

bool Demoter::HasWork() const {
  if (!core_.state.condemned.empty() || !core_.state.orphans.empty()) return true;
  if (core_.state.wanted_bytes > 0 || core_.state.shares_need_relief) return true;
  if (core_.settlings_done != core_.settlings_wanted) return true;
  const int64_t low = core_.low_watermark_bytes;
  const int64_t ready = core_.ReadyBytes();
  // Loads go first, unless they would soon find no room either.
  if (core_.loading_tickets > 0 && ready >= low / 2) return false;
  return ready < (relieving_ ? 2 * low : low);
}

void Demoter::ServeRequests() {
  std::vector<std::shared_ptr<Request>> requests;
  {
    absl::MutexLock lock(&core_.mu);
    requests = requests_;
    has_new_request_ = false;
  }
  if (requests.empty()) return;
  TakenBlocks taken;
  const bool all_moved = MoveBefore(requests.back()->moment, taken);
  absl::MutexLock lock(&core_.mu);
  for (const std::shared_ptr<Request>& request : requests) {
    request->taken += taken;
    request->done = all_moved;
  }
  std::erase_if(requests_, [](const auto& request) { return request->done; });
  if (all_moved) request_done_.SignalAll();
}

bool Demoter::MoveBefore(uint64_t moment, TakenBlocks& taken) {
  TakeCleanBefore(moment, taken);
  const StoreGoal goal = {.max_blocks = kDemoteBlocks, .max_bytes = kDemoteBytes, .moment = moment};
  bool awaits_loads = false;
  for (;;) {
    {
      absl::MutexLock lock(&core_.mu);
      if (stop_) return false;
    }
    std::vector<BlockId> stored;
    // First, because blocks whose bad copies are still on disk cannot be stored; each time, because
    // an invalidation may wait for it.
    const Outcome erased = EraseCondemned();
    Outcome outcome = StoreOne(goal, stored);
    if (outcome == Outcome::kNothing) outcome = erased;
    if (outcome == Outcome::kProgress) {
      absl::MutexLock lock(&core_.mu);
      taken += core_.ram.TakeClean(stored);
      core_.NoteChange();
      continue;
    }
    if (outcome == Outcome::kNothing) {
      absl::MutexLock lock(&core_.mu);
      awaits_loads = !core_.state.condemned.empty();
      break;
    }
    // What disk does not take is dropped, so much at a time that it is soon asked again.
    absl::MutexLock lock(&core_.mu);
    const TakenBlocks dropped = core_.ram.TakeVictims(kBatchBlocks, Victims::kCleanOrLast, moment);
    taken += dropped;
    core_.NoteChange();
    if (dropped.total() == 0) break;
  }
  // Those that were not worth a write.
  TakeCleanBefore(moment, taken);
  return !awaits_loads;
}

void Demoter::TakeCleanBefore(uint64_t moment, TakenBlocks& taken) {
  for (bool more = true; more;) {
    absl::MutexLock lock(&core_.mu);
    const TakenBlocks step = core_.ram.TakeVictims(kTakenAtOnce, Victims::kClean, moment);
    taken += step;
    core_.NoteChange();
    more = step.total() == kTakenAtOnce;
  }
}

Demoter::Outcome Demoter::Relieve() {
  StoreGoal goal = {.max_blocks = kBatchBlocks, .max_bytes = kBatchBytes};
  {
    absl::MutexLock lock(&core_.mu);
    const bool somebody_waits = core_.room_waiters + core_.starving_tickets > 0;
    if (!somebody_waits && absl::Now() >= core_.wanted_at + kWantLasts) {
      core_.state.wanted_bytes = 0;
    }
    if (core_.NeedsRelief()) relieving_ = true;
    const int64_t missing = 2 * core_.low_watermark_bytes - core_.ReadyBytes();
    if (missing <= 0) relieving_ = false;
    goal.wanted_bytes = core_.state.wanted_bytes;
    if (!relieving_ && goal.wanted_bytes == 0) return Outcome::kNothing;
    if (absl::Now() < retry_after_) return Outcome::kRefused;
    // Nothing is written before its time.
    if (goal.wanted_bytes == 0) {
      goal.max_bytes = std::min(goal.max_bytes, static_cast<uint64_t>(missing));
    }
  }
  std::vector<BlockId> stored;
  const Outcome outcome = StoreOne(goal, stored);
  absl::MutexLock lock(&core_.mu);
  uint64_t& wanted = core_.state.wanted_bytes;
  const bool made_room = wanted > 0 && core_.ram.MakeRoom(wanted);
  if (made_room) wanted = 0;
  core_.room_cv.SignalAll();
  if (made_room || outcome == Outcome::kProgress) {
    core_.load_cv.Signal();
    core_.WakeGpuDemoter();
  }
  return outcome;
}

Demoter::Outcome Demoter::StoreOne(StoreGoal goal, std::vector<BlockId>& stored) {
  StoreBatch batch;
  do {
    absl::MutexLock lock(&core_.mu);
    batch = core_.disk.BeginStore(goal);
    if (!core_.state.gpu.wanted_below.empty()) core_.WakeGpuDemoter();
  } while (batch.look_again);
  if (batch.blocks.empty()) return Outcome::kNothing;
  const std::optional<int64_t> within_quota = MakeQuotaRoom(batch);
  if (!within_quota.has_value()) {
    absl::MutexLock lock(&core_.mu);
    Shrink(batch, 0);
    return Outcome::kRefused;
  }
  if (*within_quota < static_cast<int64_t>(batch.blocks.size())) {
    absl::MutexLock lock(&core_.mu);
    core_.disk.RejectStore(batch, static_cast<size_t>(*within_quota));
    core_.erased_cv.SignalAll();
    if (batch.blocks.empty()) return Outcome::kProgress;
  }
  const int64_t fitting =
      MakeDiskRoom(batch.payload_bytes, static_cast<int64_t>(batch.blocks.size()));
  std::vector<BlockToStore> payloads;
  {
    absl::MutexLock lock(&core_.mu);
    Shrink(batch, static_cast<size_t>(fitting));
    if (batch.blocks.empty()) {
      NoteRefusal();
      return Outcome::kRefused;
    }
    for (const BlockId id : batch.blocks) {
      payloads.push_back({.block = core_.Describe(id),
                          .payload = core_.RamBytes(id),
                          .payload_hash = core_.state.ram_copy(id).payload_hash});
    }
  }
  absl::Status status = BindNamespaces(batch);
  const absl::Time began = absl::Now();
  if (status.ok()) status = core_.tier->Store(payloads);
  const absl::Duration took = absl::Now() - began;
  std::vector<BlockId> corrupt;
  if (absl::IsDataLoss(status)) corrupt = CorruptOf(batch, payloads);
  absl::MutexLock lock(&core_.mu);
  if (status.ok()) {
    core_.disk.EndStore(batch);
    core_.state.counters.store_to_disk.Add(took, static_cast<int64_t>(batch.blocks.size()));
    stored = std::move(batch.blocks);
    NoteSuccess();
    return Outcome::kProgress;
  }
  if (!corrupt.empty()) {
    Shrink(batch, 0);
    for (const BlockId id : corrupt) {
      // It may have gone with the one above it.
      if (core_.state.index.node(id).in_use) core_.disk.DropCorrupt(id);
    }
    core_.NoteChange();
    return Outcome::kProgress;
  }
  ++core_.state.counters.failed_disk_writes;
  Shrink(batch, 0);
  NoteRefusal();
  return Outcome::kRefused;
}

void Demoter::Shrink(StoreBatch& batch, size_t num_blocks) {
  core_.disk.ShrinkStore(batch, num_blocks);
  // Some may have been invalidated meanwhile: what is left of them on disk, if anything, is the
  // tier's to withdraw, which the next erase does.
  core_.erased_cv.SignalAll();
}

absl::Status Demoter::BindNamespaces(const StoreBatch& batch) {
  absl::flat_hash_map<uint32_t, std::pair<BlockKey, std::string>> unbound;  // root and identity
  {
    absl::MutexLock lock(&core_.mu);
    const PrefixIndex& index = core_.state.index;
    for (const BlockId id : batch.blocks) {
      const uint32_t ns = index.node(id).namespace_id;
      const NamespaceRecord& record = core_.state.namespaces[ns];
      if (!record.bound)
        unbound.try_emplace(ns, index.node(index.root_node(ns)).key, record.identity);
    }
  }
  for (const auto& [ns, names] : unbound) {
    RETURN_IF_ERROR(core_.tier->BindNamespace(names.first, names.second));
    absl::MutexLock lock(&core_.mu);
    core_.state.namespaces[ns].bound = true;
  }
  return absl::OkStatus();
}

int64_t Demoter::MakeDiskRoom(uint64_t payload_bytes, int64_t num_slots) {
  for (bool full = false;; full = true) {
    const int64_t free = core_.tier->FreeSlots(payload_bytes);
    if (free >= num_slots) {
      absl::MutexLock lock(&core_.mu);
      core_.disk.NoteDiskFull(payload_bytes, full);
      return num_slots;
    }
    const std::vector<BlockId> victims = ChooseToErase(payload_bytes, num_slots - free);
    if (victims.empty() || Erase(victims) != Outcome::kProgress) return std::max<int64_t>(0, free);
  }
}

std::vector<BlockId> Demoter::ChooseToErase(uint64_t payload_bytes, int64_t count) {
  BlockKey older;
  uint64_t older_payload_bytes = 0;  // 0: there is none
  {
    absl::MutexLock lock(&core_.mu);
    const BlockId id = core_.disk.OlderOfOtherSize(payload_bytes);
    if (id != kNoBlock) {
      older = core_.state.index.node(id).key;
      older_payload_bytes = core_.state.payload_bytes(id);
    }
  }
  if (older_payload_bytes > 0 && absl::Now() >= look_beside_after_) {
    const absl::StatusOr<std::vector<BlockKey>> beside = core_.tier->KeysBeside(older);
    if (beside.ok()) {
      std::vector<BlockId> victims = BeginEraseTogether(*beside, payload_bytes);
      if (!victims.empty()) return victims;
    }
    look_beside_after_ = absl::Now() + kLookBesidePause;
  }
  absl::MutexLock lock(&core_.mu);
  const size_t wanted = static_cast<size_t>(count);
  std::vector<BlockId> victims = core_.disk.BeginErase(payload_bytes, wanted);
  // With no block of this size on disk, those of the other size go until space is left over.
  if (victims.empty() && older_payload_bytes > 0) {
    victims = core_.disk.BeginErase(older_payload_bytes, std::max(wanted, kBatchBlocks));
  }
  return victims;
}

std::vector<BlockId> Demoter::BeginEraseTogether(absl::Span<const BlockKey> keys,
                                                 uint64_t payload_bytes) {
  ErasedTogether together;
  for (size_t i = 0; i < keys.size(); i += kLookedAtOnce) {
    absl::MutexLock lock(&core_.mu);
    if (!core_.disk.AddTogether(keys.subspan(i, kLookedAtOnce), together)) return {};
  }
  // Giving up many blocks that lie elsewhere costs more than it brings.
  const size_t max_blocks = 2 * keys.size() + kFewBelow;
  while (together.looked_at < together.blocks.size()) {
    absl::MutexLock lock(&core_.mu);
    if (!core_.disk.LookTogether(kLookedAtOnce, payload_bytes, max_blocks, together)) return {};
  }
  if (2 * together.going_before < together.blocks.size()) return {};
  std::vector<BlockId> victims;
  while (!together.done()) {
    absl::MutexLock lock(&core_.mu);
    const std::vector<BlockId> some = core_.disk.BeginEraseTogether(kLookedAtOnce, together);
    victims.insert(victims.end(), some.begin(), some.end());
  }
  return victims;
}

Demoter::Outcome Demoter::EraseCondemned() {
  for (bool more = true; more;) {
    absl::MutexLock lock(&core_.mu);
    core_.disk.CondemnOrphans(kCondemnedAtOnce);
    more = !core_.state.orphans.empty();
  }
  std::vector<BlockId> condemned;
  {
    absl::MutexLock lock(&core_.mu);
    condemned = core_.disk.BeginEraseCondemned(kErasedAtOnce);
    const bool settled = core_.settlings_done == core_.settlings_wanted;
    if (condemned.empty() && settled) return Outcome::kNothing;
  }
  return Erase(condemned);
}

Demoter::Outcome Demoter::Erase(const std::vector<BlockId>& blocks) {
  std::vector<BlockKey> keys;
  uint64_t settling = 0;
  {
    absl::MutexLock lock(&core_.mu);
    settling = core_.settlings_wanted;
    for (const BlockId id : blocks) keys.push_back(core_.state.index.node(id).key);
  }
  const absl::Status status = core_.tier->Erase(keys);
  absl::MutexLock lock(&core_.mu);
  if (status.ok()) {
    core_.disk.EndErase(blocks);
    core_.settlings_done = settling;
    core_.erased_cv.SignalAll();
    return Outcome::kProgress;
  }
  ++core_.state.counters.failed_disk_writes;
  core_.disk.AbortErase(blocks);
  NoteRefusal();
  return Outcome::kRefused;
}

void Demoter::NoteRefusal() {
  core_.state.victims = Victims::kCleanOrLast;
  retry_after_ = absl::Now() + pause_;
  pause_ = std::min(pause_ * 2, kLongestPause);
  core_.room_cv.SignalAll();
}

void Demoter::NoteSuccess() {
  core_.state.victims = Victims::kClean;
  retry_after_ = absl::InfinitePast();
  pause_ = kFirstPause;
}

}  // namespace reprise::cachestore
