// EngineDecoder: a model on the CPU as a Decoder. Owns the KV blocks, in memory like the store's.
// Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "bench/model_decoder.h"
#include "cachestore/memory/host_arena.h"

namespace reprise::bench {

class EngineDecoder final : public ModelDecoder {
 public:
  // As ModelDecoder, with kDecoderRoom. kResourceExhausted of Prompt: no memory for the blocks.
  EngineDecoder(engine::Model* model, int64_t chunk_tokens, cachestore::DType kv_dtype);

 private:
  absl::StatusOr<std::byte*> Reserve(size_t bytes) override;
  absl::Status Choose(engine::Activations logits, absl::Span<uint32_t> tokens) override;

  std::unique_ptr<cachestore::HostArena> arena_;
};

}  // namespace reprise::bench
