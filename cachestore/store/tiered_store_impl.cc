#include "cachestore/store/tiered_store_impl.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/policy/lru_policy.h"
#include "cachestore/policy/reuse_policy.h"
#include "cachestore/store/integrity.h"
#include "cachestore/store/prompt_chain.h"
#include "cachestore/store/recovery.h"

namespace reprise::cachestore {
namespace {

// 64 MiB of hash table; only stores of very small blocks hold more.
constexpr int64_t kMaxReservedBlocks = int64_t{1} << 22;

constexpr absl::Duration kRoomSearchPause = absl::Milliseconds(20);

std::unique_ptr<AdmissionPolicy> MakeAdmissionPolicy(DiskAdmission admission) {
  switch (admission) {
    case DiskAdmission::kAll:
      break;
    case DiskAdmission::kUseful:
      return std::make_unique<AdmitUseful>();
    case DiskAdmission::kLikely:
      return std::make_unique<AdmitLikely>();
  }
  return std::make_unique<AdmitAll>();
}

std::unique_ptr<EvictionPolicy> MakePolicy(const StoreOptions& options) {
  if (options.eviction == EvictionOrder::kLru) return std::make_unique<LruPolicy>();
  return std::make_unique<ReusePolicy>(options.attention_tokens);
}

absl::Status HealthOf(const StoreState& state, Tier tier) {
  if (tier == Tier::kRam || !state.gpu.closed) return absl::OkStatus();
  return absl::InternalError("the device has failed: there is no GPU tier until a restart");
}

// Without a disk tier nothing is persisted, so the keys of one process are its own.
Hash128 RandomSecret() {
  std::random_device random;
  const auto word = [&random] { return uint64_t{random()} << 32 | random(); };
  return {word(), word()};
}

}  // namespace

TieredStore::Impl::Impl(const StoreOptions& options, std::unique_ptr<HostArena> arena,
                        DeviceMemory gpu, std::unique_ptr<BackingTier> tier, KeyDeriver derive)
    : derive_(derive),
      low_watermark_(options.ram_free_low_watermark),
      core_(std::move(arena), std::move(gpu), std::move(tier), MakePolicy(options),
            MakeAdmissionPolicy(options.disk.admission),
            static_cast<size_t>(options.remembered_events)),
      secret_(core_.tier == nullptr ? RandomSecret() : core_.tier->secret()) {
  core_.low_watermark_bytes = static_cast<int64_t>(options.ram_free_low_watermark *
                                                   static_cast<double>(options.ram.capacity_bytes));
  core_.gpu_low_watermark_bytes = static_cast<int64_t>(
      options.gpu_free_low_watermark * static_cast<double>(options.gpu.capacity_bytes));
}

void TieredStore::Impl::SetDiskAdmission(DiskAdmission admission) {
  std::unique_ptr<AdmissionPolicy> policy = MakeAdmissionPolicy(admission);
  absl::MutexLock lock(&core_.mu);
  core_.disk.SetAdmission(*policy);
  core_.admission = std::move(policy);
}

TieredStore::Impl::~Impl() {
  auditor_.reset();
  // Ends the loads of abandoned tickets, and with them their pins.
  promoter_.reset();
  gpu_demoter_.reset();
  demoter_.reset();
  transfers_.reset();
  // Steps may still use what they were given last.
  if (core_.device != nullptr) core_.device->Wait(core_.device->Mark(Lane::kCompute)).IgnoreError();
  absl::MutexLock lock(&core_.mu);
  CHECK(core_.state.index.num_pinned() == 0 && core_.state.gpu.pinned_blocks == 0);
  CHECK(core_.state.writing.empty() && core_.state.gpu.writing.empty());
}

absl::Status TieredStore::Impl::Start(const StoreOptions& options) {
  if (core_.tier != nullptr) {
    losses_ = core_.tier->losses();
    absl::MutexLock lock(&core_.mu);
    const absl::Status model = RestoreModel(*core_.tier, *core_.state.order);
    if (!model.ok()) {
      losses_.push_back(
          absl::StrCat("what the order of eviction had learned is not used: ", model.message()));
    }
    RETURN_IF_ERROR(Recover(*core_.tier, derive_, core_.state));
  }
  {
    absl::MutexLock lock(&core_.mu);
    core_.state.book.TellEvents(core_.events);
  }
  if (core_.device != nullptr) {
    transfers_ = std::make_unique<DeviceTransfers>(core_.device);
    gpu_demoter_ = std::make_unique<GpuDemoter>(core_, *transfers_);
  }
  promoter_ =
      std::make_unique<Promoter>(core_, *this, transfers_.get(), options.max_loading_tickets);
  if (core_.tier != nullptr) {
    demoter_ = std::make_unique<Demoter>(core_, options.save_model_every);
  }
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
  if (core_.device != nullptr && slot_bytes > core_.device_memory.capacity_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat("a block takes ", slot_bytes,
                                                   " bytes and the GPU budget is ",
                                                   core_.device_memory.capacity_bytes()));
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
  const uint64_t block_bytes = identity.layout.BytesPerBlock();
  const int64_t disk_bytes = core_.tier == nullptr ? 0 : core_.tier->BudgetBytes(block_bytes);
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  const std::optional<uint32_t> known = state.index.FindNamespace(ns.root);
  if (!known.has_value()) {
    if (state.index.num_namespaces() == PrefixIndex::kMaxNamespaces) {
      return absl::ResourceExhaustedError(absl::StrCat("there are ", PrefixIndex::kMaxNamespaces,
                                                       " namespaces, as many as a store can have"));
    }
    state.AddNamespace({.payload_bytes = block_bytes,
                        .identity = encoding,
                        .tenant = identity.tenant,
                        .disk_bytes = disk_bytes});
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
  const int64_t blocks = core_.state.gpu.pool.CapacitySlots(block_bytes) +
                         core_.state.pool.CapacitySlots(block_bytes) + on_disk;
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
  const PromptChain chain = ChainOf(ns, prompt, {.first = 0, .count = max_blocks});
  const std::vector<BlockKey> keys = ChainKeys(ns.root, chain.words, ns.block_words, derive_);
  std::vector<BlockId> ids(keys.size());
  PrefixMatch match;
  MatchEnd end;
  absl::ReaderMutexLock lock(&core_.mu);
  const PrefixIndex& index = core_.state.index;
  ids.resize(index.Match(index.root_node(ns.id), keys, chain.words, absl::MakeSpan(ids), end));
  for (const BlockId id : ids) {
    const PrefixIndex::Node& node = index.node(id);
    ++(node.in_gpu ? match.gpu_blocks : node.in_ram() ? match.ram_blocks : match.disk_blocks);
  }
  return match;
}

LoadForecast TieredStore::Impl::ForecastLoad(const NamespaceHandle& ns, const BlockContent& prompt,
                                             int64_t max_blocks) const {
  const PromptChain chain = ChainOf(ns, prompt, {.first = 0, .count = max_blocks});
  const std::vector<BlockKey> keys = ChainKeys(ns.root, chain.words, ns.block_words, derive_);
  return promoter_->Forecast({.namespace_id = ns.id,
                              .block_tokens = ns.layout.block_tokens,
                              .keys = keys,
                              .words = chain.words,
                              .tier = compute_tier()});
}

PinTicket TieredStore::Impl::Pin(const NamespaceHandle& ns, const BlockContent& prompt,
                                 BlockRange range, std::function<void()> on_done,
                                 absl::Time deadline, LoadOrder order, Tier tier,
                                 const RequestHints& hints) {
  CHECK(tier == Tier::kRam || core_.device != nullptr);
  const PromptChain chain = ChainOf(ns, prompt, range);
  const std::vector<BlockKey> keys = ChainKeys(ns.root, chain.words, ns.block_words, derive_);
  return promoter_->Pin({.namespace_id = ns.id,
                         .block_tokens = ns.layout.block_tokens,
                         .prompt_tokens = TokensOf(ns, prompt),
                         .keys = keys,
                         .words = chain.words,
                         .first_block = chain.first_block,
                         .deadline = deadline,
                         .layer_bytes = ns.layout.PartOffset(1, 0),
                         .order = order,
                         .tier = tier,
                         .hints = hints},
                        std::move(on_done));
}

bool TieredStore::Impl::MakeRoom(const NamespaceHandle& ns, Tier tier, Purpose purpose) {
  return tier == Tier::kGpu ? core_.gpu.MakeRoom(ns.layout.BytesPerBlock())
                            : core_.ram.MakeRoomFor(ns.id, purpose);
}

void TieredStore::Impl::WantRoom(const NamespaceHandle& ns, Tier tier, Purpose purpose) {
  if (tier == Tier::kGpu) {
    core_.WantGpuRoom(ns.layout.BytesPerBlock());
  } else if (core_.tier != nullptr) {
    core_.WantRoom(ns.id, purpose);
  }
}

absl::Status TieredStore::Impl::NoRoom(const NamespaceHandle& ns, Tier tier,
                                       Purpose purpose) const {
  const StoreState& state = core_.state;
  const bool on_gpu = tier == Tier::kGpu;
  const size_t block_bytes = ns.layout.BytesPerBlock();
  if (!on_gpu && purpose == Purpose::kCache && state.LacksQuota(ns.id)) {
    const uint32_t number = state.namespaces[ns.id].share;
    const Share& share = state.shares[number];
    return absl::ResourceExhaustedError(absl::StrCat(
        "tenant ", share.tenant, " may take ", share.quota.ram_bytes, " bytes of RAM and takes ",
        state.RamBytesOf(number), "; a block takes ", SlotPool::SlotBytes(block_bytes),
        state.FitsQuota(ns.id) ? ", and nothing of the tenant's can be freed now"
                               : ", more than that"));
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "no ", on_gpu ? "GPU" : "RAM", " slot of ", block_bytes, " bytes can be freed now: ",
      on_gpu ? state.gpu.pinned_blocks : state.index.num_pinned(), " blocks are pinned, ",
      on_gpu ? state.gpu.writing.size() : state.writing.size(), " are being written"));
}

absl::StatusOr<WritableBlock> TieredStore::Impl::Allocate(const NamespaceHandle& ns, Tier tier,
                                                          Purpose purpose) {
  CHECK(tier == Tier::kRam || core_.device != nullptr);
  const bool on_gpu = tier == Tier::kGpu;
  const size_t block_bytes = ns.layout.BytesPerBlock();
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  RETURN_IF_ERROR(HealthOf(state, tier));
  const std::optional<SlotIndex> slot =
      on_gpu ? core_.gpu.AllocateSlot(ns.id) : core_.ram.AllocateSlot(ns.id, purpose);
  if (!slot.has_value()) {
    ++state.counters.rejected_allocations;
    WantRoom(ns, tier, purpose);
    core_.NoteChange();
    return NoRoom(ns, tier, purpose);
  }
  (on_gpu ? state.gpu.writing : state.writing).emplace(*slot, state.epoch);
  core_.NoteChange();
  const absl::Span<std::byte> memory =
      on_gpu ? state.gpu.pool.SlotMemory(*slot) : state.pool.SlotMemory(*slot);
  return WritableBlock(this, {tier, *slot}, memory.first(block_bytes));
}

absl::Status TieredStore::Impl::CopyInto(absl::Span<const BlockCopy> copies) {
  std::vector<CopyPiece> pieces;
  for (const BlockCopy& copy : copies) {
    CHECK(copy.from.size() <= copy.to->bytes().size());
    CHECK(copy.to->tier() == copies[0].to->tier());
    pieces.push_back(
        {.to = copy.to->bytes().data(), .from = copy.from.data(), .bytes = copy.from.size()});
  }
  if (pieces.empty()) return absl::OkStatus();
  if (copies[0].to->tier() == Tier::kGpu) return core_.device->Copy(Lane::kCompute, pieces);
  for (const CopyPiece& piece : pieces) std::memcpy(piece.to, piece.from, piece.bytes);
  return absl::OkStatus();
}

BlockRef TieredStore::Impl::Seal(const NamespaceHandle& ns, WritableBlock block,
                                 const BlockKey& parent, const BlockContent& content,
                                 std::optional<uint64_t> payload_hash) {
  const absl::Span<const uint32_t> words = content.words();
  CHECK(content.source() == ns.key_source);
  CHECK(words.size() == static_cast<size_t>(ns.block_words));
  CHECK(block.bytes().size() == ns.layout.BytesPerBlock());
  const BlockKey key = derive_(parent, words);
  // Without a tier below nothing needs it, and it costs a fifth of what the copy did. Of a block on
  // the GPU it is taken when that comes to RAM.
  const bool is_wanted = core_.tier != nullptr && block.tier() == Tier::kRam;
  const uint64_t hash = block.tier() == Tier::kGpu ? 0
                        : payload_hash.has_value() ? *payload_hash
                        : is_wanted                ? HashBytes64(block.bytes())
                                                   : 0;
  const BlockHandle handle = block.Release();
  return SealIn(handle.tier, {.namespace_id = ns.id,
                              .slot = handle.number,
                              .parent = parent,
                              .key = key,
                              .words = words,
                              .payload_hash = hash});
}

BlockRef TieredStore::Impl::SealIn(Tier tier, const SealRequest& request) {
  absl::MutexLock lock(&core_.mu);
  const bool on_gpu = tier == Tier::kGpu;
  const BlockId id = on_gpu ? core_.gpu.Seal(request) : core_.ram.Seal(request);
  core_.disk.ReplaceUnreadable(id);
  core_.NoteChange();
  return core_.Pinned(this, {tier, id}, request.key);
}

void TieredStore::Impl::AwaitRoom(const NamespaceHandle& ns, absl::Time deadline, Tier tier,
                                  Purpose purpose) {
  CHECK(tier == Tier::kRam || core_.device != nullptr);
  absl::MutexLock lock(&core_.mu);
  ++core_.room_waiters;
  while (!MakeRoom(ns, tier, purpose)) {
    if (tier == Tier::kGpu && core_.state.gpu.closed) break;  // Allocate says why
    WantRoom(ns, tier, purpose);
    if (tier == Tier::kGpu) core_.WakeGpuDemoter();
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
  const bool gpu_is_done = gpu_demoter_ == nullptr || gpu_demoter_->DemoteAll(deadline);
  std::optional<TakenBlocks> taken;
  if (gpu_is_done) taken = demoter_->DemoteAll(deadline);
  if (!taken.has_value()) {
    return absl::DeadlineExceededError(
        "the disk has not taken all blocks in time; a move that has begun goes on");
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

absl::Status TieredStore::Impl::health(Tier tier) const {
  absl::ReaderMutexLock lock(&core_.mu);
  return HealthOf(core_.state, tier);
}

int64_t TieredStore::Impl::capacity_blocks(const NamespaceHandle& ns, Tier tier) const {
  absl::ReaderMutexLock lock(&core_.mu);
  const SlotPool& pool = tier == Tier::kGpu ? core_.state.gpu.pool : core_.state.pool;
  return pool.CapacitySlots(ns.layout.BytesPerBlock());
}

absl::Status TieredStore::Impl::CheckIntegrity() const {
  TimedMutexLock invalidating(&invalidating_);
  absl::MutexLock lock(&core_.mu);
  RETURN_IF_ERROR(CheckState(core_.state));
  return core_.tier == nullptr ? absl::OkStatus() : CheckTier(core_.state, *core_.tier);
}

void TieredStore::Impl::Unpin(BlockHandle handle) {
  absl::MutexLock lock(&core_.mu);
  if (handle.tier == Tier::kGpu) {
    core_.gpu.Unpin(handle.number);
  } else {
    core_.ram.Unpin(handle.number);
  }
  core_.NoteChange();
}

void TieredStore::Impl::AbortWrite(BlockHandle handle) {
  absl::MutexLock lock(&core_.mu);
  if (handle.tier == Tier::kGpu) {
    CHECK(core_.state.gpu.writing.erase(handle.number) == 1);
    core_.gpu.FreeSlot(handle.number);
  } else {
    CHECK(core_.state.writing.erase(handle.number) == 1);
    core_.state.pool.Free(handle.number);
  }
  core_.NoteChange();
}

}  // namespace reprise::cachestore
