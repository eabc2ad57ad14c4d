#include "bench/engine_decoder.h"

#include <cmath>

#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_logits.h"

namespace reprise::bench {

EngineDecoder::EngineDecoder(engine::Model* model, int64_t chunk_tokens, cachestore::DType kv_dtype)
    : ModelDecoder(model, chunk_tokens, kv_dtype, kDecoderRoom) {}

absl::StatusOr<std::byte*> EngineDecoder::Reserve(size_t bytes) {
  arena_ = nullptr;
  ASSIGN_OR_RETURN(arena_, cachestore::HostArena::Reserve(static_cast<int64_t>(bytes)));
  return arena_->bytes().data();
}

absl::Status EngineDecoder::Choose(engine::Activations logits, absl::Span<uint32_t> tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto values = absl::MakeConstSpan(logits.row(static_cast<int64_t>(i)), logits.cols);
    const float largest = engine::FindLargestLogit(values).value;
    tokens[i] = static_cast<uint32_t>(
        engine::FirstAbove(values, 0, std::nextafter(largest, -HUGE_VALF)));
  }
  return absl::OkStatus();
}

}  // namespace reprise::bench
