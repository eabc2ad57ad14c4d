#include "engine/model/activation_buffers.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace reprise::engine {
namespace {

constexpr int64_t kAlignFloats = 16;  // one cache line

int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

void KeepRowsOf(Activations buffer, absl::Span<const int64_t> kept) {
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] == static_cast<int64_t>(i)) continue;
    std::memcpy(buffer.row(i), buffer.row(kept[i]), buffer.cols * sizeof(float));
  }
}

}  // namespace

ActivationBuffers::ActivationBuffers(const ModelConfig& config) {
  const int64_t query = config.num_heads * config.head_dim;
  const int64_t key = config.num_kv_heads * config.head_dim;
  x.cols = hidden.cols = config.hidden_size;
  qkv.cols = query + 2 * key;
  q.cols = attended.cols = query;
  k.cols = v.cols = key;
  mlp_wide.cols = config.intermediate_size * (config.gated_mlp ? 2 : 1);
  activated.cols = config.intermediate_size;
  if (config.experts.count == 0) return;
  router.cols = config.experts.count;
  expert_hidden.cols = config.hidden_size;
  expert_wide.cols = 2 * config.experts.intermediate_size;
  expert_activated.cols = config.experts.intermediate_size;
}

absl::Status ActivationBuffers::Resize(int64_t rows) {
  if (rows > capacity_rows_) {
    // Freed first: the old contents are not needed, and both together may not fit.
    memory_.reset();
    capacity_rows_ = 0;
    const auto all = All();
    int64_t floats = 0;
    for (const Activations* buffer : all) floats += RoundUp(rows * buffer->cols, kAlignFloats);
    memory_.reset(static_cast<float*>(
        std::aligned_alloc(kAlignFloats * sizeof(float), floats * sizeof(float))));
    if (memory_ == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat("no memory for the activations of ", rows,
                                                       " tokens: ", floats * sizeof(float),
                                                       " bytes"));
    }
    float* next = memory_.get();
    for (Activations* buffer : all) {
      buffer->data = next;
      next += RoundUp(rows * buffer->cols, kAlignFloats);
    }
    capacity_rows_ = rows;
  }
  SetRows(rows);
  return absl::OkStatus();
}

void ActivationBuffers::KeepRows(absl::Span<const int64_t> kept) {
  KeepRowsOf(x, kept);
  KeepRowsOf(q, kept);
  SetRows(static_cast<int64_t>(kept.size()));
}

std::array<Activations*, ActivationBuffers::kNumBuffers> ActivationBuffers::All() {
  return {&x,
          &hidden,
          &qkv,
          &q,
          &k,
          &v,
          &attended,
          &mlp_wide,
          &activated,
          &router,
          &expert_hidden,
          &expert_wide,
          &expert_activated};
}

void ActivationBuffers::SetRows(int64_t rows) {
  for (Activations* buffer : All()) buffer->rows = rows;
}

}  // namespace reprise::engine
