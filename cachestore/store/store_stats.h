// StoreStats: a snapshot of the store's counters and gauges. Plain data. Counters only grow while
// the store is open; units are in the names. Lookups are counted by Pin, in tokens, because blocks
// of different namespaces hold different numbers of them. While no ticket is pending
//     looked_up_tokens == hit_gpu_tokens + hit_ram_tokens + hit_disk_tokens + missed_tokens()
#pragma once

#include <array>
#include <cstdint>

#include "cachestore/index/residency.h"
#include "cachestore/store/latency_histogram.h"

namespace reprise::cachestore {

struct StoreStats {
  friend bool operator==(const StoreStats&, const StoreStats&) = default;

  // Lookups: the tokens of the full blocks asked for.
  int64_t looked_up_tokens = 0;
  int64_t hit_gpu_tokens = 0;  // that lay on the GPU, wherever they were wanted
  int64_t hit_ram_tokens = 0;
  int64_t hit_disk_tokens = 0;
  int64_t missed_absent_tokens = 0;      // not in the store
  int64_t missed_collision_tokens = 0;   // key present, parent or content differ
  int64_t missed_corrupt_tokens = 0;     // bytes from disk failed verification
  int64_t missed_io_error_tokens = 0;    // disk could not be read, or the device failed
  int64_t missed_no_room_tokens = 0;     // no slot to load into
  int64_t missed_queue_full_tokens = 0;  // too many tickets were loading
  int64_t missed_deadline_tokens = 0;    // not loaded in time
  int64_t missed_abandoned_tokens = 0;   // the ticket was given up before it was done
  // Given up while loading, with an ancestor or by Invalidate, or not where the index has it.
  int64_t missed_lost_tokens = 0;
  int64_t missed_after_miss_tokens = 0;  // behind a block that was missed while loading
  int64_t missed_tokens() const {
    return missed_absent_tokens + missed_collision_tokens + missed_corrupt_tokens +
           missed_io_error_tokens + missed_no_room_tokens + missed_queue_full_tokens +
           missed_deadline_tokens + missed_abandoned_tokens + missed_lost_tokens +
           missed_after_miss_tokens;
  }
  // Requests of users, and those whose end was told (TieredStore::EndRequest).
  int64_t requests = 0;
  int64_t ended_requests = 0;
  // Life cycle.
  int64_t sealed_blocks = 0;            // calls of Seal
  int64_t duplicate_seals = 0;          // of these, for a block that was in that tier already
  int64_t demoted_blocks = 0;           // left RAM with a copy on disk
  int64_t promoted_blocks = 0;          // loaded from disk into RAM
  int64_t demoted_from_gpu_blocks = 0;  // left the GPU with a copy below
  int64_t promoted_to_gpu_blocks = 0;   // copied from RAM to the GPU
  int64_t copied_from_gpu_blocks = 0;   // copied from the GPU to RAM
  int64_t lost_gpu_blocks = 0;          // that only the GPU had when the device failed
  int64_t dropped_blocks = 0;           // left their last tier
  int64_t rejected_blocks = 0;          // not admitted to disk
  int64_t corrupt_ram_blocks = 0;       // dropped because their bytes changed in RAM
  int64_t failed_disk_writes = 0;       // stores and erases, in batches, and saves
  int64_t rejected_allocations = 0;
  int64_t touched_blocks = 0;       // counted as used by Touch
  int64_t verified_blocks = 0;      // disk copies that Verify found good
  int64_t corrupt_disk_blocks = 0;  // disk copies that were not what was stored, by load or Verify
  // Checks of the store's own books while nobody used it; one that fails means a bug in Reprise.
  int64_t integrity_checks = 0;
  int64_t failed_integrity_checks = 0;
  // Gauges.
  int64_t gpu_blocks = 0;  // sealed blocks on the GPU
  int64_t gpu_used_bytes = 0;
  int64_t gpu_capacity_bytes = 0;
  int64_t ram_blocks = 0;   // sealed blocks in RAM
  int64_t disk_blocks = 0;  // blocks on disk
  int64_t ram_used_bytes = 0;
  int64_t ram_capacity_bytes = 0;
  int64_t ram_huge_page_bytes = 0;  // of the capacity, in huge pages
  int64_t disk_used_bytes = 0;      // of the budget, taken by stored blocks
  int64_t disk_reserved_bytes = 0;  // sizes of all payload files
  int64_t disk_capacity_bytes = 0;
  int64_t pinned_blocks = 0;     // with at least one pin; one pinned in both tiers counts twice
  int64_t writing_blocks = 0;    // allocated, not sealed
  int64_t queued_transfers = 0;  // loads and writes not ended, the sum of these four:
  int64_t loading_blocks = 0;    // from disk to RAM
  int64_t storing_blocks = 0;    // from RAM to disk
  int64_t copying_to_gpu_blocks = 0;
  int64_t copying_from_gpu_blocks = 0;
  int64_t erasing_blocks = 0;         // disk copies being erased
  int64_t condemned_blocks = 0;       // disk copies that wait for that
  int64_t loading_tickets = 0;        // prefixes not loaded yet
  int64_t starving_tickets = 0;       // of these, without a slot to load into
  int64_t waiting_allocations = 0;    // calls of AwaitRoom
  int64_t load_bytes_per_second = 0;  // of the last loads, while some are under way; 0: none yet
  int64_t load_latency_us = 0;        // of a lone load, beyond its bytes at that rate
  int64_t copy_to_device_bytes_per_second = 0;  // of the last copies, as above
  int64_t copy_to_host_bytes_per_second = 0;
  int64_t recovered_blocks = 0;  // found on disk when the store was opened
  // Disk indexes that were damaged and set aside then, so that the store began without their
  // blocks.
  int64_t lost_disk_indexes = 0;

  // How often blocks left a tier, by Removal and CacheTier. Those that leave the last one count
  // too.
  std::array<std::array<int64_t, kNumCacheTiers>, kNumRemovals> removed_blocks = {};
  // How long blocks took, from the start of the transfer to its end, of those that ended well. A
  // block that is stored takes as long as the batch that it is in.
  LatencyHistogram load_from_disk;  // disk to RAM
  LatencyHistogram load_to_gpu;     // RAM to the GPU
  LatencyHistogram store_to_disk;   // RAM to disk
  LatencyHistogram store_from_gpu;  // the GPU to RAM
};

}  // namespace reprise::cachestore
