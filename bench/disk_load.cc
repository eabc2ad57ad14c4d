#include "bench/disk_load.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using cachestore::BlockKey;
using cachestore::NamespaceHandle;
using cachestore::TieredStore;
using cachestore::TokenId;

constexpr absl::Duration kPatience = absl::Seconds(60);

}  // namespace

absl::StatusOr<std::unique_ptr<DiskLoad>> DiskLoad::Open(const DiskLoadOptions& options) {
  cachestore::StoreOptions store_options;
  store_options.ram.capacity_bytes = options.ram_bytes;
  store_options.disk.directory = options.directory;
  store_options.disk.capacity_bytes = options.disk_bytes;
  ASSIGN_OR_RETURN(std::unique_ptr<TieredStore> store, TieredStore::Open(store_options));
  ASSIGN_OR_RETURN(const NamespaceHandle ns,
                   store->OpenNamespace(SyntheticIdentity(options.block_bytes)));
  return std::unique_ptr<DiskLoad>(new DiskLoad(options, std::move(store), ns));
}

DiskLoad::DiskLoad(const DiskLoadOptions& options, std::unique_ptr<TieredStore> store,
                   const NamespaceHandle& ns)
    : options_(options), store_(std::move(store)), ns_(ns), payload_(options.block_bytes) {
  Random random(8);
  for (size_t i = 0; i < payload_.size(); i += 8) {
    const uint64_t word = random.Next();
    std::memcpy(&payload_[i], &word, 8);
  }
}

absl::Status DiskLoad::PutChains(int64_t count) {
  for (int64_t i = 0; i < count; ++i) RETURN_IF_ERROR(PutChain(next_chain_++));
  return absl::OkStatus();
}

absl::Status DiskLoad::PutChain(int64_t chain) {
  const std::vector<TokenId> tokens =
      SyntheticTokens(static_cast<uint64_t>(chain), options_.chain_blocks * kBlockTokens);
  BlockKey parent = ns_.root;
  cachestore::BlockRef last;
  for (int64_t i = 0; i < options_.chain_blocks; ++i) {
    auto block = store_->Allocate(ns_);
    for (int tries = 0; !block.ok() && tries < 1000; ++tries) {
      store_->AwaitRoom(ns_, absl::Now() + kPatience);
      block = store_->Allocate(ns_);
    }
    RETURN_IF_ERROR(block.status());
    std::memcpy(block->bytes().data(), payload_.data(), payload_.size());
    const int64_t stamp = chain * options_.chain_blocks + i;
    std::memcpy(block->bytes().data(), &stamp, sizeof(stamp));
    last = store_->Seal(ns_, *std::move(block), parent,
                        absl::MakeConstSpan(tokens).subspan(i * kBlockTokens, kBlockTokens));
    parent = last.key();
  }
  return absl::OkStatus();
}

absl::Status DiskLoad::Demote() { return store_->Demote().status(); }

absl::Status DiskLoad::ReadChains(int64_t count, int64_t youngest) {
  // The first `count` of a random order.
  std::vector<int64_t> chains(std::min(youngest, next_chain_));
  std::iota(chains.begin(), chains.end(), next_chain_ - std::ssize(chains));
  count = std::min(count, std::ssize(chains));
  for (int64_t i = 0; i < count; ++i) {
    std::swap(chains[i], chains[i + random_.Below(std::ssize(chains) - i)]);
  }
  Reading current = StartReading(chains[0]);
  for (int64_t i = 1; i <= count; ++i) {
    Reading next;
    if (i < count) next = StartReading(chains[i]);
    RETURN_IF_ERROR(FinishReading(std::move(current)));
    current = std::move(next);
  }
  return absl::OkStatus();
}

DiskLoad::Reading DiskLoad::StartReading(int64_t chain) {
  const std::vector<TokenId> tokens =
      SyntheticTokens(static_cast<uint64_t>(chain), options_.chain_blocks * kBlockTokens);
  return {.chain = chain, .ticket = store_->Pin(ns_, tokens, options_.chain_blocks, nullptr)};
}

absl::Status DiskLoad::FinishReading(Reading reading) const {
  if (!reading.ticket.Wait(absl::Now() + kPatience)) {
    return absl::DeadlineExceededError(absl::StrCat("chain ", reading.chain, " takes longer than ",
                                                    absl::FormatDuration(kPatience)));
  }
  const cachestore::PinnedPrefix prefix = reading.ticket.Take();
  if (prefix.ram_blocks > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(prefix.ram_blocks, " blocks of chain ", reading.chain, " were in RAM"));
  }
  for (int64_t i = 0; i < options_.chain_blocks; ++i) {
    int64_t stamp = -1;
    if (i < static_cast<int64_t>(prefix.blocks.size())) {
      std::memcpy(&stamp, prefix.blocks[i].bytes().data(), sizeof(stamp));
    }
    if (stamp == reading.chain * options_.chain_blocks + i) continue;
    return absl::DataLossError(absl::StrCat("block ", i, " of chain ", reading.chain,
                                            stamp < 0 ? " is missing" : " is another one"));
  }
  return absl::OkStatus();
}

}  // namespace reprise::bench
