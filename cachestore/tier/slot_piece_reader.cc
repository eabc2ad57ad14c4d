#include "cachestore/tier/slot_piece_reader.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/aligned_bytes.h"

namespace reprise::cachestore {

struct SlotPieceReader::Reading {
  explicit Reading(SlotPieceRead request)
      : read(std::move(request.slot)),
        progress(std::move(request.progress)),
        read_bytes(SlotPieceBytes(read.expected.payload_bytes)) {}

  uint64_t begin() const { return next * read_bytes; }
  uint64_t end() const { return std::min(read.payload.size(), begin() + read_bytes); }

  // Piece `next` has been read: verifies what is whole now.
  absl::Status Verify() {
    if (next == 0) {
      ASSIGN_OR_RETURN(pieces, CheckSlotHeader(header.span(), read.expected));
    }
    // The pieces of an earlier format are longer than those that are read.
    const uint64_t whole = WholePieceBytes(pieces, read.payload.size(), end());
    RETURN_IF_ERROR(CheckSlotPieces(pieces, read.payload, verified, whole));
    verified = whole;
    return absl::OkStatus();
  }

  SlotRead read;
  absl::AnyInvocable<void(uint64_t)> progress;
  std::shared_ptr<BlockFile> file;
  uint64_t offset = 0;  // of the slot in its file
  const uint64_t read_bytes;
  AlignedBytes header{kSlotHeaderBytes};
  SlotPieces pieces;  // once the header is there
  size_t next = 0;    // the piece to read
  uint64_t verified = 0;
};

SlotPieceReader::~SlotPieceReader() {
  absl::MutexLock lock(&mu_);
  while (under_way_ > 0) idle_.Wait(&mu_);
}

void SlotPieceReader::Start(std::vector<SlotPieceRead> batch) {
  std::vector<std::shared_ptr<Reading>> turns;
  {
    absl::MutexLock lock(&mu_);
    for (SlotPieceRead& request : batch) {
      auto reading = std::make_shared<Reading>(std::move(request));
      absl::StatusOr<SlotFiles::Location> location =
          slots_.Locate(reading->read.address, SlotBytes(reading->read.expected.payload_bytes));
      ++under_way_;
      if (!location.ok()) {
        files_.Post([this, reading, status = location.status()] { End(*reading, status); });
        continue;
      }
      reading->file = std::move(location->file);
      reading->offset = location->offset;
      waiting_[0].push_back(std::move(reading));
    }
    turns = TakeTurnsLocked();
  }
  StartReads(turns);
}

std::vector<std::shared_ptr<SlotPieceReader::Reading>> SlotPieceReader::TakeTurnsLocked() {
  std::vector<std::shared_ptr<Reading>> turns;
  for (Queue& queue : waiting_) {
    for (; !queue.empty() && reads_ < max_reads_; ++reads_) {
      turns.push_back(std::move(queue.front()));
      queue.pop_front();
    }
  }
  return turns;
}

void SlotPieceReader::StartReads(const std::vector<std::shared_ptr<Reading>>& turns) {
  for (const std::shared_ptr<Reading>& reading : turns) {
    std::vector<BlockRead> reads(1);
    BlockRead& read = reads[0];
    read.offset = reading->offset + (reading->next == 0 ? 0 : kSlotHeaderBytes + reading->begin());
    if (reading->next == 0) read.pieces.push_back(reading->header.span());
    read.pieces.push_back({reading->read.payload.data() + reading->begin(),
                           AlignUp(reading->end() - reading->begin())});
    read.done = [this, reading](const absl::Status& status) { EndRead(reading, status); };
    // Not through `reading`: it may end, and give up its file, before the call returns.
    const std::shared_ptr<BlockFile> file = reading->file;
    file->StartReads(std::move(reads));
  }
}

void SlotPieceReader::EndRead(const std::shared_ptr<Reading>& reading, const absl::Status& status) {
  const uint64_t verified_before = reading->verified;
  const absl::Status verified = status.ok() ? reading->Verify() : status;
  const bool ends = !verified.ok() || reading->end() == reading->read.payload.size();
  if (!ends && reading->verified > verified_before) reading->progress(reading->verified);
  std::vector<std::shared_ptr<Reading>> turns;
  {
    absl::MutexLock lock(&mu_);
    --reads_;
    if (!ends) waiting_[++reading->next].push_back(reading);
    turns = TakeTurnsLocked();
  }
  StartReads(turns);
  if (ends) End(*reading, verified);
}

void SlotPieceReader::End(Reading& reading, const absl::Status& status) {
  reading.file.reset();  // `done` may be what the end of the tier waits for
  reading.progress = nullptr;
  std::move(reading.read.done)(status);
  reading.read.done = nullptr;
  absl::MutexLock lock(&mu_);
  if (--under_way_ == 0) idle_.Signal();
}

}  // namespace reprise::cachestore
