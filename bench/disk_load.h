// DiskLoad: a TieredStore on a directory, with chains of blocks that a benchmark puts, makes
// durable and reads back. Every block is stamped with its number and checked when it is read.
// Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/synthetic.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::bench {

struct DiskLoadOptions {
  std::string directory;
  int64_t block_bytes = 0;
  int64_t chain_blocks = 0;  // blocks of each chain
  int64_t ram_bytes = 0;
  int64_t disk_bytes = 0;
};

class DiskLoad {
 public:
  static absl::StatusOr<std::unique_ptr<DiskLoad>> Open(const DiskLoadOptions& options);

  // Puts `count` chains that are new. Waits for room where RAM is full. BLOCKS.
  absl::Status PutChains(int64_t count);
  // Moves what is in RAM to disk; durable when it returns. BLOCKS.
  absl::Status Demote();
  // Pins `count` chains chosen at random, each once, among the last `youngest` that were put, two
  // at a time, and checks them. kDataLoss: a block is missing or not the one that was put;
  // kFailedPrecondition: a block was in RAM. BLOCKS.
  absl::Status ReadChains(int64_t count, int64_t youngest);

  int64_t chain_bytes() const { return options_.chain_blocks * options_.block_bytes; }
  cachestore::StoreStats stats() const { return store_->stats(); }

 private:
  struct Reading {
    int64_t chain = 0;
    cachestore::PinTicket ticket;
  };

  DiskLoad(const DiskLoadOptions& options, std::unique_ptr<cachestore::TieredStore> store,
           const cachestore::NamespaceHandle& ns);
  absl::Status PutChain(int64_t chain);
  Reading StartReading(int64_t chain);
  absl::Status FinishReading(Reading reading) const;

  const DiskLoadOptions options_;
  const std::unique_ptr<cachestore::TieredStore> store_;
  const cachestore::NamespaceHandle ns_;
  std::vector<std::byte> payload_;  // of every block, but for the stamp
  int64_t next_chain_ = 0;
  Random random_{7};
};

}  // namespace reprise::bench
