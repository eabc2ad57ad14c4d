#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "bench/rounds.h"
#include "bench/store_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/check.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/block/block_key.h"

namespace reprise::bench {
namespace {

using cachestore::BlockKey;
using cachestore::TokenId;

constexpr int64_t kTokens = 50'000;

// What the chain hashes, laid out before: for each block its parent's key and its token ids.
std::vector<std::byte> HashInputs(const BlockKey& root, absl::Span<const TokenId> tokens,
                                  int32_t block_tokens) {
  const size_t token_bytes = block_tokens * sizeof(TokenId);
  const std::vector<BlockKey> keys = cachestore::ChainKeys(root, tokens, block_tokens);
  std::vector<std::byte> inputs(keys.size() * (sizeof(BlockKey) + token_bytes));
  std::byte* at = inputs.data();
  for (size_t i = 0; i < keys.size(); ++i) {
    std::memcpy(at, i == 0 ? &root : &keys[i - 1], sizeof(BlockKey));
    std::memcpy(at + sizeof(BlockKey), &tokens[i * block_tokens], token_bytes);
    at += sizeof(BlockKey) + token_bytes;
  }
  return inputs;
}

absl::StatusOr<Result> MeasureChain(Extent extent, int32_t block_tokens) {
  const BlockKey root = {1, 2};
  const std::vector<TokenId> tokens = SyntheticTokens(0, kTokens);
  const std::vector<std::byte> inputs = HashInputs(root, tokens, block_tokens);
  const size_t num_blocks = tokens.size() / block_tokens;
  const size_t input_bytes = inputs.size() / num_blocks;
  const int repeats = ByExtent(extent, 2, 100);
  uint64_t sum_of_chain = 0;
  uint64_t sum_of_raw = 0;
  const Arm arms[] = {
      {"ChainKeys",
       [&] {
         return SecondsOf([&] {
           for (int i = 0; i < repeats; ++i) {
             for (const BlockKey& key : cachestore::ChainKeys(root, tokens, block_tokens)) {
               sum_of_chain += key.lo;
             }
           }
         });
       }},
      {"raw XXH3", [&] {
         return SecondsOf([&] {
           for (int i = 0; i < repeats; ++i) {
             for (size_t at = 0; at < inputs.size(); at += input_bytes) {
               sum_of_raw += cachestore::HashBytes128({&inputs[at], input_bytes}).lo;
             }
           }
         });
       }}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("keys", ByExtent(extent, 1, 51), arms));
  CHECK(sum_of_chain == sum_of_raw);  // both hashed the same bytes
  Result row{.metric = absl::StrCat(
                 "keys.chain_50k_tokens",
                 block_tokens == kBlockTokens ? std::string() : absl::StrCat("_by_", block_tokens)),
             .unit = "us",
             .ours = seconds[0] / repeats * 1e6};
  row.limit = seconds[1] / repeats * 1e6;
  row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 1.5};
  row.context = {
      {"block_tokens", absl::StrCat(block_tokens)},
      {"limit", "XXH3-128 of the same inputs, laid out before, none waiting for another"}};
  return row;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureKeys(Extent extent) {
  ASSIGN_OR_RETURN(Result small, MeasureChain(extent, kBlockTokens));
  ASSIGN_OR_RETURN(Result large, MeasureChain(extent, 256));
  return std::vector<Result>{std::move(small), std::move(large)};
}

}  // namespace reprise::bench
