#include "api/block_source.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::BlockRef;
using cachestore::NamespaceHandle;
using cachestore::PinnedPrefix;
using cachestore::TieredStore;

namespace {

// Keys that are loaded side by side: each is a ticket of its own, and the store has 1,024 of them.
constexpr int64_t kMaxLoneTickets = 128;

const char* TierOf(bool from_gpu, bool from_disk) {
  return from_gpu ? "gpu" : from_disk ? "disk" : "ram";
}

// Block `i` of what was pinned, as block `index`; its pin is its own.
FoundBlock Own(PinnedPrefix& prefix, size_t i, int64_t index) {
  auto pin = std::make_shared<const BlockRef>(std::move(prefix.blocks[i]));
  return {.index = index,
          .bytes = pin->bytes(),
          .payload_hash = pin->payload_hash(),
          .pin = pin,
          .tier = TierOf(prefix.from_gpu[i], prefix.from_disk[i])};
}

// A function that calls `then` when it has been called `count` times, on any threads.
std::function<void()> AfterCalls(int64_t count, std::function<void()> then) {
  auto left = std::make_shared<std::atomic<int64_t>>(count);
  return [left, then = std::move(then)] {
    if (left->fetch_sub(1) == 1) then();
  };
}

}  // namespace

BatchSize::BatchSize(const TieredStore& store, const NamespaceHandle& ns)
    : block_bytes(static_cast<int64_t>(ns.layout.BytesPerBlock())),
      most_blocks(std::max<int64_t>(
          1, std::min(kMaxPinnedBytes / block_bytes, store.capacity_blocks(ns) / 4))) {}

void BatchSize::Grow() { blocks = std::min(2 * blocks, most_blocks); }

PrefixSource::PrefixSource(TieredStore* store, const NamespaceHandle& ns, PromptContent prompt,
                           int64_t first_block, absl::Time deadline,
                           std::optional<cachestore::RequestHints> hints)
    : store_(store),
      ns_(ns),
      prompt_(std::move(prompt)),
      deadline_(deadline),
      hints_(std::move(hints)),
      batch_(*store, ns),
      next_(first_block) {}

void PrefixSource::Begin(std::function<void()> on_ready) {
  if (hints_.has_value()) {
    store_->Touch(ns_, prompt_.view(), prompt_.num_blocks(), *hints_);
    hints_.reset();
  }
  // The ticket may be done before Pin returns: the later of the two tells.
  const std::function<void()> tell = AfterCalls(2, std::move(on_ready));
  ticket_ =
      store_->Pin(ns_, prompt_.view(), {.first = next_, .count = batch_.blocks}, tell, deadline_);
  tell();
}

absl::StatusOr<std::vector<FoundBlock>> PrefixSource::Take() {
  const int64_t matched = ticket_.matched_blocks();
  PinnedPrefix pinned = ticket_.Take();
  const int64_t count = static_cast<int64_t>(pinned.blocks.size());
  std::vector<FoundBlock> found;
  for (size_t i = 0; i < pinned.blocks.size(); ++i) found.push_back(Own(pinned, i, next_++));
  // There may be more behind a full batch, or when RAM had no room for all of it.
  over_ = count == 0 || (count < batch_.blocks && count == matched);
  batch_.Grow();
  return found;
}

LoneBlockSource::LoneBlockSource(TieredStore* store, const NamespaceHandle& ns, PromptContent keys,
                                 int64_t first_key, absl::Time deadline)
    : store_(store),
      ns_(ns),
      keys_(std::move(keys)),
      deadline_(deadline),
      batch_(*store, ns),
      next_(first_key) {
  batch_.most_blocks = std::min(batch_.most_blocks, kMaxLoneTickets);
}

void LoneBlockSource::Begin(std::function<void()> on_ready) {
  const int64_t count = std::min(batch_.blocks, keys_.num_blocks() - next_);
  const std::function<void()> tell = AfterCalls(count + 1, std::move(on_ready));
  tickets_.clear();
  for (int64_t i = next_; i < next_ + count; ++i) {
    tickets_.push_back(store_->Pin(ns_, keys_.block(i), {.first = 0, .count = 1}, tell, deadline_));
  }
  tell();
}

absl::StatusOr<std::vector<FoundBlock>> LoneBlockSource::Take() {
  std::vector<FoundBlock> found;
  for (cachestore::PinTicket& ticket : tickets_) {
    PinnedPrefix pinned = ticket.Take();
    if (!pinned.blocks.empty()) found.push_back(Own(pinned, 0, next_));
    ++next_;
  }
  batch_.Grow();
  return found;
}

LeaseSource::LeaseSource(std::shared_ptr<Session> session, std::string lease_id,
                         int64_t first_block)
    : session_(std::move(session)),
      lease_id_(std::move(lease_id)),
      next_(first_block),
      end_(first_block) {}

int64_t LeaseSource::batch_bytes() const { return batch() * block_bytes_; }

absl::StatusOr<LeasedBlocks> LeaseSource::Ask() const {
  return session_->BlocksOf(lease_id_, {.first = next_, .count = batch()});
}

void LeaseSource::Begin(std::function<void()> on_ready) {
  leased_ = Ask();
  if (!absl::IsUnavailable(leased_.status())) return on_ready();
  session_->WhenSettled(lease_id_, this, std::move(on_ready));
}

absl::StatusOr<std::vector<FoundBlock>> LeaseSource::Take() {
  if (absl::IsUnavailable(leased_.status())) leased_ = Ask();
  over_ = !leased_.ok();
  RETURN_IF_ERROR(leased_.status());
  const LeasedBlocks leased = *std::exchange(leased_, LeasedBlocks());
  next_ = leased.first_block;
  end_ = leased.end_block;
  std::vector<FoundBlock> found;
  for (const LeasedBlock& block : leased.blocks) {
    found.push_back({.index = next_++,
                     .bytes = block.pin->bytes(),
                     .payload_hash = block.pin->payload_hash(),
                     .pin = block.pin,
                     .tier = TierOf(block.from_gpu, block.from_disk)});
  }
  if (!found.empty()) {
    batch_ = std::max<int64_t>(1, std::min(2 * batch_, kMaxPinnedBytes / block_bytes_));
  }
  block_bytes_ = leased.block_bytes;
  over_ = next_ >= end_;
  return found;
}

}  // namespace reprise::api
