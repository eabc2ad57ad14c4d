// Row-wise vector loops of the CPU backend: widening, norms, rotary embedding, sums.
//
// Each row is computed alone, by a sequence of roundings that its length fixes, so it does not
// depend on the rows beside it. All are bound by memory: they read and write every operand once.
// Compiled for every x86-64 vector extension; the best one is chosen at run time. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "engine/backend/rope_table.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

// What the order of roundings in vector loops depends on: "16 lanes, fused".
std::string VectorArithmetic();

// out[i] = source[i] as f32, for `count` elements of `type`. `source` need not be aligned.
void Widen(const void* source, ElementType type, int64_t count, float* out);

// out[i] = x[i] rounded to bf16 (to nearest, ties to even).
void NarrowToBF16(const float* x, int64_t count, uint16_t* out);

// out[i] = x[i] rounded to IEEE f16 (to nearest, ties to even).
void NarrowToF16(const float* x, int64_t count, uint16_t* out);

// x[i] *= factor for `count` elements, on all threads.
void ScaleInPlace(float* x, float factor, int64_t count);

// x[i] += y[i] for `count` elements, on all threads.
void AddInPlace(float* x, const float* y, int64_t count);

// x[rows[i]] += scales[i] * y[i]. y: [rows.size(), cols]; x: [.., cols]. REQUIRES: no two of `rows`
// are equal.
void AddScaledTo(Activations y, absl::Span<const int64_t> rows, absl::Span<const float> scales,
                 Activations x);

// out[r] = x[r] / rms(x[r]) * weight. x, out: [rows, cols], may be the same; weight: [cols].
void RmsNormRows(Activations x, const float* weight, float epsilon, Activations out);

// out[r] = (x[r] - mean) / sqrt(variance + epsilon) * weight + bias. x, out: [rows, cols], may be
// the same; weight, bias: [cols].
void LayerNormRows(Activations x, const float* weight, const float* bias, float epsilon,
                   Activations out);

// Rotates every head of x [rows, heads x head_dim] in place by table row positions[r].
void RotateRows(Activations x, int64_t head_dim, const RopeTable& table,
                absl::Span<const int32_t> positions);

}  // namespace reprise::engine
