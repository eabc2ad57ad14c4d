// How tickets end, with what they hand out and count: see promoter.h.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "cachestore/base/check.h"
#include "cachestore/store/promoter.h"

namespace reprise::cachestore {
namespace {

// How long tickets wait for a slot while none of their size is found for anybody: longer than the
// demoter needs to write a batch, short enough to recompute instead when the room is pinned away.
constexpr absl::Duration kRoomPatience = absl::Milliseconds(500);

}  // namespace

void Promoter::Cancel(const PinState* state) {
  absl::MutexLock lock(&core_.mu);
  const auto it = tickets_.find(state);
  if (it == tickets_.end()) return;
  const std::shared_ptr<Pending> pending = it->second;
  core_.state.counters.missed_abandoned_tokens +=
      static_cast<int64_t>(pending->entries.size()) * pending->block_tokens;
  for (Entry& entry : pending->entries) UnpinEntryLocked(entry);
  // The caller still holds the state, so that it does not end here.
  pending->state = nullptr;
  tickets_.erase(it);
  RetireLocked(*pending);
  core_.NoteChange();
}

bool Promoter::StarveLocked(const std::shared_ptr<Pending>& pending, Tier tier) {
  const bool on_gpu = tier == Tier::kGpu;
  // When everything is pinned, only the tickets' holders can make room: not worth waiting for.
  // What is under way lets blocks go when it ends.
  const bool some_move = !core_.state.fetching.empty() || !core_.state.gpu.loading.empty();
  const uint32_t ns = core_.state.index.node(pending->entries[pending->next].id).namespace_id;
  const bool some_may_go =
      some_move || (on_gpu ? core_.gpu.HasCandidates()
                           : core_.ram.HasCandidatesFor(ns) || core_.state.storing_blocks > 0);
  if (!some_may_go) {
    EndAtLocked(*pending, pending->next, Outcome::kNoRoom);
    return false;
  }
  const uint64_t wanted =
      on_gpu ? core_.state.gpu.wanted_bytes : core_.WantedBytes(ns, Purpose::kCache);
  const bool is_news = !pending->is_starving() || wanted == 0;
  pending->Starve(tier, !on_gpu && core_.state.LacksQuota(ns), absl::Now());
  if (on_gpu) {
    core_.WantGpuRoom(pending->payload_bytes);
  } else {
    core_.WantRoom(ns, Purpose::kCache);
  }
  if (is_news) {
    core_.NoteChange();
    core_.load_cv.Signal();
  }
  return true;
}

void Promoter::EndAtLocked(Pending& pending, size_t entry, Outcome outcome) {
  pending.entries[entry].outcome = outcome;
  pending.end = std::min(pending.end, entry);
  pending.starving_since = absl::InfiniteFuture();  // it starts no more loads
  pending.loads_left = 0;
  for (size_t i = 0; i < pending.entries.size(); ++i) {
    Entry& e = pending.entries[i];
    if (i < pending.end) {
      pending.loads_left += e.outcome == Outcome::kLoading;
    } else {
      UnpinEntryLocked(e);
    }
  }
}

void Promoter::CutShortLocked(const std::shared_ptr<Pending>& pending, Outcome reason, Work& work) {
  for (size_t i = 0; i < pending->end; ++i) {
    if (pending->entries[i].outcome != Outcome::kReady) EndAtLocked(*pending, i, reason);
  }
  FinishIfDoneLocked(pending, work);
}

void Promoter::FinishIfDoneLocked(const std::shared_ptr<Pending>& pending, Work& work) {
  if (pending->finished || pending->next < pending->end || pending->loads_left > 0) return;
  for (size_t i = 0; i < pending->end; ++i) {
    // Invalidated meanwhile.
    if (core_.state.index.node(pending->entries[i].id).stale) {
      EndAtLocked(*pending, i, Outcome::kLost);
    } else if (pending->tier == Tier::kGpu && core_.state.gpu.closed) {
      EndAtLocked(*pending, i, Outcome::kIoError);
    }
  }
  StoreStats& counters = core_.state.counters;
  PinnedPrefix prefix;
  prefix.blocks.reserve(pending->end);
  prefix.from_gpu.reserve(pending->end);
  prefix.from_disk.reserve(pending->end);
  for (size_t i = 0; i < pending->end; ++i) {
    const Entry& entry = pending->entries[i];
    const bool from_gpu = entry.source == Source::kGpu;
    const bool from_disk = entry.source == Source::kDisk;
    (from_gpu    ? counters.hit_gpu_tokens
     : from_disk ? counters.hit_disk_tokens
                 : counters.hit_ram_tokens) += pending->block_tokens;
    ++(from_gpu ? prefix.gpu_blocks : from_disk ? prefix.disk_blocks : prefix.ram_blocks);
    prefix.from_gpu.push_back(from_gpu);
    prefix.from_disk.push_back(from_disk);
    prefix.blocks.push_back(RefLocked(pending->tier, entry.id));
  }
  const size_t num_entries = pending->entries.size();
  if (pending->end < num_entries) {
    const Outcome outcome = pending->entries[pending->end].outcome;
    prefix.is_late = outcome == Outcome::kDeadline;
    MissCounterLocked(outcome) += pending->block_tokens;
    counters.missed_after_miss_tokens +=
        static_cast<int64_t>(num_entries - pending->end - 1) * pending->block_tokens;
  }
  tickets_.erase(pending->state.get());
  work.completions.emplace_back(std::move(pending->state), std::move(prefix));
  RetireLocked(*pending);
}

void Promoter::RetireLocked(Pending& pending) {
  pending.finished = true;
  pending.end = 0;
  core_.loading_tickets = static_cast<int64_t>(tickets_.size());
}

int64_t& Promoter::MissCounterLocked(Outcome outcome) {
  StoreStats& counters = core_.state.counters;
  switch (outcome) {
    case Outcome::kLost:
      return counters.missed_lost_tokens;
    case Outcome::kCorrupt:
      return counters.missed_corrupt_tokens;
    case Outcome::kIoError:
      return counters.missed_io_error_tokens;
    case Outcome::kNoRoom:
      return counters.missed_no_room_tokens;
    case Outcome::kQueueFull:
      return counters.missed_queue_full_tokens;
    case Outcome::kDeadline:
      return counters.missed_deadline_tokens;
    case Outcome::kReady:
    case Outcome::kWaiting:
    case Outcome::kLoading:
      break;
  }
  CHECK(false);
  return counters.missed_lost_tokens;
}

absl::Time Promoter::ExpireLocked(Work& work) {
  const absl::Time now = absl::Now();
  absl::Time next = absl::InfiniteFuture();
  std::vector<std::pair<std::shared_ptr<Pending>, Outcome>> over;
  for (const auto& [state, pending] : tickets_) {
    const LastSlots& last_slots = pending->lacks_quota ? lines_.at(pending->line).last_slots
                                                       : last_slots_.at(pending->payload_bytes);
    const absl::Time last_slot =
        pending->starving_for == Tier::kGpu ? last_slots.on_gpu : last_slots.in_ram;
    const absl::Time out_of_room = std::max(pending->starving_since, last_slot) + kRoomPatience;
    if (now >= pending->deadline) {
      over.emplace_back(pending, Outcome::kDeadline);
    } else if (now >= out_of_room && pending->next < pending->end) {
      over.emplace_back(pending, Outcome::kNoRoom);
    } else {
      next = std::min({next, pending->deadline, out_of_room});
    }
  }
  for (const auto& [pending, reason] : over) {
    if (reason == Outcome::kDeadline) {
      CutShortLocked(pending, reason, work);
    } else {
      EndAtLocked(*pending, pending->next, reason);
      FinishIfDoneLocked(pending, work);
    }
  }
  return next;
}

}  // namespace reprise::cachestore
