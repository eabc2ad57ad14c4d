// SlotReader: reads slots and verifies what comes back, many at a time. Neighbouring slots of a
// batch are read in one go. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/block_record.h"
#include "cachestore/tier/slot_files.h"
#include "cachestore/tier/slot_header.h"

namespace reprise::cachestore {

// One slot to read. `payload` is expected.payload_bytes long, 4 KiB aligned, with room up to the
// next multiple of 4 KiB. `done` gets OK when header and payload are what `expected` says;
// kDataLoss: they are not; kInternal: I/O error.
struct SlotRead {
  SlotHeader expected;
  SlotAddress address;
  absl::Span<std::byte> payload;
  absl::AnyInvocable<void(const absl::Status&) &&> done;
};

class SlotReader {
 public:
  // Both outlive the reader.
  SlotReader(const SlotFiles& slots, BlockFileSystem& files) : slots_(slots), files_(files) {}
  // Waits for all reads and for what was posted. BLOCKS.
  ~SlotReader();

  SlotReader(const SlotReader&) = delete;
  SlotReader& operator=(const SlotReader&) = delete;

  // Starts the batch. `done` of each is called once, on a thread of the file system, never inside
  // the call, with no lock held. REQUIRES: the slots are reserved until then.
  void Start(std::vector<SlotRead> batch) ABSL_LOCKS_EXCLUDED(mu_);
  // Runs `work`, which may call Start, once on a thread of the file system. Never blocks.
  void Post(absl::AnyInvocable<void() &&> work) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether this is called inside `done` of one of the reader's reads, and so on a thread of the
  // file system.
  bool InDone() const;

 private:
  struct Run;  // neighbouring slots, read in one go

  void StartRuns(std::vector<Run> runs);
  void EndRun(Run run, absl::Span<const std::byte> headers, const absl::Status& status);
  void End(absl::AnyInvocable<void(const absl::Status&) &&> done, const absl::Status& status);
  void NoteEnd() ABSL_LOCKS_EXCLUDED(mu_);

  const SlotFiles& slots_;
  BlockFileSystem& files_;
  absl::Mutex mu_;
  absl::CondVar idle_;
  int64_t under_way_ ABSL_GUARDED_BY(mu_) = 0;  // `done` or posted work has not returned
};

}  // namespace reprise::cachestore
