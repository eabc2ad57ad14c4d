#include "api/block_source.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/limits.h"
#include "api/pin_blocks.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;
using cachestore::PinnedPrefix;
using cachestore::TieredStore;

namespace {

// Keys that are loaded side by side: each is a ticket of its own, and the store has 1,024 of them.
constexpr int64_t kMaxLoneTickets = 128;

const char* TierOf(const PinnedPrefix& prefix, size_t i) {
  return prefix.from_gpu[i] ? "gpu" : prefix.from_disk[i] ? "disk" : "ram";
}

// Block `i` of what was pinned, as block `index`; its pin is its own.
FoundBlock Own(PinnedPrefix& prefix, size_t i, int64_t index) {
  auto pin = std::make_shared<const cachestore::BlockRef>(std::move(prefix.blocks[i]));
  return {.index = index, .bytes = pin->bytes(), .pin = pin, .tier = TierOf(prefix, i)};
}

// Of a small RAM a quarter, so that one reader does not stand in the way of its own loads.
int64_t BatchOf(const TieredStore& store, const NamespaceHandle& ns) {
  const int64_t block_bytes = static_cast<int64_t>(ns.layout.BytesPerBlock());
  return std::max<int64_t>(1,
                           std::min(kMaxPinnedBytes / block_bytes, store.capacity_blocks(ns) / 4));
}

}  // namespace

PrefixSource::PrefixSource(TieredStore* store, const NamespaceHandle& ns, PromptContent prompt,
                           int64_t first_block)
    : store_(store),
      ns_(ns),
      prompt_(std::move(prompt)),
      batch_(BatchOf(*store, ns)),
      next_(first_block) {}

absl::StatusOr<std::vector<FoundBlock>> PrefixSource::Next(const grpc::ServerContext& context) {
  std::vector<FoundBlock> found;
  if (over_) return found;
  ASSIGN_OR_RETURN(PinnedRange range, PinBlocks(context, *store_, ns_, prompt_.view(),
                                                {.first = next_, .count = batch_}));
  const int64_t pinned = static_cast<int64_t>(range.pinned.blocks.size());
  for (size_t i = 0; i < range.pinned.blocks.size(); ++i) {
    found.push_back(Own(range.pinned, i, next_++));
  }
  // There may be more behind a full range, or when RAM had no room for all of it.
  over_ = pinned == 0 || (pinned < batch_ && pinned == range.matched_blocks);
  return found;
}

LoneBlockSource::LoneBlockSource(TieredStore* store, const NamespaceHandle& ns, PromptContent keys,
                                 int64_t first_key)
    : store_(store),
      ns_(ns),
      keys_(std::move(keys)),
      batch_(std::min(BatchOf(*store, ns), kMaxLoneTickets)),
      next_(first_key) {}

absl::StatusOr<std::vector<FoundBlock>> LoneBlockSource::Next(const grpc::ServerContext& context) {
  const int64_t num_keys = keys_.num_blocks();
  std::vector<FoundBlock> found;
  while (found.empty() && next_ < num_keys) {
    // All of a batch are loaded side by side.
    std::vector<cachestore::PinTicket> tickets;
    const int64_t first = next_;
    next_ = std::min(num_keys, first + batch_);
    for (int64_t i = first; i < next_; ++i) {
      tickets.push_back(store_->Pin(ns_, keys_.block(i), /*max_blocks=*/1, {}));
    }
    for (size_t i = 0; i < tickets.size(); ++i) {
      ASSIGN_OR_RETURN(PinnedRange range, Await(context, std::move(tickets[i])));
      if (range.pinned.blocks.empty()) continue;
      found.push_back(Own(range.pinned, 0, first + static_cast<int64_t>(i)));
    }
  }
  return found;
}

absl::StatusOr<std::vector<FoundBlock>> LeaseSource::Next(const grpc::ServerContext& context) {
  std::vector<FoundBlock> found;
  if (std::exchange(over_, true)) return found;
  absl::StatusOr<LeasedBlocks> leased = session_->BlocksOf(lease_id_, absl::Now());
  // In steps, because a synchronous handler learns of a cancelled call only by asking.
  while (leased.status().code() == absl::StatusCode::kDeadlineExceeded) {
    if (context.IsCancelled()) {
      return absl::CancelledError("the call was cancelled while its blocks were loading");
    }
    leased = session_->BlocksOf(lease_id_, absl::Now() + absl::Milliseconds(50));
  }
  RETURN_IF_ERROR(leased.status());
  const std::vector<cachestore::BlockRef>& blocks = leased->blocks->blocks;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const int64_t index = leased->first_block + static_cast<int64_t>(i);
    if (index < first_block_) continue;
    found.push_back({.index = index,
                     .bytes = blocks[i].bytes(),
                     .pin = leased->blocks,
                     .tier = TierOf(*leased->blocks, i)});
  }
  return found;
}

}  // namespace reprise::api
