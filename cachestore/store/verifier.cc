#include "cachestore/store/verifier.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "cachestore/tier/aligned_bytes.h"

namespace reprise::cachestore {
namespace {

// Entries of the index looked at under one hold of the lock.
constexpr size_t kEntriesAtOnce = 128;

// Read at a time: enough to keep a disk at work, little enough that others' loads wait only shortly
// behind it.
constexpr size_t kBlocksAtOnce = 16;
constexpr uint64_t kBytesAtOnce = uint64_t{8} << 20;

// How soon it is noticed that nobody wants to go on.
constexpr absl::Duration kLongestPause = absl::Milliseconds(100);

}  // namespace

struct Verifier::Reading {
  BlockId id = kNoBlock;
  StoredBlock block;
  absl::Status status;
};

// Shared with the reads.
struct Verifier::Batch {
  std::shared_ptr<void> run;  // lasts as long as its batches
  std::vector<Reading> readings;
  std::vector<AlignedBytes> payloads;
  std::atomic<size_t> left = 0;
  std::atomic<bool> settled = false;  // by the first of the last read and of who gives up
  absl::Notification all_read;        // unless it was given up
};

Verifier::~Verifier() {
  absl::MutexLock lock(&core_.mu);
  const auto is_over = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu) { return !running_; };
  core_.mu.Await(absl::Condition(&is_over));
}

absl::Status Verifier::Run(int64_t max_bytes_per_second,
                           absl::FunctionRef<bool(const VerifyProgress&)> go_on) {
  if (core_.tier == nullptr) {
    return absl::FailedPreconditionError("there is no disk tier to verify");
  }
  {
    absl::MutexLock lock(&core_.mu);
    if (running_) return absl::UnavailableError("another verification is under way");
    running_ = true;
  }
  const auto end = [this](void*) {
    absl::MutexLock lock(&core_.mu);
    running_ = false;
  };
  return VerifyAll(max_bytes_per_second, go_on, std::shared_ptr<void>(this, end));
}

absl::Status Verifier::VerifyAll(int64_t max_bytes_per_second,
                                 absl::FunctionRef<bool(const VerifyProgress&)> go_on,
                                 const std::shared_ptr<void>& run) {
  const absl::Status given_up = absl::CancelledError("the verification was given up");
  VerifyProgress progress;
  {
    absl::ReaderMutexLock lock(&core_.mu);
    progress.total_blocks = core_.state.index.num_on_disk();
  }
  absl::Time next_read = absl::Now();
  for (uint64_t cursor = 0; cursor < PrefixIndex::kEndOfKeys;) {
    std::vector<BlockKey> keys = NextKeys(cursor);
    while (!keys.empty()) {
      const auto batch = std::make_shared<Batch>();
      batch->run = run;
      batch->readings = Begin(keys);
      Read(batch);
      bool wanted = true;
      while (wanted && !batch->all_read.WaitForNotificationWithTimeout(kLongestPause)) {
        wanted = go_on(progress);
      }
      if (!wanted && !batch->settled.exchange(true)) return given_up;
      batch->all_read.WaitForNotification();
      End(*batch, progress);
      if (!wanted) return given_up;
      uint64_t bytes = 0;
      for (const Reading& reading : batch->readings) bytes += reading.block.payload_bytes;
      if (max_bytes_per_second > 0) {
        next_read +=
            absl::Seconds(static_cast<double>(bytes) / static_cast<double>(max_bytes_per_second));
      }
      for (bool asked = false; !asked || absl::Now() < next_read; asked = true) {
        if (!go_on(progress)) return given_up;
        absl::SleepFor(std::clamp(next_read - absl::Now(), absl::ZeroDuration(), kLongestPause));
      }
      next_read = std::max(next_read, absl::Now() - kLongestPause);
    }
  }
  return absl::OkStatus();
}

std::vector<BlockKey> Verifier::NextKeys(uint64_t& cursor) {
  std::vector<BlockKey> keys;
  absl::ReaderMutexLock lock(&core_.mu);
  const PrefixIndex& index = core_.state.index;
  cursor = index.VisitKeys(cursor, kEntriesAtOnce, [&](BlockId id) {
    if (index.node(id).readable_on_disk()) keys.push_back(index.node(id).key);
  });
  return keys;
}

std::vector<Verifier::Reading> Verifier::Begin(std::vector<BlockKey>& keys) {
  std::vector<Reading> readings;
  uint64_t bytes = 0;
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  while (!keys.empty() && readings.size() < kBlocksAtOnce && bytes < kBytesAtOnce) {
    const BlockId id = state.index.Find(keys.back());
    keys.pop_back();
    if (id == kNoBlock || !state.index.node(id).readable_on_disk()) continue;
    state.index.SetVerifying(id, true);
    ++state.verifying_blocks;
    Candidates(state).Update(id);
    readings.push_back({.id = id, .block = core_.Describe(id), .status = {}});
    bytes += readings.back().block.payload_bytes;
  }
  return readings;
}

void Verifier::Read(const std::shared_ptr<Batch>& batch) {
  if (batch->readings.empty()) return batch->all_read.Notify();
  batch->left = batch->readings.size();
  std::vector<LoadRequest> requests;
  for (Reading& reading : batch->readings) {
    const uint64_t bytes = reading.block.payload_bytes;
    batch->payloads.emplace_back(AlignUp(bytes));
    LoadRequest request = {
        .block = reading.block, .payload = batch->payloads.back().span().first(bytes), .done = {}};
    // Releases this status to the last one, which hands all of them over.
    request.done = [this, batch, &reading](const absl::Status& status) {
      reading.status = status;
      if (batch->left.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
      if (!batch->settled.exchange(true)) return batch->all_read.Notify();
      VerifyProgress untold;
      End(*batch, untold);
    };
    requests.push_back(std::move(request));
  }
  core_.tier->StartLoads(std::move(requests));
}

void Verifier::End(Batch& batch, VerifyProgress& progress) {
  const std::shared_ptr<void> run = std::move(batch.run);  // its share may end it, without the lock
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  for (const Reading& reading : batch.readings) {
    const PrefixIndex::Node& node = state.index.node(reading.id);
    state.index.SetVerifying(reading.id, false);
    --state.verifying_blocks;
    Candidates(state).Update(reading.id);
    if (reading.status.ok()) {
      ++progress.verified_blocks;
      ++state.counters.verified_blocks;
    } else if (absl::IsDataLoss(reading.status) || absl::IsNotFound(reading.status)) {
      ++progress.failed_blocks;
      ++state.counters.corrupt_disk_blocks;
      if (node.readable_on_disk()) core_.disk.Condemn(reading.id, Removal::kFailedVerification);
    } else {
      ++progress.unread_blocks;
      if (node.readable_on_disk()) core_.disk.NoteIoError(reading.id);
    }
  }
  core_.NoteChange();
}

}  // namespace reprise::cachestore
