#include "bench/hitrate/index_cost.h"

#include <memory>
#include <string>
#include <vector>

#include "bench/hitrate/sweep.h"
#include "cachestore/base/check.h"
#include "cachestore/policy/reuse_policy.h"

namespace reprise::bench {
namespace {

using cachestore::BlockId;
using cachestore::BlockKey;
using cachestore::CandidateSet;
using cachestore::Membership;

// Writes down what goes. A replay asks once for each.
class NotedPolicy : public cachestore::ReusePolicy {
 public:
  explicit NotedPolicy(std::vector<BlockId>* victims) : victims_(victims) {}

  BlockId Best(CandidateSet set) const override {
    victims_->push_back(ReusePolicy::Best(set));
    return victims_->back();
  }

 private:
  std::vector<BlockId>* const victims_;
};

// Has go what was written down, and does nothing else.
class WrittenPolicy : public cachestore::EvictionPolicy {
 public:
  explicit WrittenPolicy(const std::vector<BlockId>* victims) : victims_(victims) {}

  void Reserve(size_t) override {}
  void OnInsert(BlockId, BlockId, const BlockKey&) override {}
  void OnErase(BlockId, const BlockKey&) override {}
  void OnRequest(const cachestore::StoreRequest&) override {}
  void OnRequestEnd(const cachestore::StoreRequestEnd&) override {}
  void OnUse(BlockId, BlockId) override {}
  void OnRecover(BlockId) override {}
  void Place(BlockId, Membership, CandidateSet) override {}
  CandidateSet SetOf(BlockId, Membership) const override { return cachestore::kNoSet; }
  BlockId Best(CandidateSet) const override { return (*victims_)[next_++]; }
  void ProposeVictims(CandidateSet, absl::FunctionRef<bool(BlockId)>) const override {}
  bool GoesBefore(BlockId, BlockId) const override { return false; }
  double ReuseProbability(BlockId) const override { return 1; }
  uint64_t TakeMoment() override { return 0; }
  bool UsedSince(BlockId, uint64_t) const override { return false; }
  size_t size(CandidateSet) const override { return 0; }
  std::string SerializeModel() const override { return {}; }
  absl::Status RestoreModel(absl::string_view) override { return absl::OkStatus(); }

 private:
  const std::vector<BlockId>* const victims_;
  mutable size_t next_ = 0;
};

}  // namespace

double SecondsOfIndex(const cachestore::Trace& trace, int64_t capacity, MakeRoom make_room) {
  std::vector<BlockId> victims;
  StoreCache noted([&] { return std::make_unique<NotedPolicy>(&victims); }, trace, capacity,
                   make_room);
  const Tally hits = Replay(trace, noted);
  StoreCache cache([&] { return std::make_unique<WrittenPolicy>(&victims); }, trace, capacity,
                   make_room);
  const double begin = CpuSeconds();
  const Tally again = Replay(trace, cache);
  const double seconds = CpuSeconds() - begin;
  CHECK(again.hit_blocks == hits.hit_blocks);
  return seconds;
}

}  // namespace reprise::bench
