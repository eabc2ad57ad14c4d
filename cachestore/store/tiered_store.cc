#include "cachestore/store/tiered_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/store/tiered_store_impl.h"
#include "cachestore/tier/disk_tier.h"

namespace reprise::cachestore {
namespace {

// Reserves the GPU tier and pins the RAM tier in `arena`, if `options` ask for a GPU tier.
absl::StatusOr<DeviceMemory> ReserveDevice(const GpuOptions& options, Device* device,
                                           const HostArena& arena) {
  DeviceMemory memory;
  if (options.capacity_bytes == 0) return memory;
  if (device == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("store option gpu.capacity_bytes is ", options.capacity_bytes,
                     " and there is no device; without one it must be 0"));
  }
  memory.device = device;
  const auto units = static_cast<size_t>(options.capacity_bytes) / Device::kAlignment;
  ASSIGN_OR_RETURN(memory.gpu, device->Reserve(units * Device::kAlignment));
  ASSIGN_OR_RETURN(memory.pinned_ram, device->Register(arena.bytes()));
  return memory;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TieredStore>> TieredStore::Open(const StoreOptions& options,
                                                               Device* device) {
  RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<BackingTier> tier;
  if (!options.disk.directory.empty()) {
    ASSIGN_OR_RETURN(tier, OpenDiskTier({.directory = options.disk.directory,
                                         .capacity_bytes = options.disk.capacity_bytes}));
  }
  return Open(options, std::move(tier), ChildKey, device);
}

absl::StatusOr<std::unique_ptr<TieredStore>> TieredStore::Open(const StoreOptions& options,
                                                               std::unique_ptr<BackingTier> tier,
                                                               KeyDeriver derive, Device* device) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(std::unique_ptr<HostArena> arena,
                   HostArena::Reserve(options.ram.capacity_bytes));
  ASSIGN_OR_RETURN(DeviceMemory gpu, ReserveDevice(options.gpu, device, *arena));
  auto impl =
      std::make_unique<Impl>(options, std::move(arena), std::move(gpu), std::move(tier), derive);
  RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<TieredStore>(new TieredStore(std::move(impl)));
}

TieredStore::TieredStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TieredStore::~TieredStore() = default;

absl::StatusOr<NamespaceHandle> TieredStore::OpenNamespace(const NamespaceIdentity& identity) {
  return impl_->OpenNamespace(identity);
}

PrefixMatch TieredStore::Match(const NamespaceHandle& ns, const BlockContent& prompt,
                               int64_t max_blocks) const {
  return impl_->Match(ns, prompt, max_blocks);
}

LoadForecast TieredStore::ForecastLoad(const NamespaceHandle& ns, const BlockContent& prompt,
                                       int64_t max_blocks) const {
  return impl_->ForecastLoad(ns, prompt, max_blocks);
}

PinTicket TieredStore::Pin(const NamespaceHandle& ns, const BlockContent& prompt, BlockRange range,
                           std::function<void()> on_done, absl::Time deadline, LoadOrder order,
                           Tier tier, const RequestHints& hints) {
  return impl_->Pin(ns, prompt, range, std::move(on_done), deadline, order, tier, hints);
}

absl::StatusOr<WritableBlock> TieredStore::Allocate(const NamespaceHandle& ns, Tier tier,
                                                    Purpose purpose) {
  return impl_->Allocate(ns, tier, purpose);
}

BlockRef TieredStore::Seal(const NamespaceHandle& ns, WritableBlock block, const BlockKey& parent,
                           const BlockContent& content, std::optional<uint64_t> payload_hash) {
  return impl_->Seal(ns, std::move(block), parent, content, payload_hash);
}

void TieredStore::AwaitRoom(const NamespaceHandle& ns, absl::Time deadline, Tier tier,
                            Purpose purpose) {
  impl_->AwaitRoom(ns, deadline, tier, purpose);
}

void TieredStore::SetDiskAdmission(DiskAdmission admission) { impl_->SetDiskAdmission(admission); }

void TieredStore::SetQuotas(const QuotasByTenant& quotas) { impl_->SetQuotas(quotas); }

QuotasByTenant TieredStore::Quotas() const { return impl_->Quotas(); }

bool TieredStore::FitsQuota(const NamespaceHandle& ns) const { return impl_->FitsQuota(ns); }

absl::StatusOr<int64_t> TieredStore::Demote(absl::Time deadline) { return impl_->Demote(deadline); }

absl::StatusOr<InvalidateReport> TieredStore::Invalidate(const InvalidateScope& scope,
                                                         absl::Time deadline) {
  return impl_->Invalidate(scope, deadline);
}

ListPage TieredStore::List(const ListRequest& request) const { return impl_->List(request); }

std::optional<ListedBlock> TieredStore::FindBlock(const BlockKey& key) const {
  return impl_->FindBlock(key);
}

std::unique_ptr<BlockWalk> TieredStore::Walk(const WalkScope& scope) { return impl_->Walk(scope); }

std::vector<NamespaceUsage> TieredStore::Usage() const { return impl_->Usage(); }

int64_t TieredStore::Touch(const NamespaceHandle& ns, const BlockContent& prompt,
                           int64_t max_blocks, const RequestHints& hints) {
  return impl_->Touch(ns, prompt, max_blocks, hints);
}

void TieredStore::EndRequest(const NamespaceHandle& ns, absl::Span<const BlockKey> chain,
                             const RequestEnd& end, int64_t first_block) {
  impl_->EndRequest(ns, chain, end, first_block);
}

std::vector<ExplainedBlock> TieredStore::Explain(const NamespaceHandle& ns,
                                                 const BlockContent& prompt) const {
  return impl_->Explain(ns, prompt);
}

std::shared_ptr<RequestObserver> TieredStore::Watch(std::shared_ptr<RequestObserver> observer) {
  return impl_->Watch(std::move(observer));
}

WhatIfReport TieredStore::WhatIf() const { return impl_->WhatIf(); }

EventPage TieredStore::Events(uint64_t from, size_t max_events) const {
  return impl_->events().Read(from, max_events);
}

uint64_t TieredStore::next_event() const { return impl_->events().next_sequence(); }

bool TieredStore::AwaitEvent(uint64_t from, absl::Time deadline) const {
  return impl_->events().Await(from, deadline);
}

absl::Status TieredStore::Verify(int64_t max_bytes_per_second,
                                 absl::FunctionRef<bool(const VerifyProgress&)> go_on) {
  return impl_->Verify(max_bytes_per_second, go_on);
}

StoreStats TieredStore::stats() const { return impl_->stats(); }

std::vector<std::string> TieredStore::losses() const { return impl_->losses(); }

int64_t TieredStore::capacity_blocks(const NamespaceHandle& ns, Tier tier) const {
  return impl_->capacity_blocks(ns, tier);
}

absl::Status TieredStore::CopyInto(absl::Span<const BlockCopy> copies) {
  return impl_->CopyInto(copies);
}

Tier TieredStore::compute_tier() const { return impl_->compute_tier(); }

absl::Status TieredStore::health(Tier tier) const { return impl_->health(tier); }

const HostArena& TieredStore::ram_arena() const { return impl_->ram_arena(); }

absl::Status TieredStore::CheckIntegrity() const { return impl_->CheckIntegrity(); }

}  // namespace reprise::cachestore
