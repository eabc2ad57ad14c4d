#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/generated_tier.h"
#include "bench/rounds.h"
#include "bench/store_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::bench {
namespace {

using cachestore::BlockKey;
using cachestore::NamespaceHandle;
using cachestore::TieredStore;
using cachestore::TokenId;

constexpr int64_t kBlockBytes = 4096;
constexpr int64_t kRamBlocks = 4096;
constexpr int64_t kChainBlocks = 64;
constexpr int64_t kChainsPerRound = 8;
constexpr int64_t kMatchesPerRound = 400;

// A store with a full lower tier of `num_blocks` generated blocks, and a little RAM that new chains
// are put into and evicted from. Costs are seconds per block.
class GrownStore {
 public:
  static absl::StatusOr<std::unique_ptr<GrownStore>> Open(int64_t num_blocks) {
    const cachestore::NamespaceIdentity identity = SyntheticIdentity(kBlockBytes);
    cachestore::StoreOptions options;
    options.ram.capacity_bytes = kRamBlocks * kBlockBytes;
    ASSIGN_OR_RETURN(
        std::unique_ptr<TieredStore> store,
        TieredStore::Open(options, std::make_unique<GeneratedTier>(
                                       identity, ChainLengths({kChainBlocks}, num_blocks))));
    ASSIGN_OR_RETURN(const NamespaceHandle ns, store->OpenNamespace(identity));
    return std::unique_ptr<GrownStore>(new GrownStore(num_blocks, std::move(store), ns));
  }

  int64_t num_blocks() const { return num_blocks_; }

  // Allocates and seals new chains; their payload is not written.
  absl::StatusOr<double> Put() {
    first_in_ram_ = next_chain_;
    double seconds = 0;
    for (int64_t i = 0; i < kChainsPerRound; ++i) {
      const std::vector<TokenId> tokens = Tokens(next_chain_++);
      absl::Status status;
      seconds += SecondsOf([&] { status = PutChain(tokens); });
      RETURN_IF_ERROR(status);
    }
    return seconds / (kChainsPerRound * kChainBlocks);
  }

  // Pins and unpins, in RAM, the chains of the last Put.
  absl::StatusOr<double> Get() {
    double seconds = 0;
    for (int64_t i = 0; i < kChainsPerRound; ++i) {
      const std::vector<TokenId> tokens = Tokens(first_in_ram_ + i);
      int64_t blocks = 0;
      seconds += SecondsOf(
          [&] { blocks = store_->Pin(ns_, tokens, kChainBlocks, nullptr).Take().ram_blocks; });
      CHECK(blocks == kChainBlocks);
    }
    return seconds / (kChainsPerRound * kChainBlocks);
  }

  // Moves the chains of the last Put to the full lower tier, which gives up as many blocks.
  absl::StatusOr<double> Evict() {
    absl::StatusOr<int64_t> moved;
    const double seconds = SecondsOf([&] { moved = store_->Demote(); });
    RETURN_IF_ERROR(moved.status());
    CHECK(*moved == kChainsPerRound * kChainBlocks);
    return seconds / static_cast<double>(*moved);
  }

  // Matches chains at random among the younger half, which eviction has not reached.
  double Match() {
    const int64_t younger_half = std::max<int64_t>(1, num_blocks_ / kChainBlocks / 2);
    double seconds = 0;
    int64_t blocks = 0;
    for (int64_t i = 0; i < kMatchesPerRound; ++i) {
      const std::vector<TokenId> tokens = Tokens(next_chain_ - 1 - random_.Below(younger_half));
      seconds +=
          SecondsOf([&] { blocks += store_->Match(ns_, tokens, kChainBlocks).total_blocks(); });
    }
    CHECK(blocks > 0);
    return seconds / static_cast<double>(blocks);
  }

 private:
  GrownStore(int64_t num_blocks, std::unique_ptr<TieredStore> store, const NamespaceHandle& ns)
      : num_blocks_(num_blocks),
        store_(std::move(store)),
        ns_(ns),
        next_chain_(num_blocks / kChainBlocks) {}

  static std::vector<TokenId> Tokens(int64_t chain) {
    return SyntheticTokens(static_cast<uint64_t>(chain), kChainBlocks * kBlockTokens);
  }

  absl::Status PutChain(absl::Span<const TokenId> tokens) {
    BlockKey parent = ns_.root;
    cachestore::BlockRef last;
    for (int64_t i = 0; i < kChainBlocks; ++i) {
      ASSIGN_OR_RETURN(cachestore::WritableBlock block, store_->Allocate(ns_));
      last = store_->Seal(ns_, std::move(block), parent,
                          tokens.subspan(i * kBlockTokens, kBlockTokens));
      parent = last.key();
    }
    return absl::OkStatus();
  }

  const int64_t num_blocks_;
  const std::unique_ptr<TieredStore> store_;
  const NamespaceHandle ns_;
  int64_t next_chain_;
  int64_t first_in_ram_ = 0;
  Random random_{4};
};

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureGrowth(Extent extent) {
  const std::vector<int64_t> sizes = ByExtent<std::vector<int64_t>>(
      extent, {1'000, 10'000}, {10'000, 100'000, 1'000'000, 10'000'000});
  std::vector<std::unique_ptr<GrownStore>> stores;
  for (const int64_t size : sizes) {
    ASSIGN_OR_RETURN(stores.emplace_back(), GrownStore::Open(size));
  }
  const char* const operations[] = {"put", "get", "evict", "match"};
  std::vector<Arm> arms;
  for (const std::unique_ptr<GrownStore>& store : stores) {
    GrownStore* const grown = store.get();
    const std::string name = absl::StrCat(grown->num_blocks(), " blocks");
    arms.push_back({name, [grown] { return grown->Put(); }});
    arms.push_back({name, [grown] { return grown->Get(); }});
    arms.push_back({name, [grown] { return grown->Evict(); }});
    arms.push_back({name, [grown] { return grown->Match(); }});
  }
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("growth", ByExtent(extent, 1, 101), arms));
  std::vector<Result> rows;
  for (size_t i = 0; i < std::size(operations); ++i) {
    const auto nanoseconds = [&](size_t size) {
      return seconds[size * std::size(operations) + i] * 1e9;
    };
    Result row{.metric = absl::StrCat("growth.", operations[i]),
               .unit = "ns/block",
               .ours = nanoseconds(sizes.size() - 1)};
    row.limit = nanoseconds(0);
    row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 2};
    for (size_t size = 0; size < sizes.size(); ++size) {
      row.context[absl::StrCat("ns_at_", sizes[size])] = absl::StrFormat("%.1f", nanoseconds(size));
    }
    row.context["limit"] = absl::StrCat("the same with ", sizes[0], " blocks");
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace reprise::bench
