// EngineDecoder: our model as a Decoder: prompts in chunks as the engine's steps cut them, then one
// batch of single tokens. Owns the KV blocks, in memory like the store's. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "bench/decoder.h"
#include "cachestore/block/kv_layout.h"
#include "cachestore/memory/host_arena.h"
#include "engine/model/model.h"

namespace reprise::bench {

class EngineDecoder final : public Decoder {
 public:
  // `model` must outlive the decoder. Cuts prompts into chunks of `chunk_tokens`, and keeps KV as
  // `kv_dtype`.
  EngineDecoder(engine::Model* model, int64_t chunk_tokens, cachestore::DType kv_dtype);

  const std::string& name() const override { return name_; }
  // Errors are the model's; kResourceExhausted: no memory for the blocks.
  absl::StatusOr<Decoded> Prompt(absl::Span<const std::vector<uint32_t>> prompts) override;
  absl::StatusOr<Decoded> Decode(int steps) override;

  // Bytes of one token's KV.
  int64_t kv_bytes_per_token() const;
  // Positions computed of each sequence.
  int64_t context() const { return context_; }

 private:
  static constexpr int32_t kBlockTokens = 16;

  // Lays out empty blocks for `count` sequences of `length` tokens and the decoder's room.
  absl::Status MakeBlocks(size_t count, int64_t length);
  absl::Status ComputePrompt(size_t sequence, absl::Span<const uint32_t> prompt);
  // The greedy choice in row `row`.
  static uint32_t Best(engine::Activations logits, int64_t row);

  engine::Model* const model_;
  const int64_t chunk_tokens_;
  const cachestore::KvLayout layout_;
  const std::string name_ = "reprise";
  std::unique_ptr<cachestore::HostArena> arena_;
  std::vector<std::vector<std::byte*>> blocks_;  // by sequence
  std::vector<uint32_t> next_;                   // by sequence: the token to compute next
  int64_t context_ = 0;
};

}  // namespace reprise::bench
