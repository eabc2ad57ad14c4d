// SlotPieceReader: reads slots piece by piece, for who wants to use the first bytes of many blocks
// before the last ones are there.
//
// Of all slots under way, the earliest piece that is not there yet is read first: piece 0 of all of
// them, then piece 1 of all, and so on; of one slot, one piece at a time. At most `max_reads`
// pieces are read at once. Each is verified before it is reported. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/slot_files.h"
#include "cachestore/tier/slot_pieces.h"
#include "cachestore/tier/slot_reader.h"

namespace reprise::cachestore {

// A slot to read by pieces. `progress` gets how many leading bytes of the payload are what was
// stored, header included: growing, never all of them, and before `done`, which says the rest.
struct SlotPieceRead {
  SlotRead slot;
  absl::AnyInvocable<void(uint64_t)> progress;
};

class SlotPieceReader {
 public:
  // Both outlive the reader. REQUIRES: max_reads > 0.
  SlotPieceReader(const SlotFiles& slots, BlockFileSystem& files, int max_reads)
      : slots_(slots), files_(files), max_reads_(max_reads) {}
  // Waits for all reads. BLOCKS.
  ~SlotPieceReader();

  SlotPieceReader(const SlotPieceReader&) = delete;
  SlotPieceReader& operator=(const SlotPieceReader&) = delete;

  // Starts the batch. `progress` and `done` are called on threads of the file system, never inside
  // the call and for one slot never at the same time, with no lock held. REQUIRES: the slots are
  // reserved until `done`.
  void Start(std::vector<SlotPieceRead> batch) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Reading;  // one slot under way
  using Queue = std::deque<std::shared_ptr<Reading>>;

  // Takes the slots out whose next piece is to be read now.
  std::vector<std::shared_ptr<Reading>> TakeTurnsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Reads the next piece of each. All of them are under way, so that the reader lives meanwhile.
  void StartReads(const std::vector<std::shared_ptr<Reading>>& turns);
  void EndRead(const std::shared_ptr<Reading>& reading, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mu_);
  void End(Reading& reading, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  const SlotFiles& slots_;
  BlockFileSystem& files_;
  const int max_reads_;
  absl::Mutex mu_;
  absl::CondVar idle_;
  // By the number of the piece that comes next.
  std::array<Queue, kMaxSlotPieces> waiting_ ABSL_GUARDED_BY(mu_);
  int reads_ ABSL_GUARDED_BY(mu_) = 0;          // pieces being read or verified
  int64_t under_way_ ABSL_GUARDED_BY(mu_) = 0;  // `done` has not returned
};

}  // namespace reprise::cachestore
