#include "engine/sched/sequence.h"

#include <algorithm>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

using cachestore::BlockKey;
using cachestore::BlockRef;
using cachestore::PinnedPrefix;
using cachestore::PinTicket;
using cachestore::TieredStore;
using cachestore::WritableBlock;

// The model's block table is not const because it writes behind the sealed blocks; it only reads
// the sealed ones (SequenceRows).
std::byte* TableEntry(const BlockRef& ref) { return const_cast<std::byte*>(ref.bytes().data()); }

}  // namespace

Sequence::Sequence(SequenceId id, const cachestore::NamespaceHandle& ns, GenerateRequest request,
                   absl::Time submitted)
    : id_(id),
      ns_(ns),
      request_(std::move(request)),
      prompt_tokens_(static_cast<int64_t>(request_.prompt.size())),
      submitted_(submitted),
      tokens_(request_.prompt) {
  CHECK(!tokens_.empty());
}

absl::Span<const uint32_t> Sequence::NextTokens(int64_t n) const {
  CHECK(n <= remaining());
  return absl::MakeConstSpan(tokens_).subspan(computed_, n);
}

void Sequence::Admit(TieredStore* store, const std::function<void()>& on_loaded, absl::Time now) {
  CHECK(state_ == SequenceState::kWaiting);
  admitted_ = now;
  // The last prompt token is always computed: its logits give the first new token.
  const int64_t max_blocks = (prompt_tokens_ - 1) / block_tokens();
  if (request_.cache == CacheMode::kOff || max_blocks == 0) {
    state_ = SequenceState::kRunning;
    loaded_ = now;
    return;
  }
  state_ = SequenceState::kLoading;
  ticket_ = store->Pin(ns_, request_.prompt, max_blocks, on_loaded);
}

bool Sequence::TryFinishLoading(absl::Time now) {
  CHECK(state_ == SequenceState::kLoading);
  if (!ticket_.done()) return false;
  PinnedPrefix prefix = ticket_.Take();
  ticket_ = PinTicket();
  for (const BlockRef& ref : prefix.blocks) blocks_.push_back(TableEntry(ref));
  sealed_ = std::move(prefix.blocks);
  computed_ = static_cast<int64_t>(sealed_.size()) * block_tokens();
  CHECK(computed_ < prompt_tokens_);
  cached_ram_tokens_ = prefix.ram_blocks * block_tokens();
  cached_disk_tokens_ = prefix.disk_blocks * block_tokens();
  CHECK(cached_tokens() == computed_);
  state_ = SequenceState::kRunning;
  loaded_ = now;
  return true;
}

void Sequence::AbandonLoading(absl::Time now) {
  CHECK(state_ == SequenceState::kLoading);
  ticket_ = PinTicket();
  state_ = SequenceState::kRunning;
  loaded_ = now;
}

int64_t Sequence::Reserve(TieredStore* store, int64_t n) {
  CHECK(state_ == SequenceState::kRunning);
  while (static_cast<int64_t>(blocks_.size()) * block_tokens() < computed_ + n) {
    absl::StatusOr<WritableBlock> block = store->Allocate(ns_);
    if (!block.ok()) break;
    blocks_.push_back(block->bytes().data());
    writable_.push_back(*std::move(block));
  }
  const int64_t room = static_cast<int64_t>(blocks_.size()) * block_tokens() - computed_;
  return std::min(n, room);
}

void Sequence::Advance(TieredStore* store, int64_t n) {
  CHECK(n <= remaining());
  computed_ += n;
  CHECK(computed_ <= static_cast<int64_t>(blocks_.size()) * block_tokens());
  if (request_.cache == CacheMode::kUse) SealFullBlocks(store);
}

void Sequence::SealFullBlocks(TieredStore* store) {
  while ((static_cast<int64_t>(sealed_.size()) + 1) * block_tokens() <= computed_) {
    const size_t index = sealed_.size();
    const BlockKey parent = sealed_.empty() ? ns_.root : sealed_.back().key();
    WritableBlock block = std::move(writable_.front());
    writable_.pop_front();
    sealed_.push_back(
        store->Seal(ns_, std::move(block), parent,
                    absl::MakeConstSpan(tokens_).subspan(index * block_tokens(), block_tokens())));
    // Seal may have given an identical block that was there before; ours is gone then.
    blocks_[index] = TableEntry(sealed_.back());
  }
}

void Sequence::Append(uint32_t token, absl::Time now) {
  CHECK(remaining() == 0);
  if (new_tokens() == 0) first_token_ = now;
  tokens_.push_back(token);
}

void Sequence::ReleaseBlocks() {
  blocks_.clear();
  ticket_ = PinTicket();
  while (!writable_.empty()) writable_.pop_back();
  while (!sealed_.empty()) sealed_.pop_back();
}

GenerateResult Sequence::ResultAt(FinishReason reason, absl::Time now) const {
  GenerateResult result;
  result.finish_reason = reason;
  result.prompt_tokens = prompt_tokens_;
  result.cached_ram_tokens = cached_ram_tokens_;
  result.cached_disk_tokens = cached_disk_tokens_;
  result.new_tokens = new_tokens();
  // A request that ended early never reached the later moments; they count as `now`.
  result.queue_time = std::min(admitted_, now) - submitted_;
  result.load_time = std::min(loaded_, now) - std::min(admitted_, now);
  result.ttft = std::min(first_token_, now) - submitted_;
  result.total = now - submitted_;
  return result;
}

}  // namespace reprise::engine
