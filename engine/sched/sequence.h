// Sequence: one request on its way through the engine: its tokens, and the blocks with their KV.
//
//     tokens  | prompt ....................................... | new tokens ........ |
//     KV      | computed positions ................................ | not yet        |
//     blocks  | sealed (BlockRef: pinned) ....... | writable (WritableBlock) .. |
//
// Invariants:
//  (1) blocks()[i] points at the bytes of positions [i x block_tokens, (i + 1) x block_tokens).
//  (2) Sealed blocks lead, writable blocks follow; positions not yet computed are in writable ones.
//  (3) With CacheMode::kOff nothing is sealed and nothing comes from the store.
//
// A preempted sequence keeps its tokens and gives its blocks back. Admitted again, it pins what is
// still in the store and computes the rest once more; its next token is the one that it would have
// been, because a token's KV depends on the tokens before it alone.
//
// Owns its pins and slots, which are counted in a BlockAccount. Engine-thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cachestore/store/block_ref.h"
#include "cachestore/store/pin_ticket.h"
#include "cachestore/store/tiered_store.h"
#include "engine/sched/block_account.h"
#include "engine/sched/load_choice.h"
#include "engine/sched/request.h"

namespace reprise::engine {

using SequenceId = uint64_t;

// waiting: queued, holds no blocks. loading: its cached prefix is being made resident. following:
// another sequence computes its next blocks. running: takes part in steps. arriving, during a step:
// takes part in it while the prefix before its tokens is still being loaded.
enum class SequenceState { kWaiting, kLoading, kFollowing, kRunning, kArriving };

class Sequence {
 public:
  // `ns` is the namespace of the request's tenant and salt. The samples of one request have
  // consecutive ids and, but for the seed, equal requests. REQUIRES: the prompt is not empty.
  Sequence(SequenceId id, const cachestore::NamespaceHandle& ns, GenerateRequest request,
           absl::Time submitted, int32_t sample = 0);

  SequenceId id() const { return id_; }
  // Which of its request's samples it is, and the id of the first of them.
  int32_t sample() const { return sample_; }
  SequenceId request_id() const { return id_ - static_cast<SequenceId>(sample_); }
  SequenceState state() const { return state_; }
  const GenerateRequest& request() const { return request_; }
  const cachestore::NamespaceHandle& ns() const { return ns_; }
  // The prompt, then the new tokens. Valid until Append().
  absl::Span<const uint32_t> tokens() const { return tokens_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t new_tokens() const { return static_cast<int64_t>(tokens_.size()) - prompt_tokens_; }
  // Prompt tokens whose KV came from the store.
  int64_t cached_tokens() const {
    return cached_gpu_tokens_ + cached_ram_tokens_ + cached_disk_tokens_;
  }
  // Positions [0, computed()) have their KV in blocks().
  int64_t computed() const { return computed_; }
  // Tokens without KV; at least one until the sequence ends.
  int64_t remaining() const { return static_cast<int64_t>(tokens_.size()) - computed_; }
  // The next `n` tokens to compute. REQUIRES: n <= remaining(). Valid until Append().
  absl::Span<const uint32_t> NextTokens(int64_t n) const;
  // The block table, for the model. Valid until the next non-const call.
  absl::Span<std::byte* const> blocks() const { return blocks_; }

  // Keys of the full blocks of its tokens, the last token left out; none with CacheMode::kOff.
  // Valid until Append().
  absl::Span<const cachestore::BlockKey> FullBlockKeys();
  // Of these, the keys of the blocks that are not sealed here.
  absl::Span<const cachestore::BlockKey> UnsealedBlockKeys();
  size_t num_sealed_blocks() const { return sealed_.size(); }
  int64_t num_blocks() const { return static_cast<int64_t>(blocks_.size()); }
  // Of these, those that it pins, root first, and those behind them that it writes.
  absl::Span<const cachestore::BlockRef> sealed_blocks() const { return sealed_; }
  int64_t num_writable_blocks() const { return static_cast<int64_t>(writable_.size()); }
  // Blocks that its tokens need, and those of them that it neither has nor gets by following.
  int64_t NeededBlocks() const;
  int64_t MissingBlocks() const;
  // Tokens that it has to compute, as far as is known: not those that are loaded or followed.
  int64_t MissingTokens() const;
  // Tokens that can be computed with so many blocks.
  int64_t RoomWith(int64_t blocks) const { return blocks * block_tokens() - computed_; }
  // Whether the next token to compute has no block yet.
  bool LacksBlock() const { return RoomWith(num_blocks()) == 0; }

  // The blocks that may be loaded before it runs; none with CacheMode::kOff.
  cachestore::BlockRange LoadableBlocks() const;
  // waiting -> loading, of LoadableBlocks() as many as chosen. `turn` counts admissions; the first
  // one's stays. `on_loaded` as TieredStore::Pin's on_done.
  void Admit(int64_t turn, const BlockAccount& account, const LoadChoice& choice,
             const std::function<void()>& on_loaded, absl::Time now);
  // Takes over what was loaded. False: loads go on. True: Run() or Follow() comes next.
  bool TryFinishLoading(BlockAccount& account);
  // loading -> arriving: blocks() holds the addresses that the cached prefix comes to, and
  // computed() is its end. False: not loaded by layer, not all of it has a place, or tried before.
  bool TryBeginArrival(absl::Time now);
  // Waits until the first `bytes` bytes of every block that arrives are there; for whole blocks,
  // until the prefix is safe. False: it does not come, or not while there is patience. BLOCKS.
  bool AwaitPrefix(uint64_t bytes) const;
  // arriving -> running, when the step has counted on a prefix that is safe; else -> loading, as if
  // the step had not been.
  void EndArrival(BlockAccount& account, bool prefix_is_safe);
  // Does without what is not loaded; Run() or Follow() comes next.
  void AbandonLoading();
  // loading -> following: until nobody computes the next `num_blocks` blocks any more, the last of
  // which has the key `last`.
  void Follow(int64_t num_blocks, const cachestore::BlockKey& last);
  // loading -> following: until the request's first sample has computed the prompt.
  void FollowFirstSample();
  // following -> loading.
  void EndFollowing(const BlockAccount& account, const LoadChoice& choice,
                    const std::function<void()>& on_loaded, absl::Time now);
  // loading -> running.
  void Run(absl::Time now);
  // Any state -> waiting, without blocks.
  void Preempt(BlockAccount& account);
  // When it began to load, and whether cached blocks were not there when its patience ended.
  absl::Time load_started() const { return load_started_; }
  bool load_was_late() const { return load_was_late_; }
  // The last block that it waits for; none when it follows nobody, or its request's first sample.
  const std::optional<cachestore::BlockKey>& followed_key() const { return followed_key_; }
  // Whether it has been admitted before: it was preempted if it waits.
  bool was_admitted() const { return first_admitted_ < absl::InfiniteFuture(); }
  // The order in which admitted sequences get what there is: higher priority, then who was admitted
  // first. Not by age: that would put a tenant's flood before others whose turn has come.
  bool RanksBefore(const Sequence& other) const {
    if (request_.priority != other.request_.priority) {
      return request_.priority > other.request_.priority;
    }
    return turn_ < other.turn_;
  }

  // Takes slots until positions [0, computed() + n) have blocks; returns how many of the n have.
  // Fewer than n: the store had no room. Never blocks.
  int64_t Reserve(BlockAccount& account, int64_t n);
  // The KV of the next `n` tokens is in blocks(). Seals the blocks that became full, in order.
  // Returns how many of the n had their KV for the first time; the others were preempted since.
  // REQUIRES: Reserve() gave n.
  int64_t Advance(BlockAccount& account, int64_t n);
  // Whether its prompt's KV is in blocks(), but for that of the last token, which gives the logits.
  bool HasPrompt() const { return computed_ >= prompt_tokens_ - 1; }
  // Copies what it lacks of the prompt's KV, but for that of the last token, from another sample of
  // the request into blocks of its own. Where slots are short, it is left to be computed. On a
  // device, the steps to come find the copy; those before it have written `other`.
  // REQUIRES: running, other.HasPrompt(), and whole blocks are computed.
  void CopyPrompt(BlockAccount& account, const Sequence& other);
  // Adds a sampled token. REQUIRES: remaining() == 0.
  void Append(uint32_t token, absl::Time now);
  // Tells the store which blocks the request will look up, of a sequence that waits. The others of
  // the request need not.
  void TellAhead(const BlockAccount& account) const;
  // Tells the store that the request has ended, of a sequence that was admitted. Before its blocks
  // are released.
  void TellEnd(const BlockAccount& account, FinishReason reason) const;
  // Gives back all pins and slots, last block first, so that the store sees parents used last.
  void ReleaseBlocks(BlockAccount& account);

  // The result as of `now`.
  GenerateResult ResultAt(FinishReason reason, absl::Time now) const;

 private:
  int64_t block_tokens() const { return ns_.layout.block_tokens; }
  // Of its block number `block`, sealed or not.
  absl::Span<const std::byte> BytesOf(int64_t block) const;
  void SealFullBlocks(BlockAccount& account);
  void ForgetFollowed();
  void StartLoading(const BlockAccount& account, const LoadChoice& choice,
                    const std::function<void()>& on_loaded, absl::Time now);
  // The hints of its next lookup: those of the request the first time, if they are those of all
  // that it looks up.
  cachestore::RequestHints LookupHints(const BlockAccount& account, const LoadChoice& choice);

  // Constant after construction.
  const SequenceId id_;
  const int32_t sample_;
  const cachestore::NamespaceHandle ns_;
  const GenerateRequest request_;
  const int64_t prompt_tokens_;
  const absl::Time submitted_;

  SequenceState state_ = SequenceState::kWaiting;
  std::vector<uint32_t> tokens_;  // prompt and new tokens
  std::vector<cachestore::BlockKey> keys_;
  int64_t computed_ = 0;
  int64_t reached_ = 0;  // the most computed_ has been
  int64_t cached_gpu_tokens_ = 0;
  int64_t cached_ram_tokens_ = 0;
  int64_t cached_disk_tokens_ = 0;

  std::optional<cachestore::PinTicket> ticket_;     // while loading, unless there is nothing to
  std::vector<cachestore::BlockRef> sealed_;        // root first
  std::deque<cachestore::WritableBlock> writable_;  // after the sealed ones
  std::vector<std::byte*> blocks_;                  // of both

  // While arriving, the blocks that do.
  int64_t arriving_blocks_ = 0;
  bool may_arrive_ = false;  // the load is by layer, and no step has tried to use it so
  absl::Duration arrival_patience_;
  absl::Time arrival_began_ = absl::InfiniteFuture();

  // What it gets by following: blocks that it shares, and tokens, those included that it copies.
  // Nothing unless following.
  int64_t followed_blocks_ = 0;
  int64_t followed_tokens_ = 0;
  std::optional<cachestore::BlockKey> followed_key_;

  int64_t turn_ = std::numeric_limits<int64_t>::max();  // of the first admission
  bool told_ = false;                                   // the store knows of the request
  bool load_was_late_ = false;
  absl::Time load_started_ = absl::InfiniteFuture();
  absl::Time load_deadline_ = absl::InfiniteFuture();
  absl::Time first_admitted_ = absl::InfiniteFuture();
  absl::Time first_running_ = absl::InfiniteFuture();
  absl::Time first_token_ = absl::InfiniteFuture();
};

}  // namespace reprise::engine
