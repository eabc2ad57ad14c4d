#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/generated_tier.h"
#include "bench/private_memory.h"
#include "bench/store_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::bench {
namespace {

using cachestore::BlockKey;
using cachestore::NamespaceHandle;
using cachestore::TieredStore;
using cachestore::TokenId;

constexpr int64_t kBlockBytes = 4096;
constexpr int64_t kChainBlocks = 64;

// Puts `num_blocks` blocks of new chains; their payload does not matter and is not written.
absl::Status PutBlocks(TieredStore& store, const NamespaceHandle& ns, int64_t num_blocks) {
  const std::vector<int64_t> chains = ChainLengths({kChainBlocks}, num_blocks);
  for (size_t chain = 0; chain < chains.size(); ++chain) {
    BlockKey parent = ns.root;
    cachestore::BlockRef last;
    for (int64_t i = 0; i < chains[chain]; ++i) {
      TokenId tokens[kBlockTokens];
      FillBlockTokens(chain, i, tokens);
      ASSIGN_OR_RETURN(cachestore::WritableBlock block, store.Allocate(ns));
      last = store.Seal(ns, std::move(block), parent, tokens);
      parent = last.key();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Result> Row(const std::string& where, int64_t num_blocks, int64_t before) {
  ASSIGN_OR_RETURN(const int64_t after, PrivateBytes());
  Result row{.metric = absl::StrCat("store.metadata_bytes_per_block", where),
             .unit = "bytes",
             .ours = static_cast<double>(after - before) / static_cast<double>(num_blocks)};
  row.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 256};
  row.context = {{"blocks", absl::StrCat(num_blocks)},
                 {"block_tokens", absl::StrCat(kBlockTokens)},
                 {"figure", "growth of the process's private resident memory, without the arena"}};
  return row;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureMetadata(Extent extent) {
  // A little more than a power of two and its load factor: hash tables are as empty as they get.
  const int64_t num_blocks = ByExtent<int64_t>(extent, 22'000, 700'000);
  std::vector<Result> rows;
  cachestore::StoreOptions options;
  {
    ASSIGN_OR_RETURN(const int64_t before, PrivateBytes());
    options.ram.capacity_bytes = num_blocks * kBlockBytes;
    ASSIGN_OR_RETURN(const std::unique_ptr<TieredStore> store, TieredStore::Open(options));
    ASSIGN_OR_RETURN(const NamespaceHandle ns,
                     store->OpenNamespace(SyntheticIdentity(kBlockBytes)));
    RETURN_IF_ERROR(PutBlocks(*store, ns, num_blocks));
    ASSIGN_OR_RETURN(Result row, Row("", num_blocks, before));
    rows.push_back(std::move(row));
  }
  auto tier = std::make_unique<GeneratedTier>(SyntheticIdentity(kBlockBytes),
                                              ChainLengths({kChainBlocks}, num_blocks));
  ASSIGN_OR_RETURN(const int64_t before, PrivateBytes());
  options.ram.capacity_bytes = kChainBlocks * kBlockBytes;
  ASSIGN_OR_RETURN(const std::unique_ptr<TieredStore> store,
                   TieredStore::Open(options, std::move(tier)));
  ASSIGN_OR_RETURN(Result row, Row("_on_disk", num_blocks, before));
  rows.push_back(std::move(row));
  return rows;
}

}  // namespace reprise::bench
