#include "bench/model_decoder.h"

#include "bench/rounds.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/pool/slot_pool.h"
#include "engine/backend/kv_format.h"

namespace reprise::bench {

ModelDecoder::ModelDecoder(engine::Model* model, int64_t chunk_tokens, cachestore::DType kv_dtype,
                           int64_t room)
    : model_(model),
      chunk_tokens_(chunk_tokens),
      layout_(engine::WithDType(model->layout(kBlockTokens), kv_dtype)),
      room_(room) {}

int64_t ModelDecoder::kv_bytes_per_token() const {
  return static_cast<int64_t>(layout_.BytesPerBlock()) / kBlockTokens;
}

absl::StatusOr<Decoded> ModelDecoder::Prompt(absl::Span<const std::vector<uint32_t>> prompts) {
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

absl::StatusOr<Decoded> ModelDecoder::Decode(int steps) {
  Decoded decoded;
  absl::Status status;
  decoded.seconds = SecondsOf([&] {
    for (int step = 0; step < steps; ++step, ++context_) {
      std::vector<engine::SequenceChunk> batch;
      for (size_t i = 0; i < next_.size(); ++i) {
        batch.push_back({{&next_[i], 1}, context_, blocks_[i], /*wants_logits=*/true});
      }
      std::vector<uint32_t> chosen(next_.size());
      status = Step(batch, absl::MakeSpan(chosen));
      if (!status.ok()) return;
      next_ = chosen;
      decoded.tokens.insert(decoded.tokens.end(), chosen.begin(), chosen.end());
    }
  });
  RETURN_IF_ERROR(status);
  return decoded;
}

absl::Status ModelDecoder::MakeBlocks(size_t count, int64_t length) {
  const size_t each = (length + room_ + kBlockTokens - 1) / kBlockTokens;
  const size_t slot_bytes = cachestore::SlotPool::SlotBytes(layout_.BytesPerBlock());
  ASSIGN_OR_RETURN(std::byte* next, Reserve(count * each * slot_bytes));
  blocks_.assign(count, {});
  for (std::vector<std::byte*>& blocks : blocks_) {
    for (size_t i = 0; i < each; ++i, next += slot_bytes) blocks.push_back(next);
  }
  return absl::OkStatus();
}

absl::Status ModelDecoder::ComputePrompt(size_t sequence, absl::Span<const uint32_t> prompt) {
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

absl::Status ModelDecoder::Step(absl::Span<const engine::SequenceChunk> batch,
                                absl::Span<uint32_t> tokens) {
  ASSIGN_OR_RETURN(const engine::Activations logits, model_->Forward(batch, layout_));
  return Choose(logits, tokens);
}

}  // namespace reprise::bench
