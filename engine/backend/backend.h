// Backend: mathematics on one device. Knows no model family, no scheduler, no eviction.
//
// CpuBackend (oneDNN and Highway) is the reference for every other backend. Activations are f32,
// weights f32, f16 or bf16, sums f32. Every operation computes each row by the same sequence of
// roundings whatever the other rows are and however many there are, so that a token's result does
// not depend on how its prefill was chunked or batched. Engine-thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"
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

// How a checkpoint stores a linear weight: y = x W^T (PyTorch Linear) or y = x W (GPT-2's Conv1D).
enum class WeightOrder { kOutIn, kInOut };

enum class Activation { kSiluMul, kGeluTanhMul, kGeluTanh, kGeluErf, kRelu };

// One sequence's rows in a batch: `num_rows` consecutive rows of the activations hold its tokens at
// positions [start, start + num_rows). `blocks` holds the sequence's KV blocks in order, covering
// at least positions [0, start + num_rows); each is laid out by the KvLayout. The blocks that hold
// positions < start are only read; those from start on are written by AppendKv.
struct SequenceRows {
  int64_t first_row = 0;
  int64_t num_rows = 0;
  int64_t start = 0;
  absl::Span<std::byte* const> blocks;
};

// What attention makes of a query and the keys before it.
struct AttentionScheme {
  float scale = 1;     // scores are q . k x scale
  int64_t window = 0;  // a row sees itself and the window - 1 positions before it; 0: all of them
  float softcap = 0;   // scores become softcap x tanh(score / softcap); 0: they stay
};

class RopeTable;  // see rope_table.h

class Backend {
 public:
  virtual ~Backend() = default;

  // Everything about this machine that the roundings of an operation depend on, in words; backends
  // in which it differs give different KV for equal weights.
  virtual std::string arithmetic() const = 0;

  // Copies and packs `weight`, shaped [out, in] for kOutIn, [in, out] for kInOut.
  // kResourceExhausted: no memory.
  virtual absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight,
                                                             WeightOrder order) = 0;

  // out[i] = table[ids[i]]. table: [vocab, hidden]; out: [ids.size(), hidden].
  // REQUIRES: ids are in the table.
  virtual void Embed(TensorView table, absl::Span<const uint32_t> ids, Activations out) = 0;
  // x[i] += table[positions[i]]; table: [max positions, hidden].
  virtual void AddPositions(TensorView table, absl::Span<const int32_t> positions,
                            Activations x) = 0;

  // out = x / rms(x) * weight. weight: [1, hidden]. May work in place.
  virtual void RmsNorm(Activations x, TensorView weight, float epsilon, Activations out) = 0;
  // out = (x - mean) / sqrt(var + epsilon) * weight + bias. May work in place.
  virtual void LayerNorm(Activations x, TensorView weight, TensorView bias, float epsilon,
                         Activations out) = 0;

  // out = x W (+ bias), x: [rows, in], out: [rows, out]; bias: [1, out], or bias.data == nullptr.
  virtual void MatMul(Activations x, const PackedWeight& weight, TensorView bias,
                      Activations out) = 0;

  // Rotates the first table.rotary_dim() dims of every head of q [rows, heads x head_dim] and of
  // k [rows, kv_heads x head_dim] in place, in the half-split ("rotate_half") convention.
  // REQUIRES: the table covers the positions.
  virtual void Rope(Activations q, Activations k, int64_t head_dim, const RopeTable& table,
                    absl::Span<const int32_t> positions) = 0;

  // Writes k and v ([rows, kv_heads x head_dim]) of each sequence's rows into its blocks at
  // `layer`.
  virtual void AppendKv(Activations k, Activations v, absl::Span<const SequenceRows> sequences,
                        const cachestore::KvLayout& layout, int32_t layer) = 0;

  // Causal attention over paged blocks, for prefill and decode rows alike: row r of a sequence
  // attends to positions [0, start + r], or to the last of them when `scheme` has a window. q, out:
  // [rows, heads x head_dim]; heads is a multiple of layout.num_kv_heads (MHA, GQA, MQA). KV of the
  // rows themselves was appended before.
  virtual void Attention(Activations q, absl::Span<const SequenceRows> sequences,
                         const cachestore::KvLayout& layout, int32_t layer,
                         const AttentionScheme& scheme, Activations out) = 0;

  // kSiluMul, kGeluTanhMul: out[r][c] = act(x[r][c]) * x[r][cols + c], x: [rows, 2 x cols].
  // Others: out = act(x), same shape; may work in place.
  virtual void Activate(Activation activation, Activations x, Activations out) = 0;

  // x *= factor.
  virtual void Scale(Activations x, float factor) = 0;
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
