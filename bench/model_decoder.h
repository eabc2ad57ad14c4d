// ModelDecoder: a model of ours as a Decoder: prompts in chunks as the engine's steps cut them,
// then one batch of single tokens. Where the KV blocks lie and how tokens are chosen is its heirs'.
// Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "bench/decoder.h"
#include "cachestore/block/kv_layout.h"
#include "engine/model/model.h"

namespace reprise::bench {

class ModelDecoder : public Decoder {
 public:
  const std::string& name() const override { return name_; }
  // Errors are the model's, and those of Reserve and Choose.
  absl::StatusOr<Decoded> Prompt(absl::Span<const std::vector<uint32_t>> prompts) override;
  absl::StatusOr<Decoded> Decode(int steps) override;

  // Bytes of one token's KV.
  int64_t kv_bytes_per_token() const;
  // Positions computed of each sequence.
  int64_t context() const { return context_; }

 protected:
  // `model` outlives the decoder. KV is kept as `kv_dtype`, in blocks of 16 tokens; `room`: tokens
  // that a sequence may decode.
  ModelDecoder(engine::Model* model, int64_t chunk_tokens, cachestore::DType kv_dtype,
               int64_t room);

  // `bytes` for the blocks of all sequences, where the model's backend computes, in place of those
  // that were given before.
  virtual absl::StatusOr<std::byte*> Reserve(size_t bytes) = 0;
  // The greedy choice in each row of `logits`.
  virtual absl::Status Choose(engine::Activations logits, absl::Span<uint32_t> tokens) = 0;

 private:
  static constexpr int32_t kBlockTokens = 16;

  // Empty blocks for `count` sequences of `length` tokens and the room.
  absl::Status MakeBlocks(size_t count, int64_t length);
  absl::Status ComputePrompt(size_t sequence, absl::Span<const uint32_t> prompt);
  // Computes `batch`, all of which want logits, and chooses `tokens`.
  absl::Status Step(absl::Span<const engine::SequenceChunk> batch, absl::Span<uint32_t> tokens);

  engine::Model* const model_;
  const int64_t chunk_tokens_;
  const cachestore::KvLayout layout_;
  const int64_t room_;
  const std::string name_ = "reprise";
  std::vector<std::vector<std::byte*>> blocks_;  // by sequence
  std::vector<uint32_t> next_;                   // by sequence: the token to compute next
  int64_t context_ = 0;
};

}  // namespace reprise::bench
