#include "engine/model/activation_buffers.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

constexpr int64_t kAlignFloats = 16;  // one cache line

int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Room for `floats`; `what` for the message.
absl::Status Grow(Backend* backend, int64_t floats, const char* what, int64_t rows,
                  cachestore::DeviceBytes* memory) {
  // Freed first: the old contents are not needed, and both together may not fit.
  *memory = {};
  absl::StatusOr<cachestore::DeviceBytes> grown = backend->Reserve(floats * sizeof(float));
  if (!grown.ok()) {
    return absl::Status(grown.status().code(), absl::StrCat("the ", what, " of ", rows,
                                                            " tokens: ", grown.status().message()));
  }
  *memory = *std::move(grown);
  return absl::OkStatus();
}

}  // namespace

ActivationBuffers::ActivationBuffers(const ModelConfig& config, Backend* backend)
    : backend_(backend) {
  const int64_t query = config.num_heads * config.head_dim;
  const int64_t key = config.num_kv_heads * config.head_dim;
  x.cols = hidden.cols = config.hidden_size;
  qkv.cols = query + 2 * key;
  q.cols = attended.cols = query;
  mlp_wide.cols = config.intermediate_size * (config.gated_mlp ? 2 : 1);
  activated.cols = config.intermediate_size;
  logits.cols = config.vocab_size;
  if (config.experts.count == 0) return;
  router.cols = config.experts.count;
  expert_hidden.cols = config.hidden_size;
  expert_wide.cols = 2 * config.experts.intermediate_size;
  expert_activated.cols = config.experts.intermediate_size;
}

absl::Status ActivationBuffers::Resize(int64_t rows) {
  if (rows > capacity_rows_) {
    capacity_rows_ = 0;
    const auto all = All();
    int64_t floats = 0;
    for (const Activations* buffer : all) floats += RoundUp(rows * buffer->cols, kAlignFloats);
    RETURN_IF_ERROR(Grow(backend_, floats, "activations", rows, &memory_));
    auto* next = reinterpret_cast<float*>(memory_.bytes().data());
    for (Activations* buffer : all) {
      buffer->data = next;
      next += RoundUp(rows * buffer->cols, kAlignFloats);
    }
    capacity_rows_ = rows;
  }
  SetRows(rows);
  return absl::OkStatus();
}

absl::Status ActivationBuffers::ResizeLogits(int64_t rows) {
  const size_t bytes = rows * logits.cols * sizeof(float);
  if (bytes > logits_memory_.bytes().size()) {
    RETURN_IF_ERROR(Grow(backend_, rows * logits.cols, "logits", rows, &logits_memory_));
    logits.data = reinterpret_cast<float*>(logits_memory_.bytes().data());
  }
  logits.rows = rows;
  return absl::OkStatus();
}

void ActivationBuffers::KeepRows(absl::Span<const int64_t> kept) {
  const Activations all_x = x;
  const Activations all_q = q;
  SetRows(static_cast<int64_t>(kept.size()));
  if (x.rows == all_x.rows || x.rows == 0) return;
  // What `hidden` and `attended` held is of no use any more, and they are as large.
  backend_->GatherRows(all_x, kept, hidden);
  backend_->GatherRows(all_q, kept, attended);
  std::swap(x, hidden);
  std::swap(q, attended);
}

std::array<Activations*, ActivationBuffers::kNumBuffers> ActivationBuffers::All() {
  return {&x,         &hidden, &qkv,           &q,           &attended,        &mlp_wide,
          &activated, &router, &expert_hidden, &expert_wide, &expert_activated};
}

void ActivationBuffers::SetRows(int64_t rows) {
  for (Activations* buffer : All()) buffer->rows = rows;
}

}  // namespace reprise::engine
