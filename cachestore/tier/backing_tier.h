// BackingTier: a key-addressed place for sealed blocks below RAM: disk now, a shared store later.
//
// It sees host memory only, chooses no victims and knows no other tier. Calls are batched, so that
// an implementation can overlap and order its I/O; loads are asynchronous too. Thread-safe; loads
// may run beside anything. The caller never erases a key while a load of it is running, and never
// stores a key that is present.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/base/hash.h"
#include "cachestore/block/block_key.h"

namespace reprise::cachestore {

// What a tier remembers of a block beside its payload.
struct StoredBlock {
  BlockKey key;
  BlockKey parent;              // the namespace's root key for a first block
  BlockKey root;                // root key of the block's namespace
  std::vector<TokenId> tokens;  // block_tokens ids, or the 8 words of its external key
  uint64_t payload_bytes = 0;
  uint64_t payload_hash = 0;  // XXH3-64 of the payload, as it was stored
  uint64_t sequence = 0;      // grows with every block stored; the order of storing
};

// One block to store. `payload` is 4 KiB aligned, as is the end of its slot: the bytes up to the
// next multiple of 4 KiB may be read (and are stored as padding). Pinned by the caller during the
// call.
struct BlockToStore {
  StoredBlock block;  // `sequence` and `payload_hash` are assigned by the tier
  absl::Span<const std::byte> payload;
  // XXH3-64 of the payload, if the caller knows it: then bytes that changed since are not stored.
  std::optional<uint64_t> payload_hash;
};

// One block to load. `payload` (block.payload_bytes long; 4 KiB aligned with room up to the next
// multiple of 4 KiB) is the tier's until `done` is called. `done` gets OK after identity header and
// checksum of the block were verified; kNotFound; kDataLoss: the bytes are not what was stored;
// kInternal: I/O error. After an error the contents of `payload` are undefined.
//
// With `progress`, the block is wanted piece by piece, its first bytes first: of all such loads
// under way, first the first piece of each, then the second, and so on. `progress` gets how many
// leading bytes of `payload` are verified like a whole block: growing, before `done`, and never all
// of them, which is what `done` says. A tier may leave it out.
struct LoadRequest {
  StoredBlock block;  // `sequence` and `payload_hash` do not matter
  absl::Span<std::byte> payload;
  absl::AnyInvocable<void(uint64_t)> progress = nullptr;
  absl::AnyInvocable<void(const absl::Status&) &&> done;
};

class BackingTier {
 public:
  // Waits for all loads to end. BLOCKS.
  virtual ~BackingTier() = default;

  // Random once, when the tier was created; persisted. Mixed into every namespace's root key.
  virtual Hash128 secret() const = 0;

  // Remembers for good that `root` stands for the namespace with this identity encoding.
  // kFailedPrecondition: `root` already stands for another identity.
  virtual absl::Status BindNamespace(const BlockKey& root, absl::string_view identity_encoding) = 0;
  // Calls `visit` for every namespace that is bound. BLOCKS.
  virtual absl::Status ForEachNamespace(
      absl::FunctionRef<void(const BlockKey& root, absl::string_view identity_encoding)> visit) = 0;

  // Blocks of `payload_bytes` bytes that fit now, without erasing anything.
  virtual int64_t FreeSlots(uint64_t payload_bytes) const = 0;
  // Blocks of `payload_bytes` bytes that fit when the tier is empty.
  virtual int64_t CapacitySlots(uint64_t payload_bytes) const = 0;
  // Bytes of the budget that a block of `payload_bytes` bytes takes.
  virtual int64_t BudgetBytes(uint64_t payload_bytes) const = 0;

  // Two calls at a time, of different blocks, let one batch be written while the other is made
  // durable. Stores the batch, in order (parents come first); all of it survives kill -9 once this
  // returns OK, and none of it is visible after a failure; but it may be after a restart, until an
  // Erase, of whatever keys, has succeeded since. BLOCKS. kResourceExhausted: no slot, or
  // the file system is full; kAlreadyExists: a key is present; kDataLoss: a payload does not have
  // its payload_hash; kInternal: I/O error with the cause.
  virtual absl::Status Store(absl::Span<const BlockToStore> batch) = 0;

  // Starts loading the batch; never waits for I/O. Calls `done` of each request exactly once, in no
  // order, on a thread of the tier and never inside this call. No lock is held then: `done` may
  // call the tier, but while it or `progress` runs it holds up other loads.
  virtual void StartLoads(std::vector<LoadRequest> batch) = 0;
  // Loads of `payload_bytes` bytes under way at which the tier is about as fast as it gets; more
  // only wait in line.
  virtual int load_depth(uint64_t payload_bytes) const = 0;

  // Forgets the keys, durably, before it returns, and what earlier writes that failed have left;
  // their slots are free then. Unknown keys are skipped, and there may be none. BLOCKS.
  virtual absl::Status Erase(absl::Span<const BlockKey> keys) = 0;

  // Keys of blocks, `key` among them, that must all be erased before their bytes can go to blocks
  // of other sizes. A tier that does not lay out sizes apart has nothing beside a block. May read
  // the whole index; not for every write. BLOCKS. kNotFound: `key` is not stored.
  virtual absl::StatusOr<std::vector<BlockKey>> KeysBeside(const BlockKey& key) {
    return std::vector<BlockKey>{key};
  }

  // Calls `visit` for every stored block in the order of storing. Reads no payload; may hold much
  // of the index in memory. BLOCKS.
  virtual absl::Status ForEach(absl::FunctionRef<void(const StoredBlock&)> visit) = 0;
  // The same for the keys alone, in any order and with little memory. BLOCKS.
  virtual absl::Status ForEachKey(absl::FunctionRef<void(const BlockKey&)> visit) = 0;

  // Keeps `bytes`, a few hundred kilobytes at most, under `name` in place of what was kept there:
  // they survive kill -9 once this returns OK, and after an error the old ones or these do. They
  // are no part of the budget. BLOCKS.
  virtual absl::Status SaveState(absl::string_view name, absl::string_view bytes) = 0;
  // What was saved last. kNotFound: nothing was; kDataLoss: it cannot be read, or is not what was
  // saved. BLOCKS.
  virtual absl::StatusOr<std::string> LoadState(absl::string_view name) const = 0;

  // Bytes that stored blocks take of the budget, those that are reserved for blocks or taken by
  // them, the budget, and stored blocks.
  virtual int64_t used_bytes() const = 0;
  virtual int64_t reserved_bytes() const = 0;
  virtual int64_t capacity_bytes() const = 0;
  virtual int64_t num_blocks() const = 0;
  // Why the tier was opened without what it held before: one message for each index that could not
  // be read and was set aside. Empty when all is well.
  virtual std::vector<std::string> losses() const = 0;
};

}  // namespace reprise::cachestore
