#include "engine/sched/sequence.h"

#include <algorithm>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

using cachestore::BlockKey;
using cachestore::BlockRef;
using cachestore::PinnedPrefix;
using cachestore::WritableBlock;

// The model's block table is not const because it writes behind the sealed blocks; it only reads
// the sealed ones (SequenceRows).
std::byte* TableEntry(const BlockRef& ref) { return const_cast<std::byte*>(ref.bytes().data()); }

}  // namespace

Sequence::Sequence(SequenceId id, const cachestore::NamespaceHandle& ns, GenerateRequest request,
                   absl::Time submitted, int32_t sample)
    : id_(id),
      sample_(sample),
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

absl::Span<const BlockKey> Sequence::FullBlockKeys() {
  if (request_.cache == CacheMode::kOff) return {};
  const int64_t tokens =
      (static_cast<int64_t>(tokens_.size()) - 1) / block_tokens() * block_tokens();
  const int64_t known = static_cast<int64_t>(keys_.size()) * block_tokens();
  const std::vector<BlockKey> more = cachestore::ChainKeys(
      keys_.empty() ? ns_.root : keys_.back(),
      absl::MakeConstSpan(tokens_).subspan(known, tokens - known), ns_.block_words);
  keys_.insert(keys_.end(), more.begin(), more.end());
  return keys_;
}

absl::Span<const BlockKey> Sequence::UnsealedBlockKeys() {
  const absl::Span<const BlockKey> keys = FullBlockKeys();
  return keys.subspan(std::min(keys.size(), sealed_.size()));
}

int64_t Sequence::NeededBlocks() const {
  return (static_cast<int64_t>(tokens_.size()) + block_tokens() - 1) / block_tokens();
}

int64_t Sequence::MissingBlocks() const {
  return std::max<int64_t>(NeededBlocks() - num_blocks() - followed_blocks_, 0);
}

int64_t Sequence::MissingTokens() const {
  const int64_t loading_blocks = ticket_.has_value() ? ticket_->matched_blocks() : 0;
  return std::max<int64_t>(remaining() - loading_blocks * block_tokens() - followed_tokens_, 0);
}

cachestore::BlockRange Sequence::LoadableBlocks() const {
  if (request_.cache == CacheMode::kOff) return {};
  // The newest token is always computed: its logits give the next one.
  const int64_t end = (static_cast<int64_t>(tokens_.size()) - 1) / block_tokens();
  const int64_t first = static_cast<int64_t>(sealed_.size());
  return {.first = first, .count = end - first};
}

void Sequence::Admit(int64_t turn, const BlockAccount& account, const LoadChoice& choice,
                     const std::function<void()>& on_loaded, absl::Time now) {
  CHECK(state_ == SequenceState::kWaiting);
  if (!was_admitted()) turn_ = turn;
  first_admitted_ = std::min(first_admitted_, now);
  StartLoading(account, choice, on_loaded, now);
}

void Sequence::StartLoading(const BlockAccount& account, const LoadChoice& choice,
                            const std::function<void()>& on_loaded, absl::Time now) {
  state_ = SequenceState::kLoading;
  load_started_ = now;
  load_deadline_ = now + choice.patience;
  load_was_late_ = false;
  may_arrive_ = choice.order == cachestore::LoadOrder::kByLayer;
  arrival_patience_ = choice.arrival_patience;
  const cachestore::RequestHints hints = LookupHints(account, choice);
  if (choice.num_blocks == 0) return;
  const cachestore::BlockRange loadable = LoadableBlocks();
  CHECK(choice.num_blocks <= loadable.count);
  ticket_ = account.store()->Pin(
      ns_, tokens_, cachestore::BlockRange{.first = loadable.first, .count = choice.num_blocks},
      on_loaded, load_deadline_, choice.order, account.store()->compute_tier(), hints);
}

cachestore::RequestHints Sequence::LookupHints(const BlockAccount& account,
                                               const LoadChoice& choice) {
  cachestore::RequestHints hints = request_.hints;
  hints.request = id_ + 1;
  hints.use = cachestore::RequestHints::Use::kPart;
  // The samples of a request look up the same.
  const bool is_first = !std::exchange(told_, true) && sample_ == 0;
  if (!is_first || request_.cache == CacheMode::kOff) return hints;
  hints.use = cachestore::RequestHints::Use::kRequest;
  const cachestore::BlockRange loadable = LoadableBlocks();
  if (choice.num_blocks == loadable.count && loadable.count > 0) return hints;
  // Of what is computed although it is cached, too.
  account.store()->Touch(ns_, tokens_, loadable.first + loadable.count, hints);
  hints.use = cachestore::RequestHints::Use::kPart;
  return hints;
}

void Sequence::TellAhead(const BlockAccount& account) const {
  const cachestore::BlockRange loadable = LoadableBlocks();
  if (sample_ > 0 || loadable.count == 0) return;
  cachestore::RequestHints hints = request_.hints;
  hints.request = id_ + 1;
  hints.use = cachestore::RequestHints::Use::kAhead;
  account.store()->Touch(ns_, tokens_, loadable.count, hints);
}

void Sequence::TellEnd(const BlockAccount& account, FinishReason reason) const {
  if (!told_ || request_.cache == CacheMode::kOff) return;
  using Ending = cachestore::RequestHints::Ending;
  cachestore::RequestEnd end = {.hints = request_.hints, .output_tokens = new_tokens()};
  end.hints.request = id_ + 1;
  end.hints.ending = Ending::kOther;
  if (reason == FinishReason::kStopToken || reason == FinishReason::kStopString) {
    end.hints.ending = request_.offers_tools ? Ending::kUnknown : Ending::kEndTurn;
  }
  std::vector<BlockKey> keys;
  keys.reserve(sealed_.size());
  for (const BlockRef& block : sealed_) keys.push_back(block.key());
  account.store()->EndRequest(ns_, keys, end);
}

bool Sequence::TryFinishLoading(BlockAccount& account) {
  CHECK(state_ == SequenceState::kLoading);
  if (!ticket_.has_value()) return true;
  if (!ticket_->done()) return false;
  PinnedPrefix prefix = ticket_->Take();
  load_was_late_ = prefix.is_late;
  ticket_.reset();
  for (size_t i = 0; i < prefix.blocks.size(); ++i) {
    BlockRef& ref = prefix.blocks[i];
    account.Add(ref);
    blocks_.push_back(TableEntry(ref));
    sealed_.push_back(std::move(ref));
    computed_ += block_tokens();
    // Tokens that have been here before are no hit: they only come back.
    const int64_t prompt_end = std::min(computed_, prompt_tokens_);
    int64_t& cached = prefix.from_gpu[i]    ? cached_gpu_tokens_
                      : prefix.from_disk[i] ? cached_disk_tokens_
                                            : cached_ram_tokens_;
    cached += std::max<int64_t>(prompt_end - reached_, 0);
    reached_ = std::max(reached_, computed_);
  }
  CHECK(remaining() > 0);
  return true;
}

bool Sequence::TryBeginArrival(absl::Time now) {
  CHECK(state_ == SequenceState::kLoading);
  if (!ticket_.has_value() || !writable_.empty() || !std::exchange(may_arrive_, false)) {
    return false;
  }
  const std::vector<const std::byte*> addresses = ticket_->addresses();
  if (addresses.empty()) return false;
  state_ = SequenceState::kArriving;
  arrival_began_ = now;
  arriving_blocks_ = static_cast<int64_t>(addresses.size());
  for (const std::byte* address : addresses) blocks_.push_back(const_cast<std::byte*>(address));
  computed_ += arriving_blocks_ * block_tokens();
  return true;
}

bool Sequence::AwaitPrefix(uint64_t bytes) const {
  CHECK(state_ == SequenceState::kArriving);
  return ticket_->AwaitBytes(bytes, std::min(load_deadline_, arrival_began_ + arrival_patience_));
}

void Sequence::EndArrival(BlockAccount& account, bool prefix_is_safe) {
  CHECK(state_ == SequenceState::kArriving);
  state_ = SequenceState::kLoading;
  const int64_t arriving_blocks = std::exchange(arriving_blocks_, 0);
  computed_ -= arriving_blocks * block_tokens();
  blocks_.resize(sealed_.size());
  if (!prefix_is_safe) {
    for (; !writable_.empty(); writable_.pop_back()) account.GiveBack(std::move(writable_.back()));
    return;
  }
  const auto sealed_before = static_cast<int64_t>(sealed_.size());
  CHECK(TryFinishLoading(account));
  CHECK(static_cast<int64_t>(sealed_.size()) == sealed_before + arriving_blocks);
  for (const WritableBlock& block : writable_) blocks_.push_back(block.bytes().data());
  Run(arrival_began_);
}

void Sequence::AbandonLoading() {
  CHECK(state_ == SequenceState::kLoading);
  ticket_.reset();
}

void Sequence::Follow(int64_t num_blocks, const BlockKey& last) {
  CHECK(state_ == SequenceState::kLoading && num_blocks > 0);
  state_ = SequenceState::kFollowing;
  followed_blocks_ = num_blocks;
  followed_tokens_ = num_blocks * block_tokens();
  followed_key_ = last;
}

void Sequence::FollowFirstSample() {
  CHECK(state_ == SequenceState::kLoading && sample_ > 0);
  state_ = SequenceState::kFollowing;
  followed_tokens_ = prompt_tokens_ - 1 - computed_;
  // The full ones, if they are sealed.
  if (request_.cache == CacheMode::kUse) followed_blocks_ = followed_tokens_ / block_tokens();
}

void Sequence::EndFollowing(const BlockAccount& account, const LoadChoice& choice,
                            const std::function<void()>& on_loaded, absl::Time now) {
  CHECK(state_ == SequenceState::kFollowing);
  ForgetFollowed();
  StartLoading(account, choice, on_loaded, now);
}

void Sequence::Run(absl::Time now) {
  CHECK(state_ == SequenceState::kLoading && !ticket_.has_value());
  state_ = SequenceState::kRunning;
  first_running_ = std::min(first_running_, now);
}

void Sequence::Preempt(BlockAccount& account) {
  CHECK(state_ != SequenceState::kWaiting);
  ReleaseBlocks(account);
  computed_ = 0;
  ForgetFollowed();
  state_ = SequenceState::kWaiting;
}

void Sequence::ForgetFollowed() {
  followed_blocks_ = 0;
  followed_tokens_ = 0;
  followed_key_.reset();
}

int64_t Sequence::Reserve(BlockAccount& account, int64_t n) {
  CHECK(state_ == SequenceState::kRunning || state_ == SequenceState::kArriving);
  while (num_blocks() * block_tokens() < computed_ + n) {
    absl::StatusOr<WritableBlock> block = account.Allocate(ns_);
    if (!block.ok()) break;
    blocks_.push_back(block->bytes().data());
    writable_.push_back(*std::move(block));
  }
  return std::min(n, num_blocks() * block_tokens() - computed_);
}

int64_t Sequence::Advance(BlockAccount& account, int64_t n) {
  CHECK(n <= remaining());
  computed_ += n;
  CHECK(computed_ <= num_blocks() * block_tokens());
  if (request_.cache == CacheMode::kUse) SealFullBlocks(account);
  const int64_t first_time = std::clamp<int64_t>(computed_ - reached_, 0, n);
  reached_ = std::max(reached_, computed_);
  return first_time;
}

absl::Span<const std::byte> Sequence::BytesOf(int64_t block) const {
  const auto num_sealed = static_cast<int64_t>(sealed_.size());
  return block < num_sealed ? sealed_[block].bytes() : writable_[block - num_sealed].bytes();
}

void Sequence::CopyPrompt(BlockAccount& account, const Sequence& other) {
  const int64_t end = prompt_tokens_ - 1;
  const int64_t missing = end - computed_;
  CHECK(RoomWith(num_blocks()) == 0 && other.HasPrompt());
  if (missing <= 0 || Reserve(account, missing) < missing) return;
  std::vector<cachestore::BlockCopy> copies;
  for (int64_t i = computed_ / block_tokens(); i < num_blocks(); ++i) {
    copies.push_back({&writable_[i - static_cast<int64_t>(sealed_.size())], other.BytesOf(i)});
  }
  // An error is that of a device that has failed, which the next step will say.
  if (!account.store()->CopyInto(copies).ok()) return;
  computed_ = end;
  const bool on_gpu = account.store()->compute_tier() == cachestore::Tier::kGpu;
  (on_gpu ? cached_gpu_tokens_ : cached_ram_tokens_) += std::max<int64_t>(end - reached_, 0);
  reached_ = std::max(reached_, end);
}

void Sequence::SealFullBlocks(BlockAccount& account) {
  while ((static_cast<int64_t>(sealed_.size()) + 1) * block_tokens() <= computed_) {
    const size_t index = sealed_.size();
    const BlockKey parent = sealed_.empty() ? ns_.root : sealed_.back().key();
    WritableBlock block = std::move(writable_.front());
    writable_.pop_front();
    sealed_.push_back(
        account.Seal(ns_, std::move(block), parent,
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

void Sequence::ReleaseBlocks(BlockAccount& account) {
  blocks_.clear();
  ticket_.reset();
  for (; !writable_.empty(); writable_.pop_back()) account.GiveBack(std::move(writable_.back()));
  for (; !sealed_.empty(); sealed_.pop_back()) account.GiveBack(std::move(sealed_.back()));
}

GenerateResult Sequence::ResultAt(FinishReason reason, absl::Time now) const {
  GenerateResult result;
  result.finish_reason = reason;
  result.prompt_tokens = prompt_tokens_;
  result.cached_gpu_tokens = cached_gpu_tokens_;
  result.cached_ram_tokens = cached_ram_tokens_;
  result.cached_disk_tokens = cached_disk_tokens_;
  result.new_tokens = new_tokens();
  // A request that ended early never reached the later moments; they count as `now`.
  result.queue_time = std::min(first_admitted_, now) - submitted_;
  result.load_time = std::min(first_running_, now) - std::min(first_admitted_, now);
  result.ttft = std::min(first_token_, now) - submitted_;
  result.total = now - submitted_;
  return result;
}

}  // namespace reprise::engine
