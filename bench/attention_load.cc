#include "bench/attention_load.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/types/span.h"
#include "bench/synthetic.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/kv_format.h"
#include "engine/backend/kv_rows.h"

namespace reprise::bench {
namespace {

using engine::Activations;
using engine::SequenceRows;

cachestore::KvLayout LayoutOf(const AttentionLoad::Shape& shape) {
  return engine::WithDType({.num_layers = shape.layers,
                            .num_kv_heads = AttentionLoad::kKvHeads,
                            .head_dim = AttentionLoad::kHeadDim,
                            .block_tokens = kBlockTokens},
                           shape.dtype);
}

// Uniform in [-1, 1).
void FillRandom(Random* random, std::vector<float>* values) {
  for (float& value : *values) {
    value = static_cast<float>(random->Below(1 << 16)) / (1 << 15) - 1.0f;
  }
}

}  // namespace

AttentionLoad::AttentionLoad(engine::Backend* backend, const Shape& shape)
    : backend_(backend),
      shape_(shape),
      layout_(LayoutOf(shape)),
      q_(shape.sequences * shape.rows * kHeads * kHeadDim),
      out_(q_.size()) {}

absl::StatusOr<std::unique_ptr<AttentionLoad>> AttentionLoad::Make(engine::Backend* backend,
                                                                   const Shape& shape) {
  std::unique_ptr<AttentionLoad> load(new AttentionLoad(backend, shape));
  const int64_t per_sequence = (shape.context + kBlockTokens - 1) / kBlockTokens;
  const auto align = static_cast<int64_t>(cachestore::HostArena::kAlignment);
  const int64_t slot_bytes =
      (static_cast<int64_t>(load->layout_.BytesPerBlock()) + align - 1) / align * align;
  ASSIGN_OR_RETURN(load->arena_,
                   cachestore::HostArena::Reserve(per_sequence * shape.sequences * slot_bytes));
  // A sequence takes slots as a store that has run for a while gives them out: anywhere.
  std::vector<std::byte*> slots;
  for (int64_t i = 0; i < per_sequence * shape.sequences; ++i) {
    slots.push_back(load->arena_->bytes().data() + i * slot_bytes);
  }
  Random random(1);
  for (size_t i = slots.size() - 1; i > 0; --i) {
    std::swap(slots[i], slots[random.Below(static_cast<int64_t>(i) + 1)]);
  }
  for (int64_t s = 0; s < shape.sequences; ++s) {
    load->blocks_.emplace_back(slots.begin() + s * per_sequence,
                               slots.begin() + (s + 1) * per_sequence);
    load->sequences_.push_back({.first_row = s * shape.rows,
                                .num_rows = shape.rows,
                                .start = shape.context - shape.rows,
                                .blocks = load->blocks_.back()});
  }
  FillRandom(&random, &load->q_);
  load->Fill();
  return load;
}

void AttentionLoad::Fill() {
  constexpr int64_t kCols = kKvHeads * kHeadDim;
  Random random(2);
  std::vector<float> kv(shape_.context * kCols);
  FillRandom(&random, &kv);
  const Activations rows = {kv.data(), shape_.context, kCols};
  for (const std::vector<std::byte*>& blocks : blocks_) {
    const SequenceRows all = {.num_rows = shape_.context, .blocks = blocks};
    for (int32_t layer = 0; layer < shape_.layers; ++layer) {
      engine::AppendKvRows(rows, rows, {&all, 1}, layout_, layer);
    }
  }
}

void AttentionLoad::Attend(absl::Span<const SequenceRows> sequences, int64_t first_row) {
  constexpr int64_t kCols = kHeads * kHeadDim;
  const int64_t rows = shape_.rows * std::ssize(sequences);
  const Activations q = {q_.data() + first_row * kCols, rows, kCols};
  const Activations out = {out_.data() + first_row * kCols, rows, kCols};
  const float scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  CHECK(backend_->BeginStep({.sequences = sequences, .layout = layout_}).ok());
  for (int32_t layer = 0; layer < shape_.layers; ++layer) {
    backend_->Attention(q, engine::StepRows::kAll, layer, {.scale = scale}, out);
  }
}

void AttentionLoad::AttendOneByOne() {
  for (SequenceRows sequence : sequences_) {
    const int64_t first_row = std::exchange(sequence.first_row, 0);
    Attend({&sequence, 1}, first_row);
  }
}

void AttentionLoad::AttendTogether() { Attend(sequences_, 0); }

double AttentionLoad::KvBytes() const {
  const double per_token = static_cast<double>(layout_.BytesPerBlock()) / layout_.block_tokens;
  return per_token * static_cast<double>(shape_.context * shape_.sequences);
}

double AttentionLoad::Operations() const {
  // The first of the rows sees all positions but those of the later rows.
  const double seen = static_cast<double>(shape_.rows) *
                      (static_cast<double>(shape_.context) - (shape_.rows - 1) / 2.0);
  return 4.0 * kHeadDim * kHeads * seen * static_cast<double>(shape_.sequences * shape_.layers);
}

}  // namespace reprise::bench
