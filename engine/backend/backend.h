// Backend: mathematics on one device. Knows no model family, no scheduler, no eviction.
//
// CpuBackend (oneDNN and Highway) is the reference for every other backend. Activations are f32,
// weights f32, f16 or bf16, sums f32. Every operation computes each row by the same sequence of
// roundings whatever the other rows are and however many there are, so that a token's result does
// not depend on how its prefill was chunked or batched. A backend for which that does not hold says
// so in PackedWeight::arithmetic().
//
// A forward pass is a step: BeginStep tells what it runs over, operations follow, EndStep says
// whether all could be given to the device. Operations return before they are done, in their order;
// HostRows waits for what it shows. All operands lie in memory of the backend (Reserve, Keep, Pack,
// and the KV blocks), which for CpuBackend is the host's. Engine-thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/memory/device_bytes.h"
#include "engine/backend/step_input.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

// A weight matrix in the backend's own layout. Owns its memory. Immutable.
class PackedWeight {
 public:
  virtual ~PackedWeight() = default;
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  // What is multiplied, and by what: "f32 oneDNN", "f32 chains", or "bf16-activations oneDNN" when
  // x is rounded to bf16 first. Equal weights whose arithmetic differs give different KV.
  virtual absl::string_view arithmetic() const = 0;
};

// Numbers that operations read, in the backend's memory; none when view.data is null. Immutable.
struct KeptTensor {
  cachestore::DeviceBytes memory;
  TensorView view;
};

// How a checkpoint stores a linear weight: y = x W^T (PyTorch Linear) or y = x W (GPT-2's Conv1D).
enum class WeightOrder { kOutIn, kInOut };

enum class Activation { kSiluMul, kGeluTanhMul, kGeluTanh, kGeluErf, kRelu };

class RopeTable;  // see rope_table.h

// What heads of q and k go through before attention.
struct HeadScheme {
  TensorView query_norm;  // [1, head_dim]: RMS norm of every head; no data: none
  TensorView key_norm;    // likewise
  float norm_epsilon = 0;
  // Rotates the first rotary_dim() dims of every head, in the half-split ("rotate_half")
  // convention; null: none. Its rows stay where they are, and cover the step's positions.
  const RopeTable* rope = nullptr;
};

// What attention makes of a query and the keys before it.
struct AttentionScheme {
  float scale = 1;     // scores are q . k x scale
  int64_t window = 0;  // a row sees itself and the window - 1 positions before it; 0: all of them
  float softcap = 0;   // scores become softcap x tanh(score / softcap); 0: they stay
};

// How a token is drawn from a row of logits: as engine/run/token_draw.h does, by `uniform`.
struct DrawRow {
  int64_t row = 0;
  float temperature = 0;  // 0: the largest logit
  int32_t top_k = 0;      // 0: all
  float top_p = 1;
  float min_p = 0;
  double uniform = 0;  // the random number, in [0, 1)
};

// All rows of a step, or those that it keeps.
enum class StepRows { kAll, kKept };

class Backend {
 public:
  virtual ~Backend() = default;

  // Everything about this machine that the roundings of an operation depend on, in words; backends
  // in which it differs give different KV for equal weights.
  virtual std::string arithmetic() const = 0;

  // `bytes` (> 0) of the backend's memory, for activations; starts at a multiple of 64. Given back
  // before the backend ends; operations may still be under way there. kResourceExhausted: no
  // memory.
  virtual absl::StatusOr<cachestore::DeviceBytes> Reserve(size_t bytes) = 0;
  // Copies `tensor`, which lies in host memory. Given back likewise. kResourceExhausted: no memory.
  virtual absl::StatusOr<KeptTensor> Keep(TensorView tensor) = 0;
  // Copies and packs `weight`, in host memory, shaped [out, in] for kOutIn, [in, out] for kInOut.
  // kResourceExhausted: no memory.
  virtual absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight,
                                                             WeightOrder order) = 0;

  // Begins a step; one that was not ended is forgotten. What `step` points at stays until EndStep.
  // kResourceExhausted: no memory for what the backend keeps about it. REQUIRES: the sequences'
  // rows are all rows, and the layout is valid.
  virtual absl::Status BeginStep(const StepInput& step) = 0;
  // The first error of the step's operations that is known by now.
  virtual absl::Status EndStep() = 0;
  // OK, or why no step of any kind can be run any more. To be asked when one has failed. BLOCKS
  // until what was given is computed.
  virtual absl::Status Health() = 0;
  // x in host memory, until the next operation. BLOCKS until it is computed. Any error of an
  // operation before; then nothing that this step wrote means anything.
  virtual absl::StatusOr<absl::Span<float>> HostRows(Activations x) = 0;

  // Draws a token from each of `rows` of `logits`, where they lie: tokens[i] from rows[i]; -1:
  // none, because the row holds a NaN, +infinity or nothing finite, or because it is for the host
  // to draw all tokens. BLOCKS. Errors as HostRows.
  virtual absl::Status Draw(Activations logits, absl::Span<const DrawRow> rows,
                            absl::Span<int32_t> tokens) = 0;

  // out[r] = table[id of row r] x scale. table: [vocab, hidden]; out: [rows, hidden].
  // REQUIRES: the step's ids are in the table.
  virtual void Embed(TensorView table, float scale, Activations out) = 0;
  // x[r] += table[position of row r]; table: [max positions, hidden].
  virtual void AddPositions(TensorView table, Activations x) = 0;

  // out = x / rms(x) * weight. weight: [1, hidden]. May work in place.
  virtual void RmsNorm(Activations x, TensorView weight, float epsilon, Activations out) = 0;
  // out = (x - mean) / sqrt(var + epsilon) * weight + bias. May work in place.
  virtual void LayerNorm(Activations x, TensorView weight, TensorView bias, float epsilon,
                         Activations out) = 0;

  // out = x W (+ bias), x: [rows, in], out: [rows, out]; bias: [1, out], or bias.data == nullptr.
  virtual void MatMul(Activations x, const PackedWeight& weight, TensorView bias,
                      Activations out) = 0;
  // out += x W (+ bias).
  virtual void MatMulAdd(Activations x, const PackedWeight& weight, TensorView bias,
                         Activations out) = 0;

  // From the product of queries, keys and values to attention: qkv [rows, query + 2 x key] is split
  // into q [rows, query] and k and v [rows, key], q and k go through `scheme`, and k and v of each
  // sequence's rows are written into its blocks at `layer`.
  virtual void PrepareAttention(Activations qkv, const HeadScheme& scheme, int32_t layer,
                                Activations q) = 0;
  // Causal attention over paged blocks, for prefill and decode rows alike: row r of a sequence
  // attends to positions [0, start + r], or to the last of them when `scheme` has a window. q, out:
  // [the rows that `rows` says, heads x head_dim]; heads is a multiple of the layout's num_kv_heads
  // (MHA, GQA, MQA). KV of the rows themselves was written by PrepareAttention.
  virtual void Attention(Activations q, StepRows rows, int32_t layer, const AttentionScheme& scheme,
                         Activations out) = 0;

  // kSiluMul, kGeluTanhMul: out[r][c] = act(x[r][c]) * x[r][cols + c], x: [rows, 2 x cols].
  // Others: out = act(x), same shape; may work in place.
  virtual void Activate(Activation activation, Activations x, Activations out) = 0;

  // x = cap x tanh(x / cap).
  virtual void SoftCap(Activations x, float cap) = 0;
  // x += y.
  virtual void Add(Activations x, Activations y) = 0;

  // out[i] = x[rows[i]].
  virtual void GatherRows(Activations x, absl::Span<const int64_t> rows, Activations out) = 0;
  // x[rows[i]] += scales[i] * y[i]. REQUIRES: no two of `rows` are equal.
  virtual void AddScaledRows(Activations y, absl::Span<const int64_t> rows,
                             absl::Span<const float> scales, Activations x) = 0;
};

// How the CPU backend multiplies by bf16 weights. By f32 and f16 weights it multiplies in f32, with
// nothing rounded.
enum class BF16Products {
  // Where the CPU has instructions for it, activations are rounded to bf16 first: 2^-9 relative for
  // each of them, for half of the time. Sums stay f32. Elsewhere as kExact.
  kNarrowed,
  // The stored bf16 numbers times f32 activations, nothing rounded.
  kExact,
};

// The CPU backend. `num_threads` <= 0: one per core.
std::unique_ptr<Backend> NewCpuBackend(int num_threads,
                                       BF16Products bf16 = BF16Products::kNarrowed);

}  // namespace reprise::engine
