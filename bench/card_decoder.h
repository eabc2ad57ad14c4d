// CardDecoder: a model on a card as a Decoder; tokens are drawn where the logits lie. Owns the KV
// blocks, in the card's memory. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bench/model_decoder.h"
#include "cachestore/memory/device_bytes.h"
#include "engine/backend/backend.h"

namespace reprise::bench {

class CardDecoder final : public ModelDecoder {
 public:
  // As ModelDecoder, with KV in bf16; `backend`, the model's, outlives the decoder too. kInternal
  // of Prompt and Decode: a row of logits is not usable.
  CardDecoder(engine::Model* model, engine::Backend* backend, int64_t chunk_tokens, int64_t room);

 private:
  absl::StatusOr<std::byte*> Reserve(size_t bytes) override;
  absl::Status Choose(engine::Activations logits, absl::Span<uint32_t> tokens) override;

  engine::Backend* const backend_;
  cachestore::DeviceBytes arena_;
};

}  // namespace reprise::bench
