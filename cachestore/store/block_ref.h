// BlockRef and WritableBlock: the RAII handles on slots in RAM or on the GPU. Move-only; each
// handle is used by one thread at a time, different handles by any threads. A handle must not
// outlive its TieredStore.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "cachestore/block/block_key.h"
#include "cachestore/store/tier.h"

namespace reprise::cachestore {

class BlockRegistry;  // implemented by the store: takes back pins and slots

// What a handle stands for: a tier, and the number of a block or a slot.
struct BlockHandle {
  Tier tier = Tier::kRam;
  uint32_t number = 0;
};

// A pin: while it lives, the block's bytes neither move nor change. Destroying it unpins.
class BlockRef {
 public:
  BlockRef() = default;
  BlockRef(BlockRef&& other) noexcept;
  BlockRef& operator=(BlockRef&& other) noexcept;
  ~BlockRef();

  // One block, laid out as the namespace's KvLayout says; 4 KiB aligned. Lives as long as the pin.
  // Of a block on the GPU these are addresses of the device, which the host must not follow.
  absl::Span<const std::byte> bytes() const { return bytes_; }
  const BlockKey& key() const { return key_; }
  // XXH3-64 of the bytes when they came into RAM, where it was taken then.
  std::optional<uint64_t> payload_hash() const { return payload_hash_; }
  explicit operator bool() const { return registry_ != nullptr; }

  // For the store alone.
  BlockRef(BlockRegistry* registry, BlockHandle handle, const BlockKey& key,
           absl::Span<const std::byte> bytes, std::optional<uint64_t> payload_hash)
      : registry_(registry),
        handle_(handle),
        key_(key),
        bytes_(bytes),
        payload_hash_(payload_hash) {}

 private:
  BlockRegistry* registry_ = nullptr;
  BlockHandle handle_;
  BlockKey key_;
  absl::Span<const std::byte> bytes_;
  std::optional<uint64_t> payload_hash_;
};

// Exclusive use of one slot until it is sealed. Destroying it unsealed frees the slot.
class WritableBlock {
 public:
  WritableBlock() = default;
  WritableBlock(WritableBlock&& other) noexcept;
  WritableBlock& operator=(WritableBlock&& other) noexcept;
  ~WritableBlock();

  // As of BlockRef.
  absl::Span<std::byte> bytes() const { return bytes_; }
  Tier tier() const { return handle_.tier; }
  explicit operator bool() const { return registry_ != nullptr; }

  // For the store alone.
  WritableBlock(BlockRegistry* registry, BlockHandle handle, absl::Span<std::byte> bytes)
      : registry_(registry), handle_(handle), bytes_(bytes) {}
  // Gives up ownership without freeing; returns the slot's handle.
  BlockHandle Release();

 private:
  BlockRegistry* registry_ = nullptr;
  BlockHandle handle_;
  absl::Span<std::byte> bytes_;
};

// What the handles call back into. Thread-safe.
class BlockRegistry {
 public:
  virtual ~BlockRegistry() = default;
  // Gives back one pin; `handle` names the block.
  virtual void Unpin(BlockHandle handle) = 0;
  // Frees the slot that `handle` names, unsealed.
  virtual void AbortWrite(BlockHandle handle) = 0;
};

}  // namespace reprise::cachestore
