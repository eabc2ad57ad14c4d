// StoreStats: a snapshot of the store's counters and gauges. Plain data. Counters only grow while
// the store is open; units are in the names. Lookups are counted by Pin, in blocks:
//     looked_up_blocks == hit_ram_blocks + hit_disk_blocks + missed_blocks()
#pragma once

#include <cstdint>

namespace reprise::cachestore {

struct StoreStats {
  // Lookups, in full blocks asked for.
  int64_t looked_up_blocks = 0;
  int64_t hit_ram_blocks = 0;
  int64_t hit_disk_blocks = 0;
  int64_t missed_absent_blocks = 0;      // not in the store
  int64_t missed_collision_blocks = 0;   // key present, parent or token ids differ
  int64_t missed_corrupt_blocks = 0;     // bytes from disk failed verification
  int64_t missed_io_error_blocks = 0;    // disk could not be read
  int64_t missed_no_room_blocks = 0;     // no RAM slot to load into, or the load queue was full
  int64_t missed_after_miss_blocks = 0;  // behind a block that failed to load
  int64_t missed_blocks() const {
    return missed_absent_blocks + missed_collision_blocks + missed_corrupt_blocks +
           missed_io_error_blocks + missed_no_room_blocks + missed_after_miss_blocks;
  }
  // Life cycle.
  int64_t sealed_blocks = 0;       // calls of Seal
  int64_t duplicate_seals = 0;     // of these, for a block that was in RAM already
  int64_t demoted_blocks = 0;      // left RAM with a copy on disk
  int64_t promoted_blocks = 0;     // loaded from disk into RAM
  int64_t dropped_blocks = 0;      // left their last tier
  int64_t failed_disk_writes = 0;  // stores and erases, in batches
  int64_t rejected_allocations = 0;
  // Gauges.
  int64_t ram_blocks = 0;   // sealed blocks in RAM
  int64_t disk_blocks = 0;  // blocks on disk
  int64_t ram_used_bytes = 0;
  int64_t ram_capacity_bytes = 0;
  int64_t ram_huge_page_bytes = 0;  // of the capacity, in huge pages
  int64_t disk_used_bytes = 0;  // bytes of payload files holding blocks
  int64_t disk_capacity_bytes = 0;
  int64_t pinned_blocks = 0;     // blocks with at least one pin
  int64_t writing_blocks = 0;    // allocated, not sealed
  int64_t queued_transfers = 0;  // loads and writes not ended
  int64_t recovered_blocks = 0;  // found on disk when the store was opened
};

}  // namespace reprise::cachestore
