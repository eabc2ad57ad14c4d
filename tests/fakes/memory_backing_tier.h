// MemoryBackingTier: a BackingTier in memory, with an exact budget, for tests. Its contents can
// outlive it, as a directory outlives a process. It checks the caller's side of the contract and
// reports a violation as a test failure. Thread-safe.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "cachestore/tier/backing_tier.h"
#include "cachestore/tier/io_threads.h"

namespace reprise::cachestore {

// What survives a restart.
struct MemoryTierContents {
  struct Item {
    StoredBlock block;
    std::vector<std::byte> payload;
  };
  std::map<BlockKey, Item> items;
  std::map<BlockKey, std::string> namespaces;
  std::map<std::string, std::string> states;
  uint64_t next_sequence = 1;
};

class MemoryBackingTier : public BackingTier {
 public:
  explicit MemoryBackingTier(int64_t capacity_bytes, std::shared_ptr<MemoryTierContents> contents =
                                                         std::make_shared<MemoryTierContents>())
      : capacity_bytes_(capacity_bytes), contents_(std::move(contents)) {
    for (const auto& [key, item] : contents_->items) used_bytes_ += SlotBytes(item.payload.size());
  }

  Hash128 secret() const override { return {17, 42}; }

  absl::Status BindNamespace(const BlockKey& root, absl::string_view encoding) override {
    absl::MutexLock lock(&mu_);
    const auto [it, added] = contents_->namespaces.emplace(root, std::string(encoding));
    return it->second == encoding ? absl::OkStatus()
                                  : absl::FailedPreconditionError("root of another identity");
  }

  absl::Status ForEachNamespace(
      absl::FunctionRef<void(const BlockKey&, absl::string_view)> visit) override {
    absl::MutexLock lock(&mu_);
    for (const auto& [root, encoding] : contents_->namespaces) visit(root, encoding);
    return absl::OkStatus();
  }
  int64_t FreeSlots(uint64_t payload_bytes) const override {
    absl::MutexLock lock(&mu_);
    return (capacity_bytes_ - used_bytes_) / SlotBytes(payload_bytes);
  }
  int64_t BudgetBytes(uint64_t payload_bytes) const override { return SlotBytes(payload_bytes); }
  int64_t CapacitySlots(uint64_t payload_bytes) const override {
    return capacity_bytes_ / SlotBytes(payload_bytes);
  }

  absl::Status Store(absl::Span<const BlockToStore> batch) override {
    absl::MutexLock lock(&mu_);
    int64_t bytes = 0;
    for (const BlockToStore& item : batch) bytes += SlotBytes(item.payload.size());
    if (used_bytes_ + bytes > capacity_bytes_) return absl::ResourceExhaustedError("tier is full");
    for (const BlockToStore& item : batch) {
      if (item.payload_hash.has_value() && *item.payload_hash != HashBytes64(item.payload)) {
        return absl::DataLossError(item.block.key.ToHex());
      }
    }
    for (const BlockToStore& item : batch) {
      const StoredBlock& block = item.block;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(item.payload.data()) % 4096, 0u);
      EXPECT_EQ(block.payload_bytes, item.payload.size());
      EXPECT_TRUE(block.parent == block.root || contents_->items.contains(block.parent))
          << "stored before its parent";
      MemoryTierContents::Item& stored = contents_->items[block.key];
      EXPECT_TRUE(stored.payload.empty()) << "stored a key that is present";
      stored.block = block;
      stored.block.sequence = contents_->next_sequence++;
      stored.block.payload_hash = HashBytes64(item.payload);
      stored.payload.assign(item.payload.begin(), item.payload.end());
    }
    used_bytes_ += bytes;
    return absl::OkStatus();
  }

  void StartLoads(std::vector<LoadRequest> batch) override {
    for (LoadRequest& request : batch) {
      load_thread_.Post([this, request = std::move(request)]() mutable {
        const absl::Status loaded = Load(request.block, request.payload);
        if (loaded.ok() && request.progress) request.progress(request.payload.size() / 2);
        std::move(request.done)(loaded);
      });
    }
  }
  // As of a disk, less for large blocks.
  int load_depth(uint64_t payload_bytes) const override { return payload_bytes > 4096 ? 1 : 2; }

  absl::Status Erase(absl::Span<const BlockKey> keys) override {
    absl::MutexLock lock(&mu_);
    for (const BlockKey& key : keys) {
      const auto it = contents_->items.find(key);
      if (it == contents_->items.end()) continue;
      used_bytes_ -= SlotBytes(it->second.payload.size());
      contents_->items.erase(it);
    }
    for (const auto& [key, item] : contents_->items) {
      EXPECT_TRUE(item.block.parent == item.block.root ||
                  contents_->items.contains(item.block.parent))
          << "erased a parent before its child";
    }
    return absl::OkStatus();
  }

  absl::Status ForEach(absl::FunctionRef<void(const StoredBlock&)> visit) override {
    std::vector<StoredBlock> blocks;
    {
      absl::MutexLock lock(&mu_);
      for (const auto& [key, item] : contents_->items) blocks.push_back(item.block);
    }
    std::sort(blocks.begin(), blocks.end(),
              [](const auto& a, const auto& b) { return a.sequence < b.sequence; });
    for (const StoredBlock& block : blocks) visit(block);
    return absl::OkStatus();
  }

  absl::Status ForEachKey(absl::FunctionRef<void(const BlockKey&)> visit) override {
    return ForEach([&](const StoredBlock& block) { visit(block.key); });
  }

  absl::Status SaveState(absl::string_view name, absl::string_view bytes) override {
    absl::MutexLock lock(&mu_);
    contents_->states[std::string(name)] = std::string(bytes);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> LoadState(absl::string_view name) const override {
    absl::MutexLock lock(&mu_);
    const auto it = contents_->states.find(std::string(name));
    if (it == contents_->states.end()) return absl::NotFoundError(name);
    return it->second;
  }

  int64_t used_bytes() const override {
    absl::MutexLock lock(&mu_);
    return used_bytes_;
  }
  int64_t reserved_bytes() const override { return used_bytes(); }
  std::vector<std::string> losses() const override { return {}; }
  int64_t capacity_bytes() const override { return capacity_bytes_; }
  int64_t num_blocks() const override {
    absl::MutexLock lock(&mu_);
    return static_cast<int64_t>(contents_->items.size());
  }

 private:
  absl::Status Load(const StoredBlock& block, absl::Span<std::byte> payload) {
    absl::MutexLock lock(&mu_);
    const auto it = contents_->items.find(block.key);
    if (it == contents_->items.end()) return absl::NotFoundError(block.key.ToHex());
    const MemoryTierContents::Item& item = it->second;
    if (item.block.parent != block.parent || item.block.root != block.root ||
        item.block.tokens != block.tokens || item.payload.size() != payload.size()) {
      return absl::DataLossError("another block is stored under this key");
    }
    std::copy(item.payload.begin(), item.payload.end(), payload.begin());
    return absl::OkStatus();
  }

  static int64_t SlotBytes(uint64_t payload_bytes) {
    return static_cast<int64_t>((payload_bytes + 4095) / 4096 * 4096);
  }

  const int64_t capacity_bytes_;
  mutable absl::Mutex mu_;
  const std::shared_ptr<MemoryTierContents> contents_;
  int64_t used_bytes_ = 0;
  IoThreads load_thread_{1};  // last: its work uses everything above
};

}  // namespace reprise::cachestore
