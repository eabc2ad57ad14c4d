#include "bench/card_decoder.h"

#include <algorithm>

#include "bench/rounds.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/device.h"
#include "engine/backend/kv_format.h"

namespace reprise::bench {

CardDecoder::CardDecoder(engine::Model* model, engine::Backend* backend, int64_t chunk_tokens,
                         int64_t room)
    : model_(model),
      backend_(backend),
      chunk_tokens_(chunk_tokens),
      room_(room),
      layout_(engine::WithDType(model->layout(kBlockTokens), cachestore::DType::kBF16)) {}

int64_t CardDecoder::kv_bytes_per_token() const {
  return static_cast<int64_t>(layout_.BytesPerBlock()) / kBlockTokens;
}

absl::StatusOr<Decoded> CardDecoder::Prompt(absl::Span<const std::vector<uint32_t>> prompts) {
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

absl::StatusOr<Decoded> CardDecoder::Decode(int steps) {
  Decoded decoded;
  absl::Status status;
  decoded.seconds = SecondsOf([&] {
    for (int step = 0; step < steps && status.ok(); ++step, ++context_) {
      std::vector<engine::SequenceChunk> batch;
      for (size_t i = 0; i < next_.size(); ++i) {
        batch.push_back({{&next_[i], 1}, context_, blocks_[i], /*wants_logits=*/true});
      }
      std::vector<uint32_t> drawn(next_.size());
      status = Step(batch, absl::MakeSpan(drawn));
      next_ = drawn;
      decoded.tokens.insert(decoded.tokens.end(), drawn.begin(), drawn.end());
    }
  });
  RETURN_IF_ERROR(status);
  return decoded;
}

absl::Status CardDecoder::MakeBlocks(size_t count, int64_t length) {
  constexpr size_t kUnit = cachestore::Device::kAlignment;
  const size_t each = (length + room_ + kBlockTokens - 1) / kBlockTokens;
  const size_t block_bytes = (layout_.BytesPerBlock() + kUnit - 1) / kUnit * kUnit;
  blocks_.assign(count, {});
  arena_ = {};
  ASSIGN_OR_RETURN(arena_, backend_->Reserve(count * each * block_bytes));
  std::byte* next = arena_.bytes().data();
  for (std::vector<std::byte*>& blocks : blocks_) {
    for (size_t i = 0; i < each; ++i, next += block_bytes) blocks.push_back(next);
  }
  return absl::OkStatus();
}

absl::Status CardDecoder::ComputePrompt(size_t sequence, absl::Span<const uint32_t> prompt) {
  const auto length = static_cast<int64_t>(prompt.size());
  for (int64_t start = 0; start < length; start += chunk_tokens_) {
    engine::SequenceChunk chunk{.tokens = prompt.subspan(start, chunk_tokens_),
                                .start = start,
                                .blocks = blocks_[sequence]};
    if (start + chunk_tokens_ < length) {
      RETURN_IF_ERROR(model_->Forward({&chunk, 1}, layout_).status());
      continue;
    }
    chunk.wants_logits = true;
    RETURN_IF_ERROR(Step({&chunk, 1}, {&next_[sequence], 1}));
  }
  return absl::OkStatus();
}

absl::Status CardDecoder::Step(absl::Span<const engine::SequenceChunk> batch,
                               absl::Span<uint32_t> tokens) {
  ASSIGN_OR_RETURN(const engine::Activations logits, model_->Forward(batch, layout_));
  std::vector<engine::DrawRow> rows(batch.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i].row = static_cast<int64_t>(i);
  std::vector<int32_t> drawn(rows.size());
  RETURN_IF_ERROR(backend_->Draw(logits, rows, absl::MakeSpan(drawn)));
  if (*std::min_element(drawn.begin(), drawn.end()) < 0) {
    return absl::InternalError("a row of logits has no largest one");
  }
  std::copy(drawn.begin(), drawn.end(), tokens.begin());
  return absl::OkStatus();
}

}  // namespace reprise::bench
