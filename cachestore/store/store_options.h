// StoreOptions: what a TieredStore is built from. Plain data, checked once by Validate().
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace reprise::cachestore {

struct RamOptions {
  int64_t capacity_bytes = int64_t{1} << 30;  // exact budget of the arena, reserved at start
};

struct GpuOptions {
  int64_t capacity_bytes = 0;  // exact budget in the device's memory, reserved at start; 0: no tier
};

// Which blocks are written to disk when RAM gives them up.
enum class DiskAdmission {
  kAll,
  // On a full disk, none that nobody asked for again and that would push out one worth more: saves
  // writes where many prompts are seen once.
  kUseful,
  // None that is hardly used again, as far as EvictionOrder::kReuse has learned: saves writes where
  // conversations end unannounced, and loses what comes back later than it has seen so far. Of
  // kLru, which learns nothing, all.
  kLikely,
};

struct DiskOptions {
  std::string directory;                      // empty: no disk tier
  int64_t capacity_bytes = int64_t{8} << 30;  // exact budget of the payload files
  DiskAdmission admission = DiskAdmission::kAll;
};

// In which order blocks are given up.
enum class EvictionOrder {
  kReuse,  // what is worth the least to keep goes first, as learned while serving (ReusePolicy)
  kLru,    // what was used the longest ago
};

struct StoreOptions {
  EvictionOrder eviction = EvictionOrder::kReuse;
  // How far into a prompt a token's attention takes as much to compute as all else of it, for the
  // model whose KV this is: kReuse keeps longer what costs more to compute anew. 0: all tokens cost
  // the same.
  int64_t attention_tokens = 0;
  GpuOptions gpu;  // needs a Device (TieredStore::Open)
  RamOptions ram;
  DiskOptions disk;
  // The demoter starts when less than this share of RAM is free or holds blocks that go first and
  // are on disk too (their slots can be taken at once), and writes to disk until it is twice that.
  double ram_free_low_watermark = 0.05;
  // The same for the GPU: blocks are copied to RAM until so much is free or held below too.
  double gpu_free_low_watermark = 0.05;
  // Prefixes being loaded from disk at a time; for others, what only disk holds is a miss.
  int max_loading_tickets = 1024;
  // The store checks its own books (StoreStats::integrity_checks) after nobody has used it for so
  // long; infinite: never.
  absl::Duration check_after_idle = absl::Seconds(30);
  // What the order of eviction has learned is saved with the disk tier so often, and at the end.
  absl::Duration save_model_every = absl::Minutes(1);
  // Events that are remembered (TieredStore::Events); each takes about 64 bytes.
  int64_t remembered_events = 65536;

  // kInvalidArgument names the option, its value and the allowed range.
  absl::Status Validate() const;
};

}  // namespace reprise::cachestore
