// GeneratedTier: a BackingTier that says it holds given chains of blocks and holds nothing, so that
// a store with ten million blocks fits into a benchmark. Counts blocks and forgets their bytes:
// what it holds can be matched and evicted, never loaded. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "cachestore/block/namespace_identity.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::bench {

class GeneratedTier final : public cachestore::BackingTier {
 public:
  // Holds chain i of synthetic.h, chain_lengths[i] blocks of `identity`, and room for as many
  // blocks as that. The blocks come in random order, parents first, so that neighbours of a chain
  // lie apart in an index that they are entered into: the worst case of a long-lived store.
  GeneratedTier(const cachestore::NamespaceIdentity& identity, std::vector<int64_t> chain_lengths);

  cachestore::Hash128 secret() const override { return {1, 2}; }
  absl::Status BindNamespace(const cachestore::BlockKey& root,
                             absl::string_view identity_encoding) override;
  int64_t FreeSlots(uint64_t payload_bytes) const override;
  int64_t CapacitySlots(uint64_t payload_bytes) const override { return capacity_blocks_; }
  int64_t BudgetBytes(uint64_t /*payload_bytes*/) const override { return block_bytes_; }
  absl::Status Store(absl::Span<const cachestore::BlockToStore> batch) override;
  void StartLoads(std::vector<cachestore::LoadRequest> batch) override;  // CHECK-fails
  int load_depth(uint64_t /*payload_bytes*/) const override { return 1; }
  absl::Status Erase(absl::Span<const cachestore::BlockKey> keys) override;
  absl::Status ForEachNamespace(
      absl::FunctionRef<void(const cachestore::BlockKey&, absl::string_view)> visit) override;
  absl::Status ForEach(absl::FunctionRef<void(const cachestore::StoredBlock&)> visit) override;
  absl::Status ForEachKey(absl::FunctionRef<void(const cachestore::BlockKey&)> visit) override;
  absl::Status SaveState(absl::string_view, absl::string_view) override { return absl::OkStatus(); }
  absl::StatusOr<std::string> LoadState(absl::string_view name) const override {
    return absl::NotFoundError(name);
  }
  int64_t used_bytes() const override { return num_blocks() * block_bytes_; }
  int64_t reserved_bytes() const override { return capacity_bytes(); }
  std::vector<std::string> losses() const override { return {}; }
  int64_t capacity_bytes() const override { return capacity_blocks_ * block_bytes_; }
  int64_t num_blocks() const override { return num_blocks_.load(std::memory_order_relaxed); }

 private:
  const std::vector<int64_t> chain_lengths_;
  const std::string identity_encoding_;
  const cachestore::BlockKey root_;
  const int64_t block_bytes_;
  const int64_t capacity_blocks_;
  std::atomic<int64_t> num_blocks_;
};

}  // namespace reprise::bench
