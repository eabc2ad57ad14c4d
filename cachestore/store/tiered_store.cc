#include "cachestore/store/tiered_store.h"

#include <algorithm>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/base/timed_mutex.h"
#include "cachestore/policy/lru_policy.h"
#include "cachestore/store/auditor.h"
#include "cachestore/store/demoter.h"
#include "cachestore/store/integrity.h"
#include "cachestore/store/invalidator.h"
#include "cachestore/store/promoter.h"
#include "cachestore/store/recovery.h"
#include "cachestore/store/store_core.h"
#include "cachestore/tier/disk_tier.h"

namespace reprise::cachestore {
namespace {

// 64 MiB of hash table; only stores of very small blocks hold more.
constexpr int64_t kMaxReservedBlocks = int64_t{1} << 22;

constexpr absl::Duration kRoomSearchPause = absl::Milliseconds(20);

std::unique_ptr<AdmissionPolicy> MakeAdmissionPolicy(DiskAdmission admission) {
  if (admission == DiskAdmission::kUseful) return std::make_unique<AdmitUseful>();
  return std::make_unique<AdmitAll>();
}

// Without a disk tier nothing is persisted, so the keys of one process are its own.
Hash128 RandomSecret() {
  std::random_device random;
  const auto word = [&random] { return uint64_t{random()} << 32 | random(); };
  return {word(), word()};
}

// What a range of a prompt depends on, cut to the prompt's full blocks.
struct Chain {
  absl::Span<const uint32_t> words;  // of the range and all before it
  size_t first_block = 0;            // where the range begins
};
Chain ChainOf(const NamespaceHandle& ns, const BlockContent& prompt, BlockRange range) {
  CHECK(prompt.source() == ns.key_source && range.first >= 0);
  const int64_t full = static_cast<int64_t>(prompt.words().size()) / ns.block_words;
  const int64_t first = std::min(range.first, full);
  const int64_t end = first + std::clamp<int64_t>(range.count, 0, full - first);
  return {prompt.words().first(static_cast<size_t>(end * ns.block_words)),
          static_cast<size_t>(first)};
}

}  // namespace

class TieredStore::Impl : public BlockRegistry {
 public:
  Impl(const StoreOptions& options, std::unique_ptr<HostArena> arena,
       std::unique_ptr<BackingTier> tier, KeyDeriver derive)
      : derive_(derive),
        core_(std::move(arena), std::move(tier), std::make_unique<LruPolicy>(),
              MakeAdmissionPolicy(options.disk.admission)),
        secret_(core_.tier == nullptr ? RandomSecret() : core_.tier->secret()) {
    core_.low_watermark_bytes = static_cast<int64_t>(
        options.ram_free_low_watermark * static_cast<double>(options.ram.capacity_bytes));
  }
  ~Impl() override;

  // Fills the index from the tier and starts the threads. Called once, first.
  absl::Status Start(const StoreOptions& options);

  absl::StatusOr<NamespaceHandle> OpenNamespace(const NamespaceIdentity& identity);
  PrefixMatch Match(const NamespaceHandle& ns, const BlockContent& prompt,
                    int64_t max_blocks) const;
  LoadForecast ForecastLoad(const NamespaceHandle& ns, const BlockContent& prompt,
                            int64_t max_blocks) const;
  PinTicket Pin(const NamespaceHandle& ns, const BlockContent& prompt, BlockRange range,
                std::function<void()> on_done, absl::Time deadline, LoadOrder order, Tier tier);
  absl::StatusOr<WritableBlock> Allocate(const NamespaceHandle& ns, Tier tier);
  BlockRef Seal(const NamespaceHandle& ns, WritableBlock block, const BlockKey& parent,
                const BlockContent& content, std::optional<uint64_t> payload_hash);
  void AwaitRoom(const NamespaceHandle& ns, absl::Time deadline, Tier tier);
  absl::StatusOr<int64_t> Demote(absl::Time deadline);
  absl::StatusOr<InvalidateReport> Invalidate(const InvalidateScope& scope, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(invalidating_);
  StoreStats stats() const;
  std::vector<std::string> losses() const {
    return core_.tier == nullptr ? std::vector<std::string>() : core_.tier->losses();
  }
  int64_t capacity_blocks(const NamespaceHandle& ns, Tier tier) const;
  Tier compute_tier() const { return Tier::kRam; }
  absl::Status CheckIntegrity() const;

  void Unpin(uint64_t handle) override;
  void AbortWrite(uint64_t handle) override;

 private:
  absl::Status CheckFits(const NamespaceIdentity& identity) const;
  // Gives the namespace its id, a new one or that of the same identity.
  absl::Status EnterNamespace(const NamespaceIdentity& identity, const std::string& encoding,
                              NamespaceHandle& ns) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Makes room in index and policy for all blocks that fit. Under the lock, but here once: growing
  // step by step would hold it for as long in all, while requests run.
  void ReserveMetadata(uint64_t block_bytes) ABSL_LOCKS_EXCLUDED(core_.mu);

  const KeyDeriver derive_;
  StoreCore core_;
  const Hash128 secret_;
  // Set by Start. The demoter is null without a tier.
  std::unique_ptr<Promoter> promoter_;
  std::unique_ptr<Demoter> demoter_;
  // Held by Invalidate, between whose steps a block may be there without its parent. Before mu.
  mutable TimedMutex invalidating_ ABSL_ACQUIRED_BEFORE(core_.mu);
  Invalidator invalidator_ ABSL_GUARDED_BY(invalidating_){core_};
  std::unique_ptr<Auditor> auditor_;  // null when it is switched off
};

TieredStore::Impl::~Impl() {
  auditor_.reset();
  // Ends the loads of abandoned tickets, and with them their pins.
  promoter_.reset();
  demoter_.reset();
  absl::MutexLock lock(&core_.mu);
  CHECK(core_.state.index.num_pinned() == 0);
  CHECK(core_.state.writing.empty());
}

absl::Status TieredStore::Impl::Start(const StoreOptions& options) {
  if (core_.tier != nullptr) {
    absl::MutexLock lock(&core_.mu);
    RETURN_IF_ERROR(Recover(*core_.tier, derive_, core_.state));
  }
  promoter_ = std::make_unique<Promoter>(core_, *this, options.max_loading_tickets);
  if (core_.tier != nullptr) demoter_ = std::make_unique<Demoter>(core_);
  if (options.check_after_idle < absl::InfiniteDuration()) {
    auditor_ = std::make_unique<Auditor>(core_, invalidating_, options.check_after_idle);
  }
  return absl::OkStatus();
}

absl::Status TieredStore::Impl::CheckFits(const NamespaceIdentity& identity) const {
  const uint64_t block_bytes = identity.layout.BytesPerBlock();
  const int64_t slot_bytes = static_cast<int64_t>(SlotPool::SlotBytes(block_bytes));
  const int64_t ram_bytes = static_cast<int64_t>(core_.arena->bytes().size());
  if (slot_bytes > ram_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a block takes ", slot_bytes, " bytes and the RAM budget is ", ram_bytes));
  }
  if (core_.tier != nullptr && core_.tier->CapacitySlots(block_bytes) < 1) {
    return absl::InvalidArgumentError(absl::StrCat("a block of ", block_bytes,
                                                   " bytes does not fit into the disk budget of ",
                                                   core_.tier->capacity_bytes(), " bytes"));
  }
  return absl::OkStatus();
}

absl::Status TieredStore::Impl::EnterNamespace(const NamespaceIdentity& identity,
                                               const std::string& encoding, NamespaceHandle& ns) {
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  const std::optional<uint32_t> known = state.index.FindNamespace(ns.root);
  if (!known.has_value()) {
    state.AddNamespace({.payload_bytes = identity.layout.BytesPerBlock(),
                        .identity = encoding,
                        .tenant = identity.tenant});
    ns.id = state.index.AddNamespace(ns.root, ns.block_words);
    return absl::OkStatus();
  }
  if (state.namespaces[*known].identity != encoding) {
    return absl::FailedPreconditionError(
        absl::StrCat("namespace root ", ns.root.ToHex(), " stands for another identity"));
  }
  ns.id = *known;
  return absl::OkStatus();
}

void TieredStore::Impl::ReserveMetadata(uint64_t block_bytes) {
  const int64_t on_disk = core_.tier == nullptr ? 0 : core_.tier->CapacitySlots(block_bytes);
  absl::MutexLock lock(&core_.mu);
  const int64_t blocks = core_.state.pool.CapacitySlots(block_bytes) + on_disk;
  const auto reserved = static_cast<size_t>(std::min(blocks, kMaxReservedBlocks));
  core_.state.index.Reserve(reserved);
  core_.state.order->Reserve(reserved);
}

absl::StatusOr<NamespaceHandle> TieredStore::Impl::OpenNamespace(
    const NamespaceIdentity& identity) {
  RETURN_IF_ERROR(identity.Validate());
  RETURN_IF_ERROR(CheckFits(identity));
  const std::string encoding = identity.Encode();
  const BlockKey root = RootKey(secret_, encoding);
  NamespaceHandle ns = {.root = root,
                        .layout = identity.layout,
                        .key_source = identity.key_source,
                        .block_words = identity.block_words()};
  RETURN_IF_ERROR(EnterNamespace(identity, encoding, ns));
  ReserveMetadata(identity.layout.BytesPerBlock());
  return ns;
}

PrefixMatch TieredStore::Impl::Match(const NamespaceHandle& ns, const BlockContent& prompt,
                                     int64_t max_blocks) const {
  const Chain chain = ChainOf(ns, prompt, {.first = 0, .count = max_blocks});
  const std::vector<BlockKey> keys = ChainKeys(ns.root, chain.words, ns.block_words, derive_);
  std::vector<BlockId> ids(keys.size());
  PrefixMatch match;
  MatchEnd end;
  absl::ReaderMutexLock lock(&core_.mu);
  const PrefixIndex& index = core_.state.index;
  ids.resize(index.Match(index.root_node(ns.id), keys, chain.words, absl::MakeSpan(ids), end));
  for (const BlockId id : ids) ++(index.node(id).in_ram() ? match.ram_blocks : match.disk_blocks);
  return match;
}

LoadForecast TieredStore::Impl::ForecastLoad(const NamespaceHandle& ns, const BlockContent& prompt,
                                             int64_t max_blocks) const {
  const Chain chain = ChainOf(ns, prompt, {.first = 0, .count = max_blocks});
  const std::vector<BlockKey> keys = ChainKeys(ns.root, chain.words, ns.block_words, derive_);
  return promoter_->Forecast({.namespace_id = ns.id,
                              .block_tokens = ns.layout.block_tokens,
                              .keys = keys,
                              .words = chain.words});
}

PinTicket TieredStore::Impl::Pin(const NamespaceHandle& ns, const BlockContent& prompt,
                                 BlockRange range, std::function<void()> on_done,
                                 absl::Time deadline, LoadOrder order, Tier tier) {
  CHECK(tier == Tier::kRam);
  const Chain chain = ChainOf(ns, prompt, range);
  const std::vector<BlockKey> keys = ChainKeys(ns.root, chain.words, ns.block_words, derive_);
  return promoter_->Pin({.namespace_id = ns.id,
                         .block_tokens = ns.layout.block_tokens,
                         .keys = keys,
                         .words = chain.words,
                         .first_block = chain.first_block,
                         .deadline = deadline,
                         .order = order},
                        std::move(on_done));
}

absl::StatusOr<WritableBlock> TieredStore::Impl::Allocate(const NamespaceHandle& ns, Tier tier) {
  CHECK(tier == Tier::kRam);
  const size_t block_bytes = ns.layout.BytesPerBlock();
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  const std::optional<SlotIndex> slot = core_.ram.AllocateSlot(block_bytes);
  if (!slot.has_value()) {
    ++state.counters.rejected_allocations;
    if (core_.tier != nullptr) core_.WantRoom(block_bytes);
    core_.NoteChange();
    return absl::ResourceExhaustedError(absl::StrCat(
        "no RAM slot of ", block_bytes, " bytes can be freed now: ", state.index.num_pinned(),
        " blocks are pinned, ", state.writing.size(), " are being written"));
  }
  state.writing.emplace(*slot, state.epoch);
  core_.NoteChange();
  return WritableBlock(this, *slot, state.pool.SlotMemory(*slot).first(block_bytes));
}

BlockRef TieredStore::Impl::Seal(const NamespaceHandle& ns, WritableBlock block,
                                 const BlockKey& parent, const BlockContent& content,
                                 std::optional<uint64_t> payload_hash) {
  const absl::Span<const uint32_t> words = content.words();
  CHECK(content.source() == ns.key_source);
  CHECK(words.size() == static_cast<size_t>(ns.block_words));
  CHECK(block.bytes().size() == ns.layout.BytesPerBlock());
  const BlockKey key = derive_(parent, words);
  // Without a tier below nothing asks for it, and it costs a fifth of what the copy did.
  const uint64_t hash = core_.tier == nullptr      ? 0
                        : payload_hash.has_value() ? *payload_hash
                                                   : HashBytes64(block.bytes());
  const SlotIndex slot = static_cast<SlotIndex>(block.Release());
  absl::MutexLock lock(&core_.mu);
  const BlockId id = core_.ram.Seal({.namespace_id = ns.id,
                                     .slot = slot,
                                     .parent = parent,
                                     .key = key,
                                     .words = words,
                                     .payload_hash = hash});
  core_.disk.ReplaceUnreadable(id);
  core_.NoteChange();
  return BlockRef(this, id, key, core_.RamBytes(id));
}

void TieredStore::Impl::AwaitRoom(const NamespaceHandle& ns, absl::Time deadline, Tier tier) {
  CHECK(tier == Tier::kRam);
  const size_t block_bytes = ns.layout.BytesPerBlock();
  absl::MutexLock lock(&core_.mu);
  ++core_.room_waiters;
  while (!core_.ram.MakeRoom(block_bytes)) {
    if (core_.tier != nullptr) core_.WantRoom(block_bytes);
    core_.WakeDemoter();
    // A search that was cut short goes on after a moment.
    const absl::Time next = std::min(deadline, absl::Now() + kRoomSearchPause);
    if (core_.room_cv.WaitWithDeadline(&core_.mu, next) && next == deadline) break;
  }
  --core_.room_waiters;
}

absl::StatusOr<int64_t> TieredStore::Impl::Demote(absl::Time deadline) {
  if (demoter_ == nullptr) {
    return absl::FailedPreconditionError("there is no disk tier to demote to");
  }
  const std::optional<TakenBlocks> taken = demoter_->DemoteAll(deadline);
  if (!taken.has_value()) {
    return absl::DeadlineExceededError(
        "the disk has not taken all blocks of RAM in time; a move that has begun goes on");
  }
  return taken->evicted;
}

absl::StatusOr<InvalidateReport> TieredStore::Impl::Invalidate(const InvalidateScope& scope,
                                                               absl::Time deadline) {
  using Target = InvalidateTarget;
  Target target;
  std::vector<BlockKey> keys;
  if (const auto* tenant = std::get_if<BlocksOfTenant>(&scope)) {
    target.scope = Target::Tenant{tenant->tenant};
  } else if (const auto* space = std::get_if<BlocksOfNamespace>(&scope)) {
    target.scope = Target::Namespace{space->ns.id};
  } else if (const auto* below = std::get_if<BlocksBelow>(&scope)) {
    const NamespaceHandle& ns = below->ns;
    const absl::Span<const uint32_t> words = below->prefix.words();
    CHECK(below->prefix.source() == ns.key_source);
    CHECK(!words.empty() && words.size() % static_cast<size_t>(ns.block_words) == 0);
    keys = ChainKeys(ns.root, words, ns.block_words, derive_);
    target.scope = Target::Below{.namespace_id = ns.id, .keys = keys, .words = words};
  }
  if (!invalidating_.LockBy(deadline)) {
    return absl::DeadlineExceededError(
        "another invalidation or a check of the store took all the time: nothing was taken");
  }
  absl::StatusOr<InvalidateReport> report = invalidator_.Run(target, deadline);
  invalidating_.Unlock();
  return report;
}

StoreStats TieredStore::Impl::stats() const {
  absl::ReaderMutexLock lock(&core_.mu);
  return core_.Stats();
}

int64_t TieredStore::Impl::capacity_blocks(const NamespaceHandle& ns, Tier tier) const {
  CHECK(tier == Tier::kRam);
  absl::ReaderMutexLock lock(&core_.mu);
  return core_.state.pool.CapacitySlots(ns.layout.BytesPerBlock());
}

absl::Status TieredStore::Impl::CheckIntegrity() const {
  TimedMutexLock invalidating(&invalidating_);
  absl::MutexLock lock(&core_.mu);
  RETURN_IF_ERROR(CheckState(core_.state));
  return core_.tier == nullptr ? absl::OkStatus() : CheckTier(core_.state, *core_.tier);
}

void TieredStore::Impl::Unpin(uint64_t handle) {
  absl::MutexLock lock(&core_.mu);
  core_.ram.Unpin(static_cast<BlockId>(handle));
  core_.NoteChange();
}

void TieredStore::Impl::AbortWrite(uint64_t handle) {
  absl::MutexLock lock(&core_.mu);
  const SlotIndex slot = static_cast<SlotIndex>(handle);
  CHECK(core_.state.writing.erase(slot) == 1);
  core_.state.pool.Free(slot);
  core_.NoteChange();
}

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
  if (options.gpu.capacity_bytes > 0) {
    return absl::UnimplementedError(device == nullptr ? "there is no device for a GPU tier"
                                                      : "there is no GPU tier yet");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<HostArena> arena,
                   HostArena::Reserve(options.ram.capacity_bytes));
  auto impl = std::make_unique<Impl>(options, std::move(arena), std::move(tier), derive);
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
                           Tier tier) {
  return impl_->Pin(ns, prompt, range, std::move(on_done), deadline, order, tier);
}

absl::StatusOr<WritableBlock> TieredStore::Allocate(const NamespaceHandle& ns, Tier tier) {
  return impl_->Allocate(ns, tier);
}

BlockRef TieredStore::Seal(const NamespaceHandle& ns, WritableBlock block, const BlockKey& parent,
                           const BlockContent& content, std::optional<uint64_t> payload_hash) {
  return impl_->Seal(ns, std::move(block), parent, content, payload_hash);
}

void TieredStore::AwaitRoom(const NamespaceHandle& ns, absl::Time deadline, Tier tier) {
  impl_->AwaitRoom(ns, deadline, tier);
}

absl::StatusOr<int64_t> TieredStore::Demote(absl::Time deadline) { return impl_->Demote(deadline); }

absl::StatusOr<InvalidateReport> TieredStore::Invalidate(const InvalidateScope& scope,
                                                         absl::Time deadline) {
  return impl_->Invalidate(scope, deadline);
}

StoreStats TieredStore::stats() const { return impl_->stats(); }

std::vector<std::string> TieredStore::losses() const { return impl_->losses(); }

int64_t TieredStore::capacity_blocks(const NamespaceHandle& ns, Tier tier) const {
  return impl_->capacity_blocks(ns, tier);
}

Tier TieredStore::compute_tier() const { return impl_->compute_tier(); }

absl::Status TieredStore::CheckIntegrity() const { return impl_->CheckIntegrity(); }

}  // namespace reprise::cachestore
