// Blocks and directories for the tests of backing tiers: payloads that are a function of their key,
// so that every byte that comes back can be checked, and what lies on disk.
#pragma once

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/types/span.h"
#include "cachestore/base/check.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/backing_tier.h"
#include "gtest/gtest.h"
#include "tests/fakes/mix_bits.h"

namespace reprise::cachestore {

// A fresh directory, removed with everything in it at the end.
class ScratchDirectory {
 public:
  explicit ScratchDirectory(const std::string& parent = testing::TempDir())
      : path_((std::filesystem::path(parent) / "tier_test_XXXXXX").string()) {
    CHECK(mkdtemp(path_.data()) != nullptr);
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The only right payload of `key`.
inline void FillPayload(const BlockKey& key, absl::Span<std::byte> out) {
  for (size_t i = 0; i < out.size(); i += sizeof(uint64_t)) {
    const uint64_t word = MixBits(key.hi ^ MixBits(key.lo + i));
    std::memcpy(out.data() + i, &word, std::min(sizeof(word), out.size() - i));
  }
}

// A block with its payload, whose addresses stay valid when the sample moves.
class SampleBlock {
 public:
  // Block number `seed`; its key, tokens and payload follow from it.
  SampleBlock(uint64_t seed, uint64_t payload_bytes, const BlockKey& parent)
      : buffer_(AlignUp(payload_bytes)) {
    block_.key = KeyOf(seed);
    block_.parent = parent;
    block_.root = {MixBits(77), 78};
    for (TokenId t = 0; t < 4; ++t) block_.tokens.push_back(static_cast<TokenId>(4 * seed + t));
    block_.payload_bytes = payload_bytes;
    std::memset(buffer_.span().data(), 0, buffer_.span().size());
    FillPayload(block_.key, payload());
  }

  static BlockKey KeyOf(uint64_t seed) { return {MixBits(seed), MixBits(seed + 1000003)}; }

  const StoredBlock& block() const { return block_; }
  StoredBlock& block() { return block_; }
  absl::Span<std::byte> payload() { return buffer_.span().first(block_.payload_bytes); }
  BlockToStore to_store() { return {.block = block_, .payload = payload()}; }

 private:
  StoredBlock block_;
  AlignedBytes buffer_;
};

// A chain of `count` blocks with seeds from `first_seed` on.
inline std::vector<SampleBlock> SampleChain(uint64_t first_seed, int count,
                                            uint64_t payload_bytes) {
  std::vector<SampleBlock> chain;
  BlockKey parent = {MixBits(77), 78};
  for (int i = 0; i < count; ++i) {
    chain.emplace_back(first_seed + i, payload_bytes, parent);
    parent = chain.back().block().key;
  }
  return chain;
}

inline absl::Status StoreAll(BackingTier& tier, std::vector<SampleBlock>& blocks) {
  std::vector<BlockToStore> batch;
  for (SampleBlock& block : blocks) batch.push_back(block.to_store());
  return tier.Store(batch);
}

// Loads `block` into `payload` and waits for it.
inline absl::Status LoadNow(BackingTier& tier, const StoredBlock& block,
                            absl::Span<std::byte> payload) {
  absl::Status result;
  absl::Notification done;
  std::vector<LoadRequest> batch(1);
  batch[0] = {.block = block, .payload = payload, .done = [&](const absl::Status& status) {
                result = status;
                done.Notify();
              }};
  tier.StartLoads(std::move(batch));
  done.WaitForNotification();
  return result;
}

// Loads `block`; kInternal("wrong bytes") when the tier says OK and the payload is not the right
// one.
inline absl::Status LoadAndCompare(BackingTier& tier, const StoredBlock& block) {
  AlignedBytes loaded(AlignUp(block.payload_bytes));
  std::vector<std::byte> expected(block.payload_bytes);
  FillPayload(block.key, absl::MakeSpan(expected));
  const absl::Span<std::byte> payload = loaded.span().first(block.payload_bytes);
  std::memset(payload.data(), 0xee, payload.size());
  const absl::Status status = LoadNow(tier, block, payload);
  if (!status.ok()) return status;
  if (std::memcmp(payload.data(), expected.data(), expected.size()) != 0) {
    return absl::InternalError("wrong bytes");
  }
  return absl::OkStatus();
}

// Everything the tier says it holds, in its order.
inline std::vector<StoredBlock> AllBlocks(BackingTier& tier) {
  std::vector<StoredBlock> blocks;
  const absl::Status status =
      tier.ForEach([&](const StoredBlock& block) { blocks.push_back(block); });
  EXPECT_TRUE(status.ok()) << status;
  return blocks;
}

// The payload files in `directory`.
inline std::vector<std::filesystem::path> PayloadFiles(const std::string& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".dat") files.push_back(entry.path());
  }
  return files;
}

// Their sizes, added up.
inline int64_t PayloadFileBytes(const std::string& directory) {
  int64_t bytes = 0;
  for (const auto& file : PayloadFiles(directory)) {
    bytes += static_cast<int64_t>(std::filesystem::file_size(file));
  }
  return bytes;
}

}  // namespace reprise::cachestore
