// SlotFiles: the payload files of the disk tier and which of their slots are used.
//
// A file is preallocated and holds slots of one size. Files are created as slots are needed; a file
// without used slots gives way when another slot size needs its bytes. It knows neither keys nor
// the index: a slot is used from Reserve to Release.
//
// When the file system turns out to be full below the budget, only what is left counts as free, so
// that the caller erases blocks instead; growing is tried again after a while.
//
// Invariants:
//  (1) The sizes of all files in the directory add up to at most the budget, at every moment.
//  (2) A file id is never used again while the tier is open, so an address never changes its
//  meaning.
// Thread-safe; its lock is not held over I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/block_record.h"
#include "cachestore/tier/slot_bitmap.h"

namespace reprise::cachestore {

// Bytes of the slot that a payload of `payload_bytes` takes: header and payload, padded.
uint64_t SlotBytes(uint64_t payload_bytes);

// "slots-000001.dat".
std::string SlotFileName(uint32_t file_id);
// The id in a name that SlotFileName makes; 0 for every other name.
uint32_t SlotFileId(absl::string_view name);

// A file that was found when the tier was opened, and its used slots.
struct FoundSlotFile {
  uint64_t file_bytes = 0;
  uint64_t slot_bytes = 0;
  SlotBitmap slots;
};

class SlotFiles {
 public:
  // `now` is for tests.
  SlotFiles(std::string directory, int64_t capacity_bytes, std::shared_ptr<BlockFileSystem> files,
            std::function<absl::Time()> now = absl::Now);

  // Takes over the files found on disk. Call once, before anything else. REQUIRES: they keep to the
  // budget. New files get ids above `last_file_id`. BLOCKS.
  absl::Status Adopt(std::map<uint32_t, FoundSlotFile> found, uint32_t last_file_id);

  // `count` slots of `slot_bytes` bytes in few runs, in the order in which they should be filled.
  // kResourceExhausted: the budget, or the file system, has no room; nothing is reserved after an
  // error. BLOCKS when a file must be created.
  absl::StatusOr<std::vector<SlotAddress>> Reserve(uint64_t slot_bytes, size_t count);
  // REQUIRES: each is reserved and nothing names it any more.
  void Release(absl::Span<const SlotAddress> addresses);

  // The file of a reserved slot, for I/O, and where the slot starts in it.
  struct Location {
    std::shared_ptr<BlockFile> file;
    uint64_t offset = 0;
  };
  // kDataLoss: there is no such slot of `slot_bytes` bytes.
  absl::StatusOr<Location> Locate(const SlotAddress& address, uint64_t slot_bytes) const;

  // Slots of `slot_bytes` bytes that can be reserved now; that fit into the whole budget.
  int64_t FreeSlots(uint64_t slot_bytes) const;
  int64_t CapacitySlots(uint64_t slot_bytes) const;
  int64_t capacity_bytes() const { return capacity_bytes_; }
  // Sizes of all payload files, added up.
  int64_t file_bytes() const;

 private:
  struct File {
    std::shared_ptr<BlockFile> file;
    uint64_t file_bytes = 0;
    uint64_t slot_bytes = 0;
    SlotBitmap slots;
    bool empty() const { return slots.num_free() == slots.num_slots(); }
  };

  std::string Path(uint32_t file_id) const;
  // Takes `count` slots from the files there are, or nothing.
  bool TakeFromFiles(uint64_t slot_bytes, size_t count, std::vector<SlotAddress>* taken)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Creates one more file of `slot_bytes` slots. kResourceExhausted: no room for one slot.
  absl::Status Grow(uint64_t slot_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(grow_mu_);
  // Deletes empty files of other slot sizes until `bytes` of the budget are unused, or none is
  // left.
  absl::Status MakeRoom(uint64_t slot_bytes, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(grow_mu_);
  int64_t FreeInFilesLocked(uint64_t slot_bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Bytes of the budget that no file has yet and the file system is not known to refuse.
  uint64_t UnusedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Size of a new file when the budget allows it.
  uint64_t SegmentBytes(uint64_t slot_bytes) const;

  const std::string directory_;
  const int64_t capacity_bytes_;
  const std::shared_ptr<BlockFileSystem> file_system_;
  const std::function<absl::Time()> now_;

  // Held while files are created and deleted, which is I/O; never needed to use those there are.
  absl::Mutex grow_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  mutable absl::Mutex mu_;
  std::map<uint32_t, File> files_ ABSL_GUARDED_BY(mu_);
  int64_t file_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of all files on disk
  uint32_t last_file_id_ ABSL_GUARDED_BY(mu_) = 0;
  // Until then the files may not add up to more than room_bytes_: the file system was full.
  absl::Time full_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  int64_t room_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace reprise::cachestore
