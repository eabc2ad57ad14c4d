// ActivationBuffers: the activations of one forward pass, in memory of the backend, cut from one
// allocation that grows to the largest batch and is then reused. Thread-compatible.
#pragma once

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "cachestore/memory/device_bytes.h"
#include "engine/backend/backend.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

class ActivationBuffers {
 public:
  // `backend` must outlive the buffers.
  ActivationBuffers(const ModelConfig& config, Backend* backend);

  // Makes every buffer but `logits` `rows` long; their contents are lost. kResourceExhausted: no
  // memory.
  absl::Status Resize(int64_t rows);
  // Makes `logits` `rows` long; as above.
  absl::Status ResizeLogits(int64_t rows);
  // Keeps only the rows `kept` (ascending) of x and q; all buffers but `logits` are kept.size()
  // long afterwards.
  void KeepRows(absl::Span<const int64_t> kept);

  Activations x;          // [rows, hidden]: the residual stream
  Activations hidden;     // [rows, hidden]: normed input, or a projection's output
  Activations qkv;        // [rows, query + 2 x key]
  Activations q;          // [rows, query]: heads x head_dim
  Activations attended;   // [rows, query]
  Activations mlp_wide;   // [rows, intermediate, or gate | up]
  Activations activated;  // [rows, intermediate]
  // Of a model with experts, else without columns. The last three hold the rows of one expert.
  Activations router;            // [rows, experts]: logits
  Activations expert_hidden;     // [rows, hidden]: its inputs, then its outputs
  Activations expert_wide;       // [rows, gate | up]
  Activations expert_activated;  // [rows, intermediate of an expert]

  Activations logits;  // [rows, vocab]

 private:
  static constexpr int kNumBuffers = 11;
  std::array<Activations*, kNumBuffers> All();
  void SetRows(int64_t rows);

  Backend* const backend_;
  cachestore::DeviceBytes memory_;
  int64_t capacity_rows_ = 0;
  cachestore::DeviceBytes logits_memory_;
};

}  // namespace reprise::engine
