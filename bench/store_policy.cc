#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/private_memory.h"
#include "bench/rounds.h"
#include "bench/store_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/policy/reuse_policy.h"

namespace reprise::bench {
namespace {

using cachestore::BlockId;
using cachestore::BlockKey;
using cachestore::kNoBlock;
using cachestore::Membership;

constexpr int64_t kChainBlocks = 64;
constexpr int64_t kUsPerChain = 10'000;
constexpr int64_t kChainsPerRound = 64;
constexpr int64_t kEvictionsPerRound = kChainsPerRound * kChainBlocks;
constexpr int kRounds = 21;
constexpr cachestore::CandidateSet kAll = 0;

// The store's default order of eviction alone, over blocks of chains that were each asked for once.
class OrderedBlocks {
 public:
  void InsertChain() {
    now_us_ += kUsPerChain;
    BlockId last = kNoBlock;
    for (int64_t i = 0; i < kChainBlocks; ++i) {
      BlockId id = static_cast<BlockId>(keys_.size());
      if (free_.empty()) {
        keys_.emplace_back();
      } else {
        id = free_.back();
        free_.pop_back();
      }
      keys_[id] = {.hi = random_.Next(), .lo = random_.Next()};
      policy_.OnInsert(id, last, keys_[id]);
      policy_.OnUse(id, last);
      policy_.Place(id, Membership::kRam, kAll);
      last = id;
    }
  }

  void Evict(int64_t num_blocks) {
    for (int64_t i = 0; i < num_blocks; ++i) {
      const BlockId id = policy_.Best(kAll);
      policy_.Place(id, Membership::kRam, cachestore::kNoSet);
      policy_.OnErase(id, keys_[id]);
      free_.push_back(id);
    }
  }

  // Of this process's memory, what is not the policy's.
  int64_t bytes_beside() const {
    return static_cast<int64_t>(keys_.size() * sizeof(BlockKey) +
                                free_.capacity() * sizeof(BlockId));
  }

 private:
  int64_t now_us_ = 0;
  cachestore::ReusePolicy policy_{[this] { return now_us_; }};
  std::vector<BlockKey> keys_;  // by id
  std::vector<BlockId> free_;
  Random random_{1};
};

absl::StatusOr<Result> MeasureBytes(Extent extent) {
  // As many as there are for store.metadata_bytes_per_block, and as many ghosts as they may have.
  const int64_t num_chains = ByExtent<int64_t>(extent, 350, 11'000);
  const int64_t num_blocks = num_chains * kChainBlocks;
  ASSIGN_OR_RETURN(const int64_t before, PrivateBytes());
  OrderedBlocks blocks;
  for (int64_t i = 0; i < num_chains; ++i) blocks.InsertChain();
  for (int64_t evicted = 0; evicted < num_blocks / 4; evicted += kEvictionsPerRound) {
    blocks.Evict(kEvictionsPerRound);
    for (int64_t i = 0; i < kChainsPerRound; ++i) blocks.InsertChain();
  }
  ASSIGN_OR_RETURN(const int64_t after, PrivateBytes());
  Result row{.metric = "policy.bytes_per_block",
             .unit = "bytes",
             .ours = static_cast<double>(after - before - blocks.bytes_beside()) /
                     static_cast<double>(num_blocks)};
  row.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 48};
  row.context = {{"blocks", absl::StrCat(num_blocks)},
                 {"chain_blocks", absl::StrCat(kChainBlocks)},
                 {"figure", "growth of the process's private resident memory, ghosts included"}};
  return row;
}

absl::StatusOr<Result> MeasureEviction(Extent extent) {
  const std::vector<int64_t> sizes =
      ByExtent<std::vector<int64_t>>(extent, {6'400, 12'800}, {100'000, 1'000'000, 10'000'000});
  std::vector<std::unique_ptr<OrderedBlocks>> all;
  std::vector<Arm> arms;
  for (const int64_t num_blocks : sizes) {
    all.push_back(std::make_unique<OrderedBlocks>());
    OrderedBlocks& blocks = *all.back();
    for (int64_t chains = num_blocks / kChainBlocks; chains > 0; --chains) blocks.InsertChain();
    arms.push_back({absl::StrCat(num_blocks, " blocks"), [&blocks]() -> absl::StatusOr<double> {
                      const double seconds = SecondsOf([&] { blocks.Evict(kEvictionsPerRound); });
                      for (int64_t i = 0; i < kChainsPerRound; ++i) blocks.InsertChain();
                      return 1e9 * seconds / kEvictionsPerRound;
                    }});
  }
  ASSIGN_OR_RETURN(const std::vector<double> ns, MedianOfRounds("policy.evict", kRounds, arms));
  Result row{.metric = "policy.evict_ns", .unit = "ns", .ours = ns.back(), .limit = ns.front()};
  row.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 2000};
  for (size_t i = 0; i < sizes.size(); ++i) {
    row.context[absl::StrCat("at_", sizes[i])] = absl::StrFormat("%.0f ns", ns[i]);
  }
  return row;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasurePolicy(Extent extent) {
  std::vector<Result> rows;
  ASSIGN_OR_RETURN(Result bytes, MeasureBytes(extent));
  rows.push_back(std::move(bytes));
  ASSIGN_OR_RETURN(Result evict, MeasureEviction(extent));
  rows.push_back(std::move(evict));
  return rows;
}

}  // namespace reprise::bench
