// ReusePolicy: gives up first what is worth the least to keep, in expected hits per second held, as
// a model says that learns while it serves (ReuseModel).
//
// A request parts the blocks of its chain into groups that share a fate, by what they were to it
// (UseRole); every block is in the group of the request that used it last. A block's place in the
// order is that of its group, which changes with the group's age; of a group the deepest block goes
// first. Blocks that left the store are watched on as ghosts, 65,536 of them or one for 16
// blocks. With RequestHints::Use::kAhead and a number, the blocks that a waiting request will use
// go last until it has come, or for a minute.
//
// What callers tell of their requests helps (RequestHints, which says what each is used for): it
// may make a block's place wrong, and never what is served.
//
// A hit counts for what it saves: with `attention_tokens` a token's prefill costs 1 + position /
// attention_tokens, so what comes late in long prompts stays longer.
//
// Where LRU would do better than the model, as a sample of the requests of late says
// (ShadowCaches), blocks go in its order until that is over: by the request that used them last, of
// the same priority, the earliest first.
//
// Time passes from request to request: what happens between two has the time of the one before, so
// that a replay of requests and their times decides as the store did.
//
// No knobs, no warm-up, no clock, and no random number: the same calls give the same order.
// Thread-compatible.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/base/huge_page_allocator.h"
#include "cachestore/policy/block_sets.h"
#include "cachestore/policy/eviction_policy.h"
#include "cachestore/policy/ghost_table.h"
#include "cachestore/policy/ranked_sets.h"
#include "cachestore/policy/request_book.h"
#include "cachestore/policy/reuse_model.h"
#include "cachestore/policy/shadow_caches.h"
#include "cachestore/policy/use_groups.h"
#include "cachestore/policy/waiting_requests.h"

namespace reprise::cachestore {

class ReusePolicy : public EvictionPolicy {
 public:
  // `attention_tokens`: how far into a prompt a token's attention takes as much to compute as all
  // else of it; 0: all tokens cost the same.
  explicit ReusePolicy(int64_t attention_tokens = 0);
  ReusePolicy(const ReusePolicy&) = delete;
  ReusePolicy& operator=(const ReusePolicy&) = delete;

  void Reserve(size_t num_blocks) override { blocks_.reserve(num_blocks); }
  void OnInsert(BlockId id, BlockId parent, const BlockKey& key) override;
  void OnErase(BlockId id, const BlockKey& key) override;
  void OnRequest(const StoreRequest& request) override;
  void OnRequestEnd(const StoreRequestEnd& end) override;
  void OnUse(BlockId id, BlockId idle_parent) override;
  void OnRecover(BlockId id) override;
  void Place(BlockId id, Membership membership, CandidateSet set) override;
  CandidateSet SetOf(BlockId id, Membership membership) const override;
  BlockId Best(CandidateSet set) const override { return sets_.Best(RankedSetOf(set)); }
  void ProposeVictims(CandidateSet set, absl::FunctionRef<bool(BlockId)> consider) const override {
    sets_.Visit(RankedSetOf(set), consider);
  }
  bool GoesBefore(BlockId a, BlockId b) const override;
  double ReuseProbability(BlockId id) const override;
  bool has_places() const override { return true; }
  std::optional<uint64_t> PlaceOf(BlockId id, const BlockKey& key) override;
  uint64_t TakeMoment() override { return moment_++; }
  bool UsedSince(BlockId id, uint64_t moment) const override;
  size_t size(CandidateSet set) const override { return sets_.size(RankedSetOf(set)); }

  std::string SerializeModel() const override { return model_.Serialize(); }
  absl::Status RestoreModel(absl::string_view bytes) override { return model_.Restore(bytes); }

 private:
  struct Block {
    GroupId group = kNoGroup;
    uint32_t depth : RankedSets::kDepthBits = 0;
    uint32_t awaited : 8 = 0;  // waiting requests that will use it
    BlockSets sets;
    uint16_t uses = 0;   // requests that used it
    uint16_t since = 0;  // the turn of its conversation in which it came
    uint32_t used = 0;   // before which moment it was used last
  };
  static_assert(sizeof(Block) == 24);

  // Known are the blocks that some request has used before.
  struct Known {
    // Leading ones of the request's.
    size_t blocks() const { return matched.size() + ghosts.size(); }

    absl::Span<const BlockId> matched;   // the first ones, in the store
    std::vector<Ghost*> ghosts;          // the others; valid until one is added or taken
    GroupId last_group = kNoGroup;       // of the last of them
    RequestId turn_before = kNoRequest;  // whose conversation the request goes on with
    bool is_rewritten = false;           // and not from its blocks
  };
  // A turn's groups that a later one may leave behind, and their numbers.
  using GroupsOfTurn = std::array<std::pair<GroupId, uint64_t>, kNumUseRoles>;

  // The owner's sets come behind the one that is not its.
  static CandidateSet RankedSetOf(CandidateSet set) { return UseGroups::kShadowSet + 1 + set; }

  // REQUIRES: the block is there.
  Block& At(BlockId id);

  // The parts of OnRequest.
  Known Look(const StoreRequest& request);
  // Of the request's block `i`, which is known.
  GroupId GroupOfKnown(const Known& known, size_t i) const;
  void ObserveReuse(const Known& known);
  static GroupsOfTurn NoGroups();
  GroupsOfTurn GroupsOf(RequestId request);
  void MoveToGroupsOf(RequestId id, const StoreRequest& request, const Known& known);
  // Whether the order that is learned serves requests like this one better than LRU would.
  void CompareOrders(RequestId id, const StoreRequest& request);
  // The request will bring a block with this key, by which it is known when it comes.
  void ExpectBlock(RequestId id, const BlockKey& key, size_t depth);
  void AddGhost(const BlockKey& key, const Ghost& ghost);
  // Whether the blocks are those of a request that was told of and has not ended. Whoever looks at
  // others without telling what for is taken for a request.
  bool IsPartOfOpen(const Known& known, int64_t time_us) const;
  // The blocks are used now, and nothing is learned by it.
  void Refresh(absl::Span<const BlockId> matched);

  void OnWaiting(const StoreRequest& request, int64_t time_us);
  // Those of a request that waits no more.
  void Release(absl::Span<const BlockId> awaited);
  void ReleaseOverdue(int64_t time_us);
  void Advance(int64_t time_us);

  // What a block that comes below those of the request is to it.
  UseRole RoleOfNew(RequestId request, uint32_t depth) const;
  // The group of the last request of a conversation for this role, begun if there is none. Give a
  // new one a member next, or hold it.
  GroupId GroupFor(RequestId request, UseRole role);
  // A group for a block of which no request told.
  GroupId NewGroup(UseRole role, uint32_t depth);
  // The group that a new block joins which comes below `parent`.
  GroupId GroupBelow(BlockId parent, Block& block);

  void Join(BlockId id, GroupId group);
  // Takes the block out of its sets, changes it, and puts it back.
  template <typename Change>
  void Reenter(BlockId id, Change change);
  // Where the block stands in the sets that it is in.
  RankedSets::Rank RankOf(const Block& block) const;
  void EnterSet(BlockId id, CandidateSet set);
  void LeaveSet(BlockId id, CandidateSet set);

  int64_t now_us_ = 0;   // time of the last request
  uint32_t moment_ = 0;  // the next one to be taken
  ReuseModel model_;
  RequestBook requests_;
  RankedSets sets_;
  UseGroups groups_;
  ShadowCaches shadows_{groups_, sets_};
  GhostTable ghosts_;
  std::vector<Block, HugePageAllocator<Block>> blocks_;  // by BlockId
  size_t num_blocks_ = 0;
  bool is_full_ = false;  // a block had to go, so the order matters
  WaitingRequests waiting_;
  BlockId last_recovered_ = kNoBlock;
};

}  // namespace reprise::cachestore
