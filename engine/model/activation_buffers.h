// ActivationBuffers: the activations of one forward pass, f32 in host memory, cut from one
// allocation that grows to the largest batch and is then reused. Thread-compatible.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/tensor.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

class ActivationBuffers {
 public:
  explicit ActivationBuffers(const ModelConfig& config);

  // Makes every buffer `rows` long; their contents are lost. kResourceExhausted: no memory.
  absl::Status Resize(int64_t rows);
  // Keeps only the rows `kept` (ascending) of x and q; all buffers are kept.size() long afterwards.
  void KeepRows(absl::Span<const int64_t> kept);

  Activations x;          // [rows, hidden]: the residual stream
  Activations hidden;     // [rows, hidden]: normed input, or a projection's output
  Activations qkv;        // [rows, query + 2 x key]
  Activations q;          // [rows, query]: heads x head_dim
  Activations k;          // [rows, key]: kv_heads x head_dim
  Activations v;          // [rows, key]
  Activations attended;   // [rows, query]
  Activations mlp_wide;   // [rows, intermediate, or gate | up]
  Activations activated;  // [rows, intermediate]
  // Of a model with experts, else without columns. The last three hold the rows of one expert.
  Activations router;            // [rows, experts]: logits
  Activations expert_hidden;     // [rows, hidden]: its inputs, then its outputs
  Activations expert_wide;       // [rows, gate | up]
  Activations expert_activated;  // [rows, intermediate of an expert]

 private:
  static constexpr int kNumBuffers = 13;
  std::array<Activations*, kNumBuffers> All();
  void SetRows(int64_t rows);

  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::unique_ptr<float[], Free> memory_;
  int64_t capacity_rows_ = 0;
};

}  // namespace reprise::engine
