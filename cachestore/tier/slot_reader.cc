#include "cachestore/tier/slot_reader.h"

#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/aligned_bytes.h"

namespace reprise::cachestore {
namespace {

// One read is no longer than this, unless a single slot is: larger ones are not faster, and
// several can be verified on several threads.
constexpr uint64_t kMaxRunBytes = uint64_t{2} << 20;

// The reader whose `done` this thread is running; null: none.
thread_local const SlotReader* in_done_of = nullptr;

absl::Status Verify(const SlotRead& read, absl::Span<const std::byte> header) {
  ASSIGN_OR_RETURN(const SlotPieces pieces, CheckSlotHeader(header, read.expected));
  return CheckSlotPieces(pieces, read.payload, 0, read.payload.size());
}

}  // namespace

struct SlotReader::Run {
  std::shared_ptr<BlockFile> file;
  uint64_t offset = 0;
  uint64_t slot_bytes = 0;
  std::vector<SlotRead> slots;

  bool Continues(const SlotRead& next) const {
    const SlotAddress& last = slots.back().address;
    return next.address.file_id == last.file_id && next.address.slot == last.slot + 1 &&
           SlotBytes(next.expected.payload_bytes) == slot_bytes &&
           (slots.size() + 1) * slot_bytes <= kMaxRunBytes;
  }
};

SlotReader::~SlotReader() {
  absl::MutexLock lock(&mu_);
  while (under_way_ > 0) idle_.Wait(&mu_);
}

void SlotReader::Start(std::vector<SlotRead> batch) {
  {
    absl::MutexLock lock(&mu_);
    under_way_ += static_cast<int64_t>(batch.size());
  }
  std::vector<Run> runs;
  for (SlotRead& read : batch) {
    if (!runs.empty() && runs.back().Continues(read)) {
      runs.back().slots.push_back(std::move(read));
      continue;
    }
    const uint64_t slot_bytes = SlotBytes(read.expected.payload_bytes);
    absl::StatusOr<SlotFiles::Location> location = slots_.Locate(read.address, slot_bytes);
    if (!location.ok()) {
      files_.Post([this, done = std::move(read.done), status = location.status()]() mutable {
        End(std::move(done), status);
      });
      continue;
    }
    runs.push_back({.file = std::move(location->file),
                    .offset = location->offset,
                    .slot_bytes = slot_bytes,
                    .slots = {}});
    runs.back().slots.push_back(std::move(read));
  }
  StartRuns(std::move(runs));
}

void SlotReader::Post(absl::AnyInvocable<void() &&> work) {
  {
    absl::MutexLock lock(&mu_);
    ++under_way_;
  }
  files_.Post([this, work = std::move(work)]() mutable {
    std::move(work)();
    work = nullptr;
    NoteEnd();
  });
}

void SlotReader::StartRuns(std::vector<Run> runs) {
  absl::flat_hash_map<std::shared_ptr<BlockFile>, std::vector<BlockRead>> by_file;
  for (Run& run : runs) {
    auto headers = std::make_unique<AlignedBytes>(run.slots.size() * kSlotHeaderBytes);
    BlockRead read = {.offset = run.offset};
    for (size_t i = 0; i < run.slots.size(); ++i) {
      const absl::Span<std::byte> payload = run.slots[i].payload;
      read.pieces.push_back(headers->span().subspan(i * kSlotHeaderBytes, kSlotHeaderBytes));
      read.pieces.push_back({payload.data(), AlignUp(payload.size())});
    }
    std::vector<BlockRead>& reads = by_file[run.file];
    read.done = [this, headers = std::move(headers),
                 run = std::move(run)](const absl::Status& status) mutable {
      EndRun(std::move(run), headers->span(), status);
    };
    reads.push_back(std::move(read));
  }
  for (auto& [file, reads] : by_file) file->StartReads(std::move(reads));
}

void SlotReader::EndRun(Run run, absl::Span<const std::byte> headers, const absl::Status& status) {
  if (!status.ok() && run.slots.size() > 1) {
    // Some of them may be readable.
    std::vector<Run> alone;
    for (size_t i = 0; i < run.slots.size(); ++i) {
      alone.push_back({.file = run.file,
                       .offset = run.offset + i * run.slot_bytes,
                       .slot_bytes = run.slot_bytes,
                       .slots = {}});
      alone.back().slots.push_back(std::move(run.slots[i]));
    }
    StartRuns(std::move(alone));
    return;
  }
  run.file.reset();  // the last `done` may be what the end of the tier waits for
  for (size_t i = 0; i < run.slots.size(); ++i) {
    SlotRead& read = run.slots[i];
    const absl::Status verified =
        status.ok() ? Verify(read, headers.subspan(i * kSlotHeaderBytes, kSlotHeaderBytes))
                    : status;
    End(std::move(read.done), verified);
  }
}

void SlotReader::End(absl::AnyInvocable<void(const absl::Status&) &&> done,
                     const absl::Status& status) {
  const SlotReader* outer = std::exchange(in_done_of, this);
  std::move(done)(status);
  done = nullptr;
  in_done_of = outer;
  NoteEnd();
}

bool SlotReader::InDone() const { return in_done_of == this; }

void SlotReader::NoteEnd() {
  absl::MutexLock lock(&mu_);
  if (--under_way_ == 0) idle_.Signal();
}

}  // namespace reprise::cachestore
