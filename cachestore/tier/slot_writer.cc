#include "cachestore/tier/slot_writer.h"

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/slot_pieces.h"

namespace reprise::cachestore {
namespace {

// One write is no longer than this, unless a single slot is: longer ones are not faster, and the
// next one is hashed meanwhile.
constexpr uint64_t kMaxRunBytes = uint64_t{4} << 20;

// Writes under way at once. Disks write as fast with 4 of this length as with more, some of them a
// tenth slower with 32.
constexpr int64_t kMaxUnderWay = 8;

// The writes of one batch that are under way, and the first error among them.
class PendingWrites {
 public:
  // To be called before a write is started; the result is its `done`. BLOCKS while too many are
  // under way.
  absl::AnyInvocable<void(const absl::Status&) &&> Add() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    while (under_way_ >= kMaxUnderWay) ended_.Wait(&mu_);
    ++under_way_;
    return [this](const absl::Status& status) {
      absl::MutexLock end_lock(&mu_);
      status_.Update(status);
      --under_way_;
      ended_.Signal();
    };
  }
  bool failed() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return !status_.ok();
  }
  // Waits until all have ended. BLOCKS.
  absl::Status Await() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    while (under_way_ > 0) ended_.Wait(&mu_);
    return status_;
  }

 private:
  mutable absl::Mutex mu_;
  absl::CondVar ended_;
  int64_t under_way_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

// Slots of `batch` from `first` on that lie side by side and are written in one go.
size_t RunLength(absl::Span<const SlotWrite> batch, size_t first) {
  const SlotAddress& start = batch[first].address;
  const uint64_t slot_bytes = SlotBytes(batch[first].header.payload_bytes);
  size_t length = 1;
  while (first + length < batch.size() && (length + 1) * slot_bytes <= kMaxRunBytes) {
    const SlotWrite& next = batch[first + length];
    if (next.address.file_id != start.file_id || next.address.slot != start.slot + length ||
        SlotBytes(next.header.payload_bytes) != slot_bytes) {
      break;
    }
    ++length;
  }
  return length;
}

absl::Status Seal(SlotWrite& write, absl::Span<std::byte> header) {
  const HashedPayload hashed = HashSlotPayload(write.payload);
  write.header.payload_hash = hashed.hash;
  if (write.expected_hash.has_value() && *write.expected_hash != write.header.payload_hash) {
    return absl::DataLossError(absl::StrCat(
        "block ", write.header.key.ToHex(), " to be stored: payload checksum is ",
        absl::Hex(write.header.payload_hash), ", expected ", absl::Hex(*write.expected_hash)));
  }
  EncodeSlotHeader(write.header, hashed.pieces, header);
  return absl::OkStatus();
}

absl::Status StartAll(const SlotFiles& slots, absl::Span<SlotWrite> batch,
                      absl::Span<std::byte> headers, PendingWrites& pending,
                      std::set<std::shared_ptr<BlockFile>>& touched) {
  for (size_t begin = 0; begin < batch.size() && !pending.failed();) {
    const size_t length = RunLength(batch, begin);
    ASSIGN_OR_RETURN(
        SlotFiles::Location location,
        slots.Locate(batch[begin].address, SlotBytes(batch[begin].header.payload_bytes)));
    std::vector<BlockWrite> run(1);
    run[0].offset = location.offset;
    for (size_t i = begin; i < begin + length; ++i) {
      const absl::Span<std::byte> header = headers.subspan(i * kSlotHeaderBytes, kSlotHeaderBytes);
      RETURN_IF_ERROR(Seal(batch[i], header));
      run[0].pieces.push_back(header);
      run[0].pieces.push_back({batch[i].payload.data(), AlignUp(batch[i].payload.size())});
    }
    run[0].done = pending.Add();
    touched.insert(location.file);
    location.file->StartWrites(std::move(run));
    begin += length;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteSlots(const SlotFiles& slots, absl::Span<SlotWrite> batch) {
  AlignedBytes headers(batch.size() * kSlotHeaderBytes);
  std::set<std::shared_ptr<BlockFile>> touched;
  PendingWrites pending;
  const absl::Status started = StartAll(slots, batch, headers.span(), pending, touched);
  // Also after an error: the kernel reads headers and payloads until then.
  const absl::Status written = pending.Await();
  RETURN_IF_ERROR(started);
  RETURN_IF_ERROR(written);
  for (const std::shared_ptr<BlockFile>& file : touched) RETURN_IF_ERROR(file->Sync());
  return absl::OkStatus();
}

}  // namespace reprise::cachestore
