// TieredStore::Impl: what is behind TieredStore's door: the core, its threads, and the metadata
// side of each call. See tiered_store.h for what the calls mean. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/base/timed_mutex.h"
#include "cachestore/store/auditor.h"
#include "cachestore/store/block_lister.h"
#include "cachestore/store/demoter.h"
#include "cachestore/store/device_transfers.h"
#include "cachestore/store/gpu_demoter.h"
#include "cachestore/store/invalidator.h"
#include "cachestore/store/promoter.h"
#include "cachestore/store/store_core.h"
#include "cachestore/store/tiered_store.h"
#include "cachestore/store/verifier.h"

namespace reprise::cachestore {

class TieredStore::Impl : public BlockRegistry {
 public:
  Impl(const StoreOptions& options, std::unique_ptr<HostArena> arena, DeviceMemory gpu,
       std::unique_ptr<BackingTier> tier, KeyDeriver derive);
  ~Impl() override;

  // Fills the index from the tier and starts the threads. Called once, first.
  absl::Status Start(const StoreOptions& options);

  absl::StatusOr<NamespaceHandle> OpenNamespace(const NamespaceIdentity& identity);
  PrefixMatch Match(const NamespaceHandle& ns, const BlockContent& prompt,
                    int64_t max_blocks) const;
  LoadForecast ForecastLoad(const NamespaceHandle& ns, const BlockContent& prompt,
                            int64_t max_blocks) const;
  PinTicket Pin(const NamespaceHandle& ns, const BlockContent& prompt, BlockRange range,
                std::function<void()> on_done, absl::Time deadline, LoadOrder order, Tier tier,
                const RequestHints& hints);
  absl::StatusOr<WritableBlock> Allocate(const NamespaceHandle& ns, Tier tier, Purpose purpose);
  BlockRef Seal(const NamespaceHandle& ns, WritableBlock block, const BlockKey& parent,
                const BlockContent& content, std::optional<uint64_t> payload_hash);
  void AwaitRoom(const NamespaceHandle& ns, absl::Time deadline, Tier tier, Purpose purpose);
  void SetDiskAdmission(DiskAdmission admission);
  void SetQuotas(const QuotasByTenant& quotas) ABSL_LOCKS_EXCLUDED(invalidating_);
  QuotasByTenant Quotas() const;
  bool FitsQuota(const NamespaceHandle& ns) const;
  absl::StatusOr<int64_t> Demote(absl::Time deadline);
  absl::StatusOr<InvalidateReport> Invalidate(const InvalidateScope& scope, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(invalidating_);
  ListPage List(const ListRequest& request) const;
  std::optional<ListedBlock> FindBlock(const BlockKey& key) const { return lister_.Find(key); }
  std::unique_ptr<BlockWalk> Walk(const WalkScope& scope);
  std::vector<NamespaceUsage> Usage() const;
  int64_t Touch(const NamespaceHandle& ns, const BlockContent& prompt, int64_t max_blocks,
                const RequestHints& hints);
  void EndRequest(const NamespaceHandle& ns, absl::Span<const BlockKey> chain,
                  const RequestEnd& end, int64_t first_block);
  WhatIfReport WhatIf() const;
  std::shared_ptr<RequestObserver> Watch(std::shared_ptr<RequestObserver> observer) {
    absl::MutexLock lock(&core_.mu);
    return std::exchange(core_.observer, std::move(observer));
  }
  std::vector<ExplainedBlock> Explain(const NamespaceHandle& ns, const BlockContent& prompt) const;
  const EventLog& events() const { return core_.events; }
  absl::Status Verify(int64_t max_bytes_per_second,
                      absl::FunctionRef<bool(const VerifyProgress&)> go_on) {
    return verifier_.Run(max_bytes_per_second, go_on);
  }
  StoreStats stats() const;
  std::vector<std::string> losses() const { return losses_; }
  int64_t capacity_blocks(const NamespaceHandle& ns, Tier tier) const;
  Tier compute_tier() const { return core_.device == nullptr ? Tier::kRam : Tier::kGpu; }
  absl::Status health(Tier tier) const;
  absl::Status CopyInto(absl::Span<const BlockCopy> copies);
  const HostArena& ram_arena() const { return *core_.arena; }
  absl::Status CheckIntegrity() const;

  void Unpin(BlockHandle handle) override;
  void AbortWrite(BlockHandle handle) override;

 private:
  absl::Status CheckFits(const NamespaceIdentity& identity) const;
  // Gives the namespace its id, a new one or that of the same identity.
  absl::Status EnterNamespace(const NamespaceIdentity& identity, const std::string& encoding,
                              NamespaceHandle& ns) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Where a block of `tier` that is sealed in `slot` stands then; the caller holds a pin on it.
  BlockRef SealIn(Tier tier, const SealRequest& request) ABSL_LOCKS_EXCLUDED(core_.mu);
  bool MakeRoom(const NamespaceHandle& ns, Tier tier, Purpose purpose)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void WantRoom(const NamespaceHandle& ns, Tier tier, Purpose purpose)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Why no slot of `tier` was found for a block of the namespace.
  absl::Status NoRoom(const NamespaceHandle& ns, Tier tier, Purpose purpose) const
      ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  // Makes room in index and policy for all blocks that fit. Under the lock, but here once: growing
  // step by step would hold it for as long in all, while requests run.
  void ReserveMetadata(uint64_t block_bytes) ABSL_LOCKS_EXCLUDED(core_.mu);

  const KeyDeriver derive_;
  const double low_watermark_;  // StoreOptions::ram_free_low_watermark
  StoreCore core_;
  const BlockLister lister_{core_};
  Verifier verifier_{core_};
  const Hash128 secret_;
  // Set by Start. The demoter is null without a tier, the GPU's two without a device.
  std::vector<std::string> losses_;
  std::unique_ptr<DeviceTransfers> transfers_;
  std::unique_ptr<Promoter> promoter_;
  std::unique_ptr<Demoter> demoter_;
  std::unique_ptr<GpuDemoter> gpu_demoter_;
  // Held by Invalidate, between whose steps a block may be there without its parent. Before mu.
  mutable TimedMutex invalidating_ ABSL_ACQUIRED_BEFORE(core_.mu);
  Invalidator invalidator_ ABSL_GUARDED_BY(invalidating_){core_};
  std::unique_ptr<Auditor> auditor_;  // null when it is switched off
};

}  // namespace reprise::cachestore
