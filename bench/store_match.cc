#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "bench/generated_tier.h"
#include "bench/rounds.h"
#include "bench/store_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/index/prefix_index.h"
#include "cachestore/policy/sampled_curve.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::bench {
namespace {

using cachestore::BlockId;
using cachestore::BlockKey;
using cachestore::NamespaceHandle;
using cachestore::PrefixIndex;
using cachestore::StoredBlock;
using cachestore::TieredStore;
using cachestore::TokenId;

constexpr int64_t kBlockBytes = 4096;

// Enters what `tier` holds into `index`, as blocks in RAM.
absl::Status Fill(GeneratedTier& tier, const BlockKey& root, PrefixIndex& index) {
  const uint32_t ns = index.AddNamespace(root, kBlockTokens);
  index.Reserve(static_cast<size_t>(tier.num_blocks()));
  return tier.ForEach([&](const StoredBlock& block) {
    const BlockId parent = block.parent == root ? index.root_node(ns) : index.Find(block.parent);
    const BlockId id = index.Insert(parent, block.key, block.tokens);
    index.AttachRam(id, static_cast<uint32_t>(block.sequence));
  });
}

// The prompts of one round: whole chains, chosen at random.
struct Prompt {
  std::vector<TokenId> tokens;
  std::vector<BlockKey> keys;
};

class Prompts {
 public:
  Prompts(std::vector<int64_t> chain_lengths, const BlockKey& root)
      : chain_lengths_(std::move(chain_lengths)), root_(root) {}

  // Seconds that `match` takes for `count` prompts, by block. Making a prompt is not timed; it
  // also means that the prompt is in the CPU's caches and the index is not.
  double SecondsPerBlock(int count, const std::function<size_t(const Prompt&)>& match) {
    double seconds = 0;
    size_t blocks = 0;
    for (int i = 0; i < count; ++i) {
      const int64_t chain = random_.Below(static_cast<int64_t>(chain_lengths_.size()));
      Prompt prompt;
      prompt.tokens = SyntheticTokens(chain, chain_lengths_[chain] * kBlockTokens);
      prompt.keys = cachestore::ChainKeys(root_, prompt.tokens, kBlockTokens);
      size_t matched = 0;
      seconds += SecondsOf([&] { matched = match(prompt); });
      CHECK(matched == prompt.keys.size());
      blocks += matched;
    }
    return seconds / static_cast<double>(blocks);
  }

 private:
  const std::vector<int64_t> chain_lengths_;
  const BlockKey root_;
  Random random_{2};
};

// The limit of a match by random access: for each block one line of a table and the two lines of a
// node, at addresses that are known beforehand, in memory as large as the index's. They are
// fetched a window ahead, so that as many are under way as the CPU can have.
class RandomLines {
 public:
  explicit RandomLines(int64_t num_blocks)
      : nodes_(static_cast<uint64_t>(num_blocks)),
        table_lines_(nodes_ * kTableBytesPerBlock / kLineBytes + 1),
        lines_(static_cast<std::byte*>(std::aligned_alloc(kHugePage, bytes())), &std::free) {
    CHECK(lines_ != nullptr);
    (void)madvise(lines_.get(), bytes(), MADV_HUGEPAGE);
    std::memset(lines_.get(), 1, bytes());
  }

  double SecondsPerBlock(int64_t count) {
    uint64_t sum = 0;
    const double seconds = SecondsOf([&] {
      for (int64_t i = 0; i < count; i += kWindow) {
        const std::byte* window[kWindow][3];
        for (auto& [entry, node, tokens] : window) {
          const uint64_t random = random_.Next();
          node = lines_.get() + ((random >> 32) * nodes_ >> 32) * 2 * kLineBytes;
          tokens = node + kLineBytes;
          entry = lines_.get() +
                  (2 * nodes_ + ((random & 0xffffffff) * table_lines_ >> 32)) * kLineBytes;
          for (const std::byte* line : {entry, node, tokens}) __builtin_prefetch(line);
        }
        for (const auto& [entry, node, tokens] : window) {
          sum += static_cast<uint64_t>(*entry) + static_cast<uint64_t>(*node) +
                 static_cast<uint64_t>(*tokens);
        }
      }
    });
    CHECK(sum > 0);
    return seconds / static_cast<double>(count);
  }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;
  static constexpr size_t kLineBytes = 64;
  static constexpr uint64_t kTableBytesPerBlock = 16;
  static constexpr int64_t kWindow = 32;

  size_t bytes() const {
    return ((2 * nodes_ + table_lines_) * kLineBytes + kHugePage - 1) / kHugePage * kHugePage;
  }

  const uint64_t nodes_;
  const uint64_t table_lines_;
  std::unique_ptr<std::byte, decltype(&std::free)> lines_;
  Random random_{3};
};

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureMatch(Extent extent) {
  const int64_t num_blocks = ByExtent<int64_t>(extent, 20'000, 10'000'000);
  const std::vector<int64_t> chains = ChainLengths({128, 256, 512, 1024, 2048, 4096}, num_blocks);
  const cachestore::NamespaceIdentity identity = SyntheticIdentity(kBlockBytes);

  PrefixIndex index;
  auto tier = std::make_unique<GeneratedTier>(identity, chains);
  const BlockKey root = cachestore::RootKey(tier->secret(), identity.Encode());
  RETURN_IF_ERROR(Fill(*tier, root, index));
  cachestore::StoreOptions options;
  options.ram.capacity_bytes = 64 * kBlockBytes;
  ASSIGN_OR_RETURN(const std::unique_ptr<TieredStore> store,
                   TieredStore::Open(options, std::move(tier)));
  ASSIGN_OR_RETURN(const NamespaceHandle ns, store->OpenNamespace(identity));

  Prompts prompts(chains, root);
  RandomLines lines(num_blocks);
  const int count = ByExtent(extent, 6, 600);
  std::vector<BlockId> ids(4096);
  // As a store of some GiB has it, which has seen all blocks.
  cachestore::SampledCurve curve(16384);
  prompts.SecondsPerBlock(4 * count, [&](const Prompt& prompt) {
    curve.OnLookup({prompt.keys, kBlockBytes, kBlockTokens});
    return prompt.keys.size();
  });
  const Arm arms[] = {
      {"index",
       [&] {
         return prompts.SecondsPerBlock(count, [&](const Prompt& prompt) {
           cachestore::MatchEnd end;
           return index.Match(index.root_node(0), prompt.keys, prompt.tokens, absl::MakeSpan(ids),
                              end);
         });
       }},
      {"random lines", [&] { return lines.SecondsPerBlock(int64_t{count} * 1344); }},
      {"Match",
       [&] {
         return prompts.SecondsPerBlock(count, [&](const Prompt& prompt) -> size_t {
           return store->Match(ns, prompt.tokens, static_cast<int64_t>(prompt.keys.size()))
               .total_blocks();
         });
       }},
      {"Touch",
       [&] {
         return prompts.SecondsPerBlock(count, [&](const Prompt& prompt) {
           const auto num_blocks = static_cast<int64_t>(prompt.keys.size());
           return static_cast<size_t>(store->Touch(ns, prompt.tokens, num_blocks));
         });
       }},
      {"what-if curve", [&] {
         return prompts.SecondsPerBlock(count, [&](const Prompt& prompt) {
           curve.OnLookup({prompt.keys, kBlockBytes, kBlockTokens});
           return prompt.keys.size();
         });
       }}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("match", ByExtent(extent, 1, 11), arms));
  Result index_row{
      .metric = "match.verified_blocks_per_s_per_core", .unit = "blocks/s", .ours = 1 / seconds[0]};
  index_row.limit = 1 / seconds[1];
  index_row.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtLeast, 15e6};
  index_row.context = {{"resident_blocks", absl::StrCat(num_blocks)},
                       {"prefix_blocks", "128 to 4096"},
                       {"input", "keys and tokens; every block's parent and tokens are compared"},
                       {"limit", "three random cache lines per block, addresses known beforehand"}};
  Result whole_row{
      .metric = "match.with_keys_blocks_per_s", .unit = "blocks/s", .ours = 1 / seconds[2]};
  whole_row.limit = 1 / seconds[1];
  whole_row.context = {{"resident_blocks", absl::StrCat(num_blocks)},
                       {"prefix_blocks", "128 to 4096"},
                       {"input", "tokens: TieredStore::Match computes the keys"}};
  Result what_if_row{
      .metric = "whatif.lookup_cost", .unit = "of a lookup", .ours = seconds[4] / seconds[3]};
  what_if_row.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 0.02};
  what_if_row.context = {{"resident_blocks", absl::StrCat(num_blocks)},
                         {"prefix_blocks", "128 to 4096"},
                         {"sampling_rate", absl::StrCat(curve.sampling_rate())},
                         {"curve_bytes", absl::StrCat(curve.memory_bytes())},
                         {"ns_per_block", absl::StrCat(1e9 * seconds[4])}};
  return std::vector<Result>{std::move(index_row), std::move(whole_row), std::move(what_if_row)};
}

}  // namespace reprise::bench
