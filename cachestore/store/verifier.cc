#include "cachestore/store/verifier.h"

#include <algorithm>
#include <atomic>
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
  const absl::Status status = VerifyAll(max_bytes_per_second, go_on);
  absl::MutexLock lock(&core_.mu);
  running_ = false;
  return status;
}

absl::Status Verifier::VerifyAll(int64_t max_bytes_per_second,
                                 absl::FunctionRef<bool(const VerifyProgress&)> go_on) {
  VerifyProgress progress;
  {
    absl::ReaderMutexLock lock(&core_.mu);
    progress.total_blocks = core_.state.index.num_on_disk();
  }
  absl::Time next_read = absl::Now();
  for (uint64_t cursor = 0; cursor < PrefixIndex::kEndOfKeys;) {
    std::vector<BlockKey> keys = NextKeys(cursor);
    while (!keys.empty()) {
      std::vector<Reading> readings = Begin(keys);
      Read(readings);
      End(readings, progress);
      uint64_t bytes = 0;
      for (const Reading& reading : readings) bytes += reading.block.payload_bytes;
      if (max_bytes_per_second > 0) {
        next_read +=
            absl::Seconds(static_cast<double>(bytes) / static_cast<double>(max_bytes_per_second));
      }
      for (bool asked = false; !asked || absl::Now() < next_read; asked = true) {
        if (!go_on(progress)) return absl::CancelledError("the verification was given up");
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

void Verifier::Read(std::vector<Reading>& readings) {
  if (readings.empty()) return;
  std::atomic<size_t> left = readings.size();
  absl::Notification all_read;
  std::vector<AlignedBytes> payloads;
  std::vector<LoadRequest> requests;
  for (Reading& reading : readings) {
    payloads.emplace_back(AlignUp(reading.block.payload_bytes));
    LoadRequest request = {.block = reading.block,
                           .payload = payloads.back().span().first(reading.block.payload_bytes),
                           .done = {}};
    // Releases this status to the last one, which hands all of them over.
    request.done = [&reading, &left, &all_read](const absl::Status& status) {
      reading.status = status;
      if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) all_read.Notify();
    };
    requests.push_back(std::move(request));
  }
  core_.tier->StartLoads(std::move(requests));
  all_read.WaitForNotification();
}

void Verifier::End(const std::vector<Reading>& readings, VerifyProgress& progress) {
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  for (const Reading& reading : readings) {
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
