// EvictionPolicy: in which order blocks are given up. It is told which blocks there are, which
// requests use them and how those end, and keeps the blocks that may go now in candidate sets, from
// "goes first" to "goes last". It proposes and never removes: the owner decides and reports what it
// did.
//
// What a set means is the owner's business: blocks of one slot size that may be evicted from RAM,
// for example. A block is in at most one set of each membership, and has one place in the order
// whatever sets it is in, so that victims of different sets can be compared. Blocks used together
// go from the end of their chain, where the policy knows no difference between them. The order may
// change with time, between calls that are not const. All calls but SetOf are for blocks that are
// there: after OnInsert and before OnErase.
//
// Thread-compatible: the owner's lock guards every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/block/block_id.h"
#include "cachestore/block/block_key.h"
#include "cachestore/policy/store_request.h"

namespace reprise::cachestore {

// Numbers a candidate set; small numbers, chosen by the owner: less than kMaxCandidateSets.
using CandidateSet = uint32_t;
inline constexpr CandidateSet kNoSet = 0xffffffff;
inline constexpr CandidateSet kMaxCandidateSets = 2'000'000;

// The ways in which a block can be a candidate at the same time: for its copy in each tier.
enum class Membership : uint8_t { kRam, kDisk, kGpu };
inline constexpr int kNumMemberships = 3;
inline constexpr Membership kMemberships[] = {Membership::kRam, Membership::kDisk,
                                              Membership::kGpu};

class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  // Room for so many blocks without moving what is there.
  virtual void Reserve(size_t num_blocks) = 0;

  // A block is there now, before anything else is told of it, below `parent`; kNoBlock: it is the
  // first one of its chain.
  virtual void OnInsert(BlockId id, BlockId parent, const BlockKey& key) = 0;
  // It is gone from every tier. REQUIRES: it is in no set.
  virtual void OnErase(BlockId id, const BlockKey& key) = 0;

  // A request looks up its blocks and uses those that are there.
  virtual void OnRequest(const StoreRequest& request) = 0;
  virtual void OnRequestEnd(const StoreRequestEnd& end) = 0;
  // A use of `id` ends now. When its parent is idle too, pass that as `idle_parent`: both were used
  // together, and `id` goes before it. kNoBlock otherwise.
  virtual void OnUse(BlockId id, BlockId idle_parent) = 0;
  // `id` was found on disk at the start; goes after all that were told of before.
  virtual void OnRecover(BlockId id) = 0;

  // Moves `id` from the set of this membership that it is in to `set`; kNoSet for none. Its place
  // in the order stays what it was.
  virtual void Place(BlockId id, Membership membership, CandidateSet set) = 0;
  // kNoSet for a block that is not there.
  virtual CandidateSet SetOf(BlockId id, Membership membership) const = 0;

  // The block of `set` that goes first; kNoBlock when the set is empty.
  virtual BlockId Best(CandidateSet set) const = 0;
  // Calls `consider` for the blocks of `set`, the one that goes first at first, until it returns
  // false or there are no more. `consider` must not change the policy.
  virtual void ProposeVictims(CandidateSet set,
                              absl::FunctionRef<bool(BlockId)> consider) const = 0;
  // Whether `a` goes before `b`.
  virtual bool GoesBefore(BlockId a, BlockId b) const = 0;
  // The probability that a request uses `id` again, as far as can be told; 1: it cannot.
  virtual double ReuseProbability(BlockId id) const = 0;

  // Whether PlaceOf tells anything; else what goes first is what was used first.
  virtual bool has_places() const { return false; }
  // Where the block of `key` stands in the order of all blocks, larger: it goes later; of blocks
  // that have left the store (`id` is kNoBlock) where they would. nullopt: not remembered.
  virtual std::optional<uint64_t> PlaceOf(BlockId /*id*/, const BlockKey& /*key*/) {
    return std::nullopt;
  }

  // A moment between uses, and whether `id` was used after it.
  virtual uint64_t TakeMoment() = 0;
  virtual bool UsedSince(BlockId id, uint64_t moment) const = 0;

  virtual size_t size(CandidateSet set) const = 0;

  // What it has learned, for a policy of another process; empty: it does not learn.
  virtual std::string SerializeModel() const = 0;
  // Goes on from there. Call before it is told of a block. kInvalidArgument: these bytes are none
  // of its own, and nothing has changed.
  virtual absl::Status RestoreModel(absl::string_view bytes) = 0;
};

}  // namespace reprise::cachestore
