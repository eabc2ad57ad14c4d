// CardDecoder: a model on a card as a Decoder: prompts in chunks, then one batch of single tokens,
// drawn where the logits lie. Owns the KV blocks, in the card's memory. Thread-compatible.
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
#include "engine/backend/backend.h"
#include "engine/model/model.h"

namespace reprise::bench {

class CardDecoder final : public Decoder {
 public:
  // Both outlive the decoder. KV is bf16, in blocks of 16 tokens; `room`: tokens that a sequence
  // may decode.
  CardDecoder(engine::Model* model, engine::Backend* backend, int64_t chunk_tokens, int64_t room);

  const std::string& name() const override { return name_; }
  // Errors are the model's and the backend's; kInternal: a row of logits is not usable.
  absl::StatusOr<Decoded> Prompt(absl::Span<const std::vector<uint32_t>> prompts) override;
  absl::StatusOr<Decoded> Decode(int steps) override;

  // Bytes of one token's KV.
  int64_t kv_bytes_per_token() const;
  // Positions computed of each sequence.
  int64_t context() const { return context_; }

 private:
  static constexpr int32_t kBlockTokens = 16;

  // Empty blocks for `count` sequences of `length` tokens and the room.
  absl::Status MakeBlocks(size_t count, int64_t length);
  absl::Status ComputePrompt(size_t sequence, absl::Span<const uint32_t> prompt);
  // Runs `batch`, all of which want logits, and draws greedily into `tokens`.
  absl::Status Step(absl::Span<const engine::SequenceChunk> batch, absl::Span<uint32_t> tokens);

  engine::Model* const model_;
  engine::Backend* const backend_;
  const int64_t chunk_tokens_;
  const int64_t room_;
  const cachestore::KvLayout layout_;
  const std::string name_ = "reprise";
  cachestore::DeviceBytes arena_;
  std::vector<std::vector<std::byte*>> blocks_;  // by sequence
  std::vector<uint32_t> next_;                   // by sequence: the token to compute next
  int64_t context_ = 0;
};

}  // namespace reprise::bench
