// GatedStore: a store with room for 64 blocks of the CheckingModel, over a tier in memory whose
// loads a test holds up, slows down or lets fail.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "cachestore/store/tiered_store.h"
#include "gtest/gtest.h"
#include "tests/fakes/checking_model.h"
#include "tests/fakes/faulty_tier.h"
#include "tests/fakes/memory_backing_tier.h"

namespace reprise::engine {

class GatedStore {
 public:
  explicit GatedStore(int32_t block_tokens) : block_tokens_(block_tokens) { Open(); }

  // A new life: what is on the tier is there, RAM is empty.
  void Open() {
    store_ = nullptr;
    cachestore::StoreOptions options;
    options.ram.capacity_bytes =
        64 * static_cast<int64_t>(CheckingModel(1).layout(block_tokens_).BytesPerBlock());
    auto tier = std::make_unique<cachestore::FaultyTier>(
        std::make_unique<cachestore::MemoryBackingTier>(64 << 20, contents_), plan_);
    auto store = cachestore::TieredStore::Open(options, std::move(tier));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  cachestore::TieredStore* get() const { return store_.get(); }
  cachestore::FaultPlan& plan() const { return *plan_; }

 private:
  const int32_t block_tokens_;
  const std::shared_ptr<cachestore::MemoryTierContents> contents_ =
      std::make_shared<cachestore::MemoryTierContents>();
  const std::shared_ptr<cachestore::FaultPlan> plan_ = std::make_shared<cachestore::FaultPlan>();
  std::unique_ptr<cachestore::TieredStore> store_;
};

}  // namespace reprise::engine
