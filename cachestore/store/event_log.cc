#include "cachestore/store/event_log.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

uint64_t Pack(const StoreEvent& event) {
  return static_cast<uint64_t>(event.kind) | static_cast<uint64_t>(event.tier) << 8 |
         static_cast<uint64_t>(event.why) << 16 | uint64_t{event.namespace_id} << 32;
}

bool IsRemoval(uint64_t packed) {
  return static_cast<EventKind>(packed & 0xff) == EventKind::kRemoved;
}

}  // namespace

EventLog::EventLog(size_t capacity)
    : capacity_(capacity), slots_(std::make_unique<Slot[]>(capacity)) {
  CHECK(capacity > 0 && capacity < (size_t{1} << 31));
  removals_.Reserve(capacity + 1);
}

void EventLog::Append(const StoreEvent& event) {
  const uint64_t sequence = published_.load(std::memory_order_relaxed) + 1;
  const auto at = static_cast<uint32_t>(sequence % capacity_);
  if (sequence > capacity_) Forget(at);
  begun_.store(sequence, std::memory_order_relaxed);
  const uint64_t packed = Pack(event);
  const std::array<uint64_t, 6> words = {static_cast<uint64_t>(absl::GetCurrentTimeNanos()),
                                         packed,
                                         event.key.hi,
                                         event.key.lo,
                                         event.parent.hi,
                                         event.parent.lo};
  Slot& slot = slots_[at];
  for (size_t i = 0; i < words.size(); ++i) {
    slot.words[i].store(words[i], std::memory_order_release);
  }
  if (IsRemoval(packed)) {
    const auto key_in = [this](uint32_t other) { return KeyIn(other); };
    const uint32_t before = removals_.Find(event.key, key_in);
    if (before != kNoBlock) removals_.Erase(event.key, before);
    removals_.Insert(event.key, at);
  }
  published_.store(sequence, std::memory_order_seq_cst);
  if (waiters_.load(std::memory_order_seq_cst) == 0) return;
  absl::MutexLock lock(&mu_);
  published_cv_.SignalAll();
}

void EventLog::Forget(uint32_t slot) {
  if (!IsRemoval(slots_[slot].words[1].load(std::memory_order_relaxed))) return;
  const BlockKey key = KeyIn(slot);
  const auto key_in = [this](uint32_t other) { return KeyIn(other); };
  if (removals_.Find(key, key_in) == slot) removals_.Erase(key, slot);
}

BlockKey EventLog::KeyIn(uint32_t slot) const {
  return {slots_[slot].words[2].load(std::memory_order_relaxed),
          slots_[slot].words[3].load(std::memory_order_relaxed)};
}

std::optional<LastRemoval> EventLog::LastRemovalOf(const BlockKey& key) const {
  const uint32_t slot = removals_.Find(key, [this](uint32_t other) { return KeyIn(other); });
  if (slot == kNoBlock) return std::nullopt;
  const StoreEvent event = Decode(0, slots_[slot]);
  return LastRemoval{.time = event.time, .why = event.why};
}

StoreEvent EventLog::Decode(uint64_t sequence, const Slot& slot) {
  std::array<uint64_t, 6> words;
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = slot.words[i].load(std::memory_order_acquire);
  }
  return {.sequence = sequence,
          .time = absl::FromUnixNanos(static_cast<int64_t>(words[0])),
          .kind = static_cast<EventKind>(words[1] & 0xff),
          .tier = static_cast<CacheTier>(words[1] >> 8 & 0xff),
          .why = static_cast<Removal>(words[1] >> 16 & 0xff),
          .namespace_id = static_cast<uint32_t>(words[1] >> 32),
          .key = {words[2], words[3]},
          .parent = {words[4], words[5]}};
}

EventPage EventLog::Read(uint64_t from, size_t max_events) const {
  EventPage page;
  for (page.first = std::max<uint64_t>(from, 1);;) {
    const uint64_t newest = published_.load(std::memory_order_acquire);
    page.first = std::max(page.first, OldestBeside(newest));
    page.events.clear();
    for (uint64_t at = page.first; at <= newest && page.events.size() < max_events; ++at) {
      page.events.push_back(Decode(at, SlotOf(at)));
    }
    const uint64_t kept = OldestBeside(begun_.load(std::memory_order_relaxed));
    if (kept <= page.first || page.events.empty()) return page;
    const uint64_t gone = std::min<uint64_t>(kept - page.first, page.events.size());
    page.events.erase(page.events.begin(), page.events.begin() + static_cast<int64_t>(gone));
    page.first += gone;
    // When all of them are gone, the writer is far ahead: once more from what is kept.
    if (!page.events.empty()) return page;
  }
}

bool EventLog::Await(uint64_t from, absl::Time deadline) const {
  waiters_.fetch_add(1, std::memory_order_seq_cst);
  bool is_there = false;
  {
    absl::MutexLock lock(&mu_);
    bool in_time = true;
    for (;;) {
      is_there = published_.load(std::memory_order_seq_cst) >= from;
      if (is_there || !in_time) break;
      in_time = !published_cv_.WaitWithDeadline(&mu_, deadline);
    }
  }
  waiters_.fetch_sub(1, std::memory_order_relaxed);
  return is_there;
}

}  // namespace reprise::cachestore
