#include "cachestore/store/gpu_demoter.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// One batch: a few milliseconds of the link.
constexpr size_t kBatchBlocks = 64;
constexpr uint64_t kBatchBytes = uint64_t{64} << 20;

// Who was refused room and still wants it asks again, or waits, sooner than that.
constexpr absl::Duration kWantLasts = absl::Milliseconds(100);

// How soon RAM is asked again, and how long it may make no room while the disk writes nothing.
constexpr absl::Duration kRoomPause = absl::Milliseconds(5);
constexpr absl::Duration kIdlePatience = absl::Milliseconds(500);

// Blocks taken under one hold of the lock.
constexpr int64_t kTakenAtOnce = 64;

}  // namespace

GpuDemoter::GpuDemoter(StoreCore& core, DeviceTransfers& transfers)
    : core_(core), transfers_(transfers) {
  CHECK(core.device != nullptr);
  thread_ = std::thread([this] { Run(); });
}

GpuDemoter::~GpuDemoter() {
  {
    absl::MutexLock lock(&core_.mu);
    stop_ = true;
    core_.gpu_cv.Signal();
  }
  thread_.join();
}

bool GpuDemoter::DemoteAll(absl::Time deadline) {
  const auto request = std::make_shared<Request>();
  absl::MutexLock lock(&core_.mu);
  request->moment = core_.state.order->TakeMoment();
  requests_.push_back(request);
  core_.gpu_cv.Signal();
  bool in_time = true;
  while (!request->done && in_time) {
    in_time = !request_done_.WaitWithDeadline(&core_.mu, deadline);
  }
  if (!request->done) std::erase(requests_, request);
  return request->done;
}

void GpuDemoter::Run() {
  while (AwaitWork()) {
    uint64_t events = 0;
    {
      absl::MutexLock lock(&core_.mu);
      events = core_.gpu_events;
    }
    ServeRequests();
    const bool progress = Relieve() == Outcome::kProgress;
    absl::MutexLock lock(&core_.mu);
    fruitless_events_ = progress ? std::numeric_limits<uint64_t>::max() : events;
  }
}

bool GpuDemoter::AwaitWork() {
  absl::MutexLock lock(&core_.mu);
  while (!stop_) {
    if (!requests_.empty()) return true;
    const bool asks_again = refused_since_ != absl::InfiniteFuture();
    if (!HasWork() || (core_.gpu_events == fruitless_events_ && !asks_again)) {
      core_.gpu_cv.Wait(&core_.mu);
    } else if (absl::Now() < ask_after_) {
      core_.gpu_cv.WaitWithDeadline(&core_.mu, ask_after_);
    } else {
      return true;
    }
  }
  return false;
}

bool GpuDemoter::HasWork() const {
  if (core_.state.gpu.closed) return false;
  return core_.GpuNeedsRelief() ||
         (relieving_ && core_.gpu.HasLessReadyThan(2 * core_.gpu_low_watermark_bytes));
}

void GpuDemoter::ServeRequests() {
  std::vector<std::shared_ptr<Request>> requests;
  {
    absl::MutexLock lock(&core_.mu);
    requests = requests_;
  }
  if (requests.empty() || !MoveBefore(requests.back()->moment)) return;
  absl::MutexLock lock(&core_.mu);
  for (const std::shared_ptr<Request>& request : requests) request->done = true;
  std::erase_if(requests_, [](const auto& request) { return request->done; });
  request_done_.SignalAll();
}

bool GpuDemoter::MoveBefore(uint64_t moment) {
  const FetchGoal goal = {.max_blocks = kBatchBlocks, .max_bytes = kBatchBytes, .moment = moment};
  absl::Time refused_since = absl::InfiniteFuture();
  for (;;) {
    const Outcome outcome = WriteBack(goal);
    TakeCleanBefore(moment);
    if (outcome == Outcome::kNothing) return true;
    absl::MutexLock lock(&core_.mu);
    if (stop_) return false;
    if (outcome == Outcome::kProgress) continue;
    if (requests_.empty()) return false;
    // The disk that refused writes, maybe long ago, is asked once more.
    refused_since = core_.state.gpu.victims == Victims::kClean
                        ? absl::InfiniteFuture()
                        : std::min(refused_since, absl::Now());
    if (absl::Now() < refused_since + kIdlePatience) {
      core_.WakeDemoter();
      while (!stop_ && !core_.gpu_cv.WaitWithDeadline(&core_.mu, ask_after_)) {
      }
    } else if (core_.gpu.TakeVictims(kBatchBlocks, Victims::kCleanOrLast, moment) == 0) {
      return true;
    }
    core_.NoteChange();
  }
}

void GpuDemoter::TakeCleanBefore(uint64_t moment) {
  for (bool more = true; more;) {
    absl::MutexLock lock(&core_.mu);
    more = core_.gpu.TakeVictims(kTakenAtOnce, Victims::kClean, moment) == kTakenAtOnce;
    core_.NoteChange();
  }
}

GpuDemoter::Outcome GpuDemoter::Relieve() {
  {
    absl::MutexLock lock(&core_.mu);
    const bool somebody_waits = core_.room_waiters + core_.starving_tickets > 0;
    if (!somebody_waits && absl::Now() >= core_.gpu_wanted_at + kWantLasts) {
      core_.state.gpu.wanted_bytes = 0;
    }
    if (core_.GpuNeedsRelief()) relieving_ = true;
    if (!core_.gpu.HasLessReadyThan(2 * core_.gpu_low_watermark_bytes)) relieving_ = false;
    const bool wanted = core_.state.gpu.wanted_bytes > 0 || !core_.state.gpu.wanted_below.empty();
    if (core_.state.gpu.closed || (!relieving_ && !wanted)) return Outcome::kNothing;
  }
  const Outcome outcome = WriteBack({.max_blocks = kBatchBlocks, .max_bytes = kBatchBytes});
  absl::MutexLock lock(&core_.mu);
  uint64_t& wanted = core_.state.gpu.wanted_bytes;
  const bool made_room = wanted > 0 && core_.gpu.MakeRoom(wanted);
  if (made_room) wanted = 0;
  core_.room_cv.SignalAll();
  if (made_room || outcome == Outcome::kProgress) core_.load_cv.Signal();
  return outcome;
}

GpuDemoter::Outcome GpuDemoter::WriteBack(const FetchGoal& goal) {
  FetchBatch batch;
  do {
    absl::MutexLock lock(&core_.mu);
    batch = core_.gpu.BeginWriteBack(goal);
  } while (batch.look_again);
  DeviceTransfer transfer;
  const absl::Time began = absl::Now();
  {
    absl::MutexLock lock(&core_.mu);
    if (batch.fetches.empty()) {
      if (!batch.wanted_ram_for.has_value()) {
        core_.state.gpu.takes_last_of_ram = false;
        return Outcome::kNothing;
      }
      NoteRefusal(*batch.wanted_ram_for);
      return Outcome::kRefused;
    }
    for (const Fetch& fetch : batch.fetches) {
      transfer.Add(fetch.piece, fetch.written);
      core_.to_host_rates.Begin(fetch.piece.bytes, began);
    }
  }
  absl::Status status;
  absl::Notification done;
  transfer.done = [&](const absl::Status& end) {
    status = end;
    done.Notify();
  };
  transfers_.Start(Lane::kToHost, Urgency::kBackground, std::move(transfer));
  done.WaitForNotification();
  EndWriteBack(batch.fetches, began, status);
  return Outcome::kProgress;
}

void GpuDemoter::EndWriteBack(const std::vector<Fetch>& fetches, absl::Time began,
                              const absl::Status& status) {
  const absl::Time ended = absl::Now();
  std::vector<uint64_t> hashes;
  if (status.ok()) hashes = HashFetched(fetches, core_.tier != nullptr);
  absl::MutexLock lock(&core_.mu);
  for (size_t i = 0; i < fetches.size(); ++i) {
    core_.to_host_rates.End(fetches[i].piece.bytes, status.ok(), ended);
    if (status.ok()) {
      core_.EndFetch(fetches[i], hashes[i]);
      core_.state.counters.store_from_gpu.Add(ended - began);
    } else {
      core_.gpu.AbortFetch(fetches[i]);
    }
  }
  if (!status.ok()) core_.CloseGpu();
  core_.state.gpu.victims = Victims::kClean;
  core_.state.gpu.takes_last_of_ram = false;
  refused_since_ = absl::InfiniteFuture();
  core_.NoteChange();
  core_.load_cv.Signal();  // a ticket may wait for one of these
}

void GpuDemoter::NoteRefusal(uint32_t wanted_ram_for) {
  const absl::Time now = absl::Now();
  ask_after_ = now + kRoomPause;
  const bool nothing_moves = core_.state.storing_blocks == 0 && core_.state.fetching.empty() &&
                             core_.state.loading.empty();
  if (!nothing_moves) refused_since_ = now;
  const bool patience_is_over = nothing_moves && now >= refused_since_ + kIdlePatience;
  // RAM may be full of blocks that cannot go to disk before what only the GPU has.
  if (patience_is_over && core_.ram.HasCandidates()) core_.state.gpu.takes_last_of_ram = true;
  const bool takes_nothing = patience_is_over || core_.state.gpu.takes_last_of_ram ||
                             core_.state.victims == Victims::kCleanOrLast;
  refused_since_ = takes_nothing ? absl::InfiniteFuture() : std::min(refused_since_, now);
  core_.state.gpu.victims = takes_nothing ? Victims::kCleanOrLast : Victims::kClean;
  if (core_.tier != nullptr) core_.WantRoom(wanted_ram_for, Purpose::kCompute);
  if (takes_nothing) {
    core_.room_cv.SignalAll();
    core_.load_cv.Signal();
  } else {
    core_.WakeDemoter();
  }
}

}  // namespace reprise::cachestore
