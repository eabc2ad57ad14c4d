// PinTicket: a range of a cached prefix being made resident in one tier and pinned there.
// Move-only; one thread at a time. Destroying a ticket before it is done is allowed: its pins go
// when the loads have ended.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "cachestore/store/block_ref.h"

namespace reprise::cachestore {

// In which order the blocks of a range are loaded.
enum class LoadOrder {
  kByBlock,  // one after the other
  // The first bytes of all of them first, and the last bytes last. Where other loads are under way,
  // where room is short, or where the tier cannot, by block.
  kByLayer,
};

// Filled by the store as loads end; shared with it.
struct PinState;

// The good leading blocks of what a finished ticket was asked for.
struct PinnedPrefix {
  std::vector<BlockRef> blocks;  // in the order of the prefix, no gaps
  std::vector<bool> from_gpu;    // one per block: was on the GPU when its turn came
  std::vector<bool> from_disk;   // one per block: loaded for this ticket
  int64_t gpu_blocks = 0;        // how many of `blocks` were on the GPU
  int64_t ram_blocks = 0;        // how many were in RAM
  int64_t disk_blocks = 0;       // how many were loaded from disk
  bool is_late = false;          // the deadline ended it before all were there
};

class PinTicket {
 public:
  PinTicket() = default;
  PinTicket(PinTicket&&) noexcept;
  PinTicket& operator=(PinTicket&&) noexcept;
  ~PinTicket();

  // Blocks of the range that matched when Pin was called; the upper bound of what Take() returns.
  int64_t matched_blocks() const;
  // True once every load has ended, well or badly.
  bool done() const;
  // Waits until done() or `deadline`; returns done(). BLOCKS.
  bool Wait(absl::Time deadline) const;
  // Where the blocks of the range lie, or will lie, root first: once all of them are in the tier or
  // being loaded by layer; else empty. Bytes that AwaitBytes() has confirmed may be read while the
  // ticket lives: on the GPU, by what its compute lane is given from then on. A block can still be
  // lost, and its slot be used otherwise; so what was made of them counts only once whole blocks
  // are confirmed.
  std::vector<const std::byte*> addresses() const;
  // Waits until the first `bytes` bytes of every block of the range are verified, and for whole
  // blocks until Take() gives all of them, where addresses() says. On the GPU, parts of blocks may
  // still be under way then: the compute lane awaits them, not the caller. False: that will not
  // come, or not before `deadline`. BLOCKS. REQUIRES: addresses() is not empty.
  bool AwaitBytes(uint64_t bytes, absl::Time deadline) const;
  // The leading blocks up to the first one that could not be loaded or failed verification.
  // REQUIRES: done(). Call once.
  PinnedPrefix Take();

  // For the store alone.
  explicit PinTicket(std::shared_ptr<PinState> state);

 private:
  // Ends the ticket if it is not done: it stops loading and gives back its pins.
  void Abandon();

  std::shared_ptr<PinState> state_;
};

}  // namespace reprise::cachestore
