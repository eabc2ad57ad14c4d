// Recovery of the disk tier: from the index and a listing of the payload files to the files and
// used slots that remain. Reads no payload.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cachestore/tier/block_catalog.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/record_list.h"
#include "cachestore/tier/slot_files.h"

namespace reprise::cachestore {

struct RecoveredSlots {
  std::map<uint32_t, FoundSlotFile> files;  // within the budget
  uint32_t last_file_id = 0;                // the greatest id that a record names
  uint64_t next_sequence = 0;
  int64_t num_blocks = 0;
  int64_t used_bytes = 0;  // of their slots
  // Their records, unless there are too many to hold or some were dropped.
  std::unique_ptr<RecordList> records;
};

// Brings index, payload files in `directory` and the budget into agreement:
//  - drops records that cannot be read, name a slot outside of their file, or name a slot that
//    another record names too (then both, since one of them must be wrong);
//  - when the files exceed `capacity_bytes`, drops whole files, those whose blocks were stored last
//    first, so that parents stay before their children;
//  - removes payload files that no record names.
// Records are durably erased before a file goes. BLOCKS.
absl::StatusOr<RecoveredSlots> RecoverSlots(BlockCatalog& catalog, BlockFileSystem& files,
                                            const std::string& directory, int64_t capacity_bytes);

}  // namespace reprise::cachestore
