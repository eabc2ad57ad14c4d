// TieredStore: the one owner of "which block is where" (GPU, RAM, disk), and the only one who moves
// blocks.
//
//     Allocate -> write -> Seal -> pinned <-> idle -> Demote (GPU to RAM, RAM to disk) or Drop
//
// Invariants:
//  (1) A sealed block is immutable. Its key, parent key and token ids never change.
//  (2) A block's parent is in the store for as long as the block is.
//  (3) What is on disk is prefix-closed: the parent of a block on disk is on disk.
//  (4) A pinned block's bytes neither move nor change, in any tier, until the last pin is gone.
//  (5) No tier ever holds more bytes than its budget.
//  (6) A tenant with a quota takes no more than it: what is evicted for more is its own. As long as
//      the quotas fit into the tier together, and every tenant has one, nobody loses anything by
//      what another one does. Quotas that do not fit are limits only: of what is too much, that
//      goes which the order of eviction puts first, whoever's it is; and so it does for the slots
//      that a tenant is given beyond its quota, because a sequence of its cannot go on without
//      them (Purpose::kCompute), where RAM is full and the tenant has nothing left to evict.
//  (7) When the device fails, its tier is given up: what only it had is a miss, nothing is wrong.
//
// A cache miss is not an error, and a block whose bytes fail verification is a miss, counted in
// StoreStats, never data. Thread-safe; one lock guards the metadata and is never held over I/O or a
// copy of a payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cachestore/block/block_content.h"
#include "cachestore/block/block_key.h"
#include "cachestore/block/namespace_identity.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/host_arena.h"
#include "cachestore/policy/request_hints.h"
#include "cachestore/store/block_list.h"
#include "cachestore/store/block_ref.h"
#include "cachestore/store/event_log.h"
#include "cachestore/store/explanation.h"
#include "cachestore/store/invalidate_report.h"
#include "cachestore/store/load_forecast.h"
#include "cachestore/store/pin_ticket.h"
#include "cachestore/store/request_observer.h"
#include "cachestore/store/store_options.h"
#include "cachestore/store/store_stats.h"
#include "cachestore/store/tenant_quota.h"
#include "cachestore/store/tier.h"
#include "cachestore/store/verify_progress.h"
#include "cachestore/store/what_if.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::cachestore {

// A namespace opened in this process. Cheap to copy; valid for the store's life.
struct NamespaceHandle {
  uint32_t id = 0;  // index in this process, never persisted
  BlockKey root;    // root of the key chain
  KvLayout layout;
  KeySource key_source = KeySource::kTokens;
  int32_t block_words = 0;  // 32-bit words that name one block (BlockContent)
};

// How much of a prompt is cached, at the moment of asking. In whole blocks from the start.
struct PrefixMatch {
  int64_t gpu_blocks = 0;   // of the matched blocks, those in the GPU tier
  int64_t ram_blocks = 0;   // of the others, those in RAM
  int64_t disk_blocks = 0;  // the rest, which only disk holds
  int64_t total_blocks() const { return gpu_blocks + ram_blocks + disk_blocks; }
};

// What Invalidate takes away.
struct AllBlocks {};
struct BlocksOfTenant {
  std::string tenant;
};
struct BlocksOfNamespace {
  NamespaceHandle ns;
};
// The last block of `prefix` and all that begin with it.
struct BlocksBelow {
  NamespaceHandle ns;
  BlockContent prefix;  // whole blocks, at least one
};
using InvalidateScope = std::variant<AllBlocks, BlocksOfTenant, BlocksOfNamespace, BlocksBelow>;

// What List tells, and what Walk goes through.
struct ListRequest {
  std::variant<AllBlocks, BlocksOfTenant, BlocksOfNamespace> scope;
  uint64_t cursor = 0;      // of the page before; 0: from the beginning
  size_t max_blocks = 0;    // positive
  bool with_words = false;  // the contents of blocks too
};
using WalkScope = std::variant<BlocksOfNamespace, BlocksBelow>;

// Blocks [first, first + count) of a prompt.
struct BlockRange {
  int64_t first = 0;
  int64_t count = 0;
};

// What CopyInto does to one block.
struct BlockCopy {
  const WritableBlock* to = nullptr;
  absl::Span<const std::byte> from;
};

class TieredStore {
 public:
  // Opens or creates the store. With options.disk.directory empty there is no disk tier: RAM is the
  // last tier. With options.gpu.capacity_bytes 0 there is no GPU tier; else `device`, which
  // outlives the store, reserves it and pins the RAM tier. BLOCKS on disk recovery (index only;
  // payloads are verified when loaded). kInvalidArgument: options; kFailedPrecondition: directory
  // locked, or of a newer format, or of something else; both values are named. kResourceExhausted:
  // budget larger than memory or disk.
  static absl::StatusOr<std::unique_ptr<TieredStore>> Open(const StoreOptions& options,
                                                           Device* device = nullptr);
  // The same over a given disk tier (null: none); of options.disk, only the admission matters.
  // `derive` names the blocks; whatever it does, a block is found under its own content only.
  static absl::StatusOr<std::unique_ptr<TieredStore>> Open(const StoreOptions& options,
                                                           std::unique_ptr<BackingTier> tier,
                                                           KeyDeriver derive = ChildKey,
                                                           Device* device = nullptr);

  // Stops the threads, drops what is only in RAM. REQUIRES: every BlockRef, WritableBlock and
  // PinTicket is gone. Call Demote() first to keep RAM's blocks.
  ~TieredStore();

  // The same identity gives the same namespace, in this process and after a restart.
  // kInvalidArgument: a field is missing, or a block does not fit into the RAM or disk budget;
  // kResourceExhausted: there are as many namespaces as a store can have.
  absl::StatusOr<NamespaceHandle> OpenNamespace(const NamespaceIdentity& identity);

  // In all that follows, `prompt` is token ids, or external keys in a namespace of such.
  // REQUIRES: prompt.source() is ns.key_source.

  // The tier whose blocks the engine computes on: kGpu where there is one. Everything that takes a
  // Tier REQUIRES that the store has it.
  Tier compute_tier() const;
  // OK, or why there is no such tier any more, until a restart: its device has failed (kInternal).
  // The others go on.
  absl::Status health(Tier tier) const;

  // Longest cached prefix of `prompt`, verified by its content. Moves and pins nothing; may be
  // stale by the time it is read. At most `max_blocks` blocks are considered. What is matched
  // does not count as used.
  PrefixMatch Match(const NamespaceHandle& ns, const BlockContent& prompt,
                    int64_t max_blocks) const;

  // The same prefix, block by block, and how long Pin would take to bring what of it is elsewhere
  // into compute_tier(), going by the last loads and the queue. Before a load has ended, loading
  // counts as immediate.
  LoadForecast ForecastLoad(const NamespaceHandle& ns, const BlockContent& prompt,
                            int64_t max_blocks) const;

  // One atomic step: matches the longest cached prefix of `prompt`, pins what of it is in `range`
  // in whatever tier it is, and starts bringing into `tier` what is elsewhere. Never blocks. The
  // blocks before the range are verified and take no room; a range that begins behind the match, or
  // behind the last full block, holds nothing.
  // The ticket tells when loading has ended and how many leading blocks of the range are good.
  // `on_done` (may be empty) runs once, on an unspecified thread and possibly before Pin returns,
  // when the ticket is done; it must not call into the store. It does not run for a ticket that was
  // given up before. After `deadline`, blocks that are not loaded yet are misses.
  // With RequestHints::Use::kRequest the blocks before the range's end are those that the request
  // looks up.
  PinTicket Pin(const NamespaceHandle& ns, const BlockContent& prompt, BlockRange range,
                std::function<void()> on_done, absl::Time deadline = absl::InfiniteFuture(),
                LoadOrder order = LoadOrder::kByBlock, Tier tier = Tier::kRam,
                const RequestHints& hints = {});
  // The same for the first `max_blocks` blocks.
  PinTicket Pin(const NamespaceHandle& ns, const BlockContent& prompt, int64_t max_blocks,
                std::function<void()> on_done, absl::Time deadline = absl::InfiniteFuture()) {
    return Pin(ns, prompt, BlockRange{.first = 0, .count = max_blocks}, std::move(on_done),
               deadline);
  }

  // An exclusive slot of `tier` for one block of `ns`, contents undefined. Never blocks.
  // kResourceExhausted: nothing can be evicted now, of the tenant's where its quota is used up;
  // room may come when pins go, or writes to disk or copies to RAM end, but not if the block is
  // larger than the quota (FitsQuota). kInternal: the device has failed.
  absl::StatusOr<WritableBlock> Allocate(const NamespaceHandle& ns, Tier tier = Tier::kRam,
                                         Purpose purpose = Purpose::kCache);

  // Fills the first bytes of each `to` with `from`: of blocks on the GPU in turn with the steps, in
  // one copy, from bytes of the same tier, or all of RAM's, which stay as they are until then.
  // REQUIRES: all blocks are of one tier. kInternal: the device failed.
  absl::Status CopyInto(absl::Span<const BlockCopy> copies);

  // Publishes `block`, which holds the KV of `content` (exactly one block's worth) after the block
  // `parent` (ns.root for the first block), and returns a pin. When the same block is already
  // in RAM, the pin is on that one and `block` is freed. When the parent is not in the store any
  // more, the block stays private to the caller: usable, never matched, freed with its last pin.
  // The caller holds the pin on `parent` that Seal or Pin gave it until this returns: while a
  // private block lives, blocks sealed under its key are private too, because another block may
  // have it. `payload_hash` is the XXH3-64 of the block's bytes, for callers that know it already:
  // a block whose bytes change in RAM later is never written to disk. A block on the GPU is written
  // by what its compute lane has been given by now. REQUIRES: `block` is from Allocate of the same
  // namespace.
  BlockRef Seal(const NamespaceHandle& ns, WritableBlock block, const BlockKey& parent,
                const BlockContent& content, std::optional<uint64_t> payload_hash = std::nullopt);

  // Waits until Allocate of `ns` could succeed or `deadline` has passed. BLOCKS.
  void AwaitRoom(const NamespaceHandle& ns, absl::Time deadline, Tier tier = Tier::kRam,
                 Purpose purpose = Purpose::kCache);

  // Which blocks are written to disk from now on, in place of what the store was opened with.
  void SetDiskAdmission(DiskAdmission admission);

  // What tenants may take of RAM and disk from now on, those that have a quota; replaces what was
  // set before. A namespace's tenant is that of its identity, so what was recovered counts as its
  // tenant's before anybody has opened it. Quotas are the process's, not kept on disk. What goes
  // beyond a quota is given up, in the order of eviction: at once where it can be, else as soon as
  // the disk has it and nobody pins it. What a sequence computes on (Purpose::kCompute), and what
  // the GPU gives back while there is a disk, comes in all the same and goes the same way. On disk
  // a quota is kept by erasing those of the tenant's blocks that go first; what it has no room for
  // is dropped when RAM gives it up. BLOCKS for a look at every block, in steps, when a tenant gets
  // its first quota.
  void SetQuotas(const QuotasByTenant& quotas);
  // Those that are set.
  QuotasByTenant Quotas() const;
  // Whether one block of `ns` is within its tenant's quota of RAM.
  bool FitsQuota(const NamespaceHandle& ns) const;

  // Moves every block that is in RAM or on the GPU and unpinned now to disk and returns how many of
  // those that left RAM are on disk; the others, which the disk did not take, count as
  // dropped_blocks. Durable when it returns. BLOCKS, at most until `deadline`. kFailedPrecondition:
  // there is no disk tier. kDeadlineExceeded: the disk has not taken everything by then; what has
  // begun goes on.
  absl::StatusOr<int64_t> Demote(absl::Time deadline = absl::InfiniteFuture());

  // Takes blocks out of every tier, durably: once it has returned, nothing stored or sealed before
  // the call is found again, now or after a restart, and no load or store that was under way makes
  // it so. Blocks that were allocated before it returned stay private in the namespaces concerned.
  // Pinned blocks stay readable for whoever pins them and go with the last pin; until then their
  // keys are not cached anew. One call at a time; BLOCKS, at most until `deadline` or for one look
  // at every block of the store, in steps, whichever takes longer: half of it would be of no use.
  // kDeadlineExceeded: its turn had not come by then, nothing was taken. kUnavailable: the disk has
  // not erased everything by then; it goes on trying, and until it has, a restart may bring blocks
  // back.
  absl::StatusOr<InvalidateReport> Invalidate(const InvalidateScope& scope, absl::Time deadline);

  // A page of blocks, in an order of their keys, which no coming and going changes: blocks that
  // come or go between two pages may be missed, none comes twice. `max_blocks` of them, and a few
  // more where keys lie close together, unless there are no more.
  ListPage List(const ListRequest& request) const;
  // The block with this key and its content; nullopt when it is in no tier.
  std::optional<ListedBlock> FindBlock(const BlockKey& key) const;
  // See BlockWalk. Nothing when the prefix is not in the store.
  std::unique_ptr<BlockWalk> Walk(const WalkScope& scope);

  // What every namespace that was ever opened takes of each tier, by namespace id. The sum over the
  // namespaces of a tenant is what the tenant takes.
  std::vector<NamespaceUsage> Usage() const;

  // Counts the longest cached prefix of `prompt` as used now, as Pin does, and moves nothing;
  // returns its blocks. Tells of a request of which nothing is pinned, too.
  int64_t Touch(const NamespaceHandle& ns, const BlockContent& prompt, int64_t max_blocks,
                const RequestHints& hints = {});

  // A request has ended that leaves the blocks of `chain` behind: those of its prompt, and behind
  // them those of its answer; of all these, those from `first_block` on.
  void EndRequest(const NamespaceHandle& ns, absl::Span<const BlockKey> chain,
                  const RequestEnd& end, int64_t first_block = 0);
  // Has `observer` (null: nobody) see all requests from now on, in place of whom it returns.
  std::shared_ptr<RequestObserver> Watch(std::shared_ptr<RequestObserver> observer);

  // What other sizes of RAM and disk would have made of the requests so far; predicted, from a
  // sample of their blocks.
  WhatIfReport WhatIf() const;

  // Why `prompt` hits or misses, block by block. Of those that are missing, only what the events
  // that are remembered tell is known.
  std::vector<ExplainedBlock> Explain(const NamespaceHandle& ns, const BlockContent& prompt) const;

  // Blocks that came into tiers and left them, and namespaces that were cleared, since the store
  // was opened: up to `max_events` from sequence number `from` on (numbers begin at 1). What is on
  // disk when the store is opened is no event. Holds nobody up.
  EventPage Events(uint64_t from, size_t max_events) const;
  // The number that the next event gets.
  uint64_t next_event() const;
  // Waits until event `from` is there or `deadline` has passed; says whether it is. BLOCKS.
  bool AwaitEvent(uint64_t from, absl::Time deadline) const;

  // Reads what is on disk, at most so many bytes a second (0: as fast as it comes), and takes out
  // what is not what was stored. Blocks that come meanwhile may be left out. `go_on` is told how
  // far it is, at least ten times a second while it waits to read or for what it reads; kCancelled:
  // it said no, and the run is over when its reads are. kFailedPrecondition: there is no disk tier.
  // kUnavailable: another run is under way. BLOCKS.
  absl::Status Verify(int64_t max_bytes_per_second,
                      absl::FunctionRef<bool(const VerifyProgress&)> go_on);

  StoreStats stats() const;
  // Why the store was opened without what its disk tier held before (BackingTier::losses), or what
  // the order of eviction had learned; empty when all is well.
  std::vector<std::string> losses() const;

  // Slots of `tier` for blocks of `ns` that the budget allows in all.
  int64_t capacity_blocks(const NamespaceHandle& ns, Tier tier = Tier::kRam) const;

  // The memory of the RAM tier: every block in it lies there, at an offset that does not change
  // while it is pinned. Lives as long as the store.
  const HostArena& ram_arena() const;

  // Compares index, pools, policies and disk; kInternal names the first disagreement.
  // BLOCKS for as long as the index is scanned. Meant for tests and for an idle store.
  absl::Status CheckIntegrity() const;

 private:
  class Impl;
  explicit TieredStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace reprise::cachestore
