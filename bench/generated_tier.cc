#include "bench/generated_tier.h"

#include <numeric>
#include <utility>

#include "bench/synthetic.h"
#include "cachestore/base/check.h"

namespace reprise::bench {

using cachestore::BlockKey;
using cachestore::BlockToStore;
using cachestore::LoadRequest;
using cachestore::StoredBlock;
using cachestore::TokenId;

GeneratedTier::GeneratedTier(const cachestore::NamespaceIdentity& identity,
                             std::vector<int64_t> chain_lengths)
    : chain_lengths_(std::move(chain_lengths)),
      identity_encoding_(identity.Encode()),
      root_(cachestore::RootKey(secret(), identity_encoding_)),
      block_bytes_(static_cast<int64_t>(identity.layout.BytesPerBlock())),
      capacity_blocks_(std::accumulate(chain_lengths_.begin(), chain_lengths_.end(), int64_t{0})),
      num_blocks_(capacity_blocks_) {}

absl::Status GeneratedTier::BindNamespace(const BlockKey& /*root*/,
                                          absl::string_view /*identity_encoding*/) {
  return absl::OkStatus();
}

int64_t GeneratedTier::FreeSlots(uint64_t /*payload_bytes*/) const {
  return capacity_blocks_ - num_blocks();
}

absl::Status GeneratedTier::Store(absl::Span<const BlockToStore> batch) {
  num_blocks_.fetch_add(static_cast<int64_t>(batch.size()), std::memory_order_relaxed);
  return absl::OkStatus();
}

void GeneratedTier::StartLoads(std::vector<LoadRequest> /*batch*/) {
  CHECK(false);  // a benchmark that loads from here measures nothing
}

absl::Status GeneratedTier::Erase(absl::Span<const BlockKey> keys) {
  num_blocks_.fetch_sub(static_cast<int64_t>(keys.size()), std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status GeneratedTier::ForEachNamespace(
    absl::FunctionRef<void(const BlockKey&, absl::string_view)> visit) {
  visit(root_, identity_encoding_);
  return absl::OkStatus();
}

absl::Status GeneratedTier::ForEachKey(absl::FunctionRef<void(const BlockKey&)> visit) {
  return ForEach([&](const StoredBlock& block) { visit(block.key); });
}

absl::Status GeneratedTier::ForEach(absl::FunctionRef<void(const StoredBlock&)> visit) {
  struct Chain {
    uint64_t number;
    int64_t done;  // blocks
    BlockKey last;
  };
  std::vector<Chain> open;
  for (size_t i = 0; i < chain_lengths_.size(); ++i) open.push_back({i, 0, root_});
  Random random(1);
  for (uint64_t sequence = 0; !open.empty(); ++sequence) {
    Chain& chain = open[random.Below(static_cast<int64_t>(open.size()))];
    TokenId tokens[kBlockTokens];
    FillBlockTokens(chain.number, chain.done, tokens);
    const StoredBlock block{.key = cachestore::ChildKey(chain.last, tokens),
                            .parent = chain.last,
                            .root = root_,
                            .tokens = {std::begin(tokens), std::end(tokens)},
                            .payload_bytes = static_cast<uint64_t>(block_bytes_),
                            .sequence = sequence};
    chain.last = block.key;
    if (++chain.done == chain_lengths_[chain.number]) {
      chain = open.back();
      open.pop_back();
    }
    visit(block);
  }
  return absl::OkStatus();
}

}  // namespace reprise::bench
