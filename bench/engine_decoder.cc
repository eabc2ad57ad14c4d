#include "bench/engine_decoder.h"

#include <cmath>

#include "bench/rounds.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_logits.h"
#include "engine/backend/kv_format.h"

namespace reprise::bench {

EngineDecoder::EngineDecoder(engine::Model* model, int64_t chunk_tokens, cachestore::DType kv_dtype)
    : model_(model),
      chunk_tokens_(chunk_tokens),
      layout_(engine::WithDType(model->layout(kBlockTokens), kv_dtype)) {}

int64_t EngineDecoder::kv_bytes_per_token() const {
  return static_cast<int64_t>(layout_.BytesPerBlock()) / kBlockTokens;
}

absl::StatusOr<Decoded> EngineDecoder::Prompt(absl::Span<const std::vector<uint32_t>> prompts) {
  const auto length = static_cast<int64_t>(prompts[0].size());
  RETURN_IF_ERROR(MakeBlocks(prompts.size(), length));
  next_.assign(prompts.size(), 0);
  absl::Status status;
  const double seconds = SecondsOf([&] {
    for (size_t i = 0; i < prompts.size() && status.ok(); ++i)
      status = ComputePrompt(i, prompts[i]);
  });
  RETURN_IF_ERROR(status);
  context_ = length;
  return Decoded{seconds, next_};
}

absl::StatusOr<Decoded> EngineDecoder::Decode(int steps) {
  Decoded decoded;
  absl::Status status;
  decoded.seconds = SecondsOf([&] {
    for (int step = 0; step < steps && status.ok(); ++step) {
      std::vector<engine::SequenceChunk> batch;
      for (size_t i = 0; i < next_.size(); ++i) {
        batch.push_back({{&next_[i], 1}, context_, blocks_[i], /*wants_logits=*/true});
      }
      const absl::StatusOr<engine::Activations> logits = model_->Forward(batch, layout_);
      status = logits.status();
      if (!status.ok()) return;
      for (size_t i = 0; i < next_.size(); ++i) next_[i] = Best(*logits, i);
      decoded.tokens.insert(decoded.tokens.end(), next_.begin(), next_.end());
      ++context_;
    }
  });
  RETURN_IF_ERROR(status);
  return decoded;
}

absl::Status EngineDecoder::MakeBlocks(size_t count, int64_t length) {
  const int64_t each = (length + kDecoderRoom + kBlockTokens - 1) / kBlockTokens;
  const auto block_bytes = static_cast<int64_t>(layout_.BytesPerBlock());
  arena_ = nullptr;
  ASSIGN_OR_RETURN(
      arena_, cachestore::HostArena::Reserve(static_cast<int64_t>(count) * each * block_bytes));
  std::byte* next = arena_->bytes().data();
  blocks_.assign(count, {});
  for (std::vector<std::byte*>& blocks : blocks_) {
    for (int64_t i = 0; i < each; ++i, next += block_bytes) blocks.push_back(next);
  }
  return absl::OkStatus();
}

absl::Status EngineDecoder::ComputePrompt(size_t sequence, absl::Span<const uint32_t> prompt) {
  const auto length = static_cast<int64_t>(prompt.size());
  for (int64_t start = 0; start < length; start += chunk_tokens_) {
    const bool last = start + chunk_tokens_ >= length;
    const engine::SequenceChunk chunk{.tokens = prompt.subspan(start, chunk_tokens_),
                                      .start = start,
                                      .blocks = blocks_[sequence],
                                      .wants_logits = last};
    ASSIGN_OR_RETURN(const engine::Activations logits, model_->Forward({&chunk, 1}, layout_));
    if (last) next_[sequence] = Best(logits, 0);
  }
  return absl::OkStatus();
}

uint32_t EngineDecoder::Best(engine::Activations logits, int64_t row) {
  const auto values = absl::MakeConstSpan(logits.row(row), logits.cols);
  const float largest = engine::FindLargestLogit(values).value;
  return static_cast<uint32_t>(engine::FirstAbove(values, 0, std::nextafter(largest, -HUGE_VALF)));
}

}  // namespace reprise::bench
