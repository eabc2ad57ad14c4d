// KvCodec: one token's keys or values of one kv head, as f32 numbers and as bytes of a block. What
// the bytes mean: cachestore/README.md. Pure functions; a row has the same bytes, and reads back
// with the same bits, on every vector target.
//
// Elements are rounded to nearest, ties to even, and saturate: beyond the largest finite number of
// the dtype (f16 65,504, e4m3 448) comes that number. NaN stays NaN; where integers are scaled, a
// group that holds a NaN or an infinity reads back as NaN. A scale is the largest magnitude of its
// group over 127 or 7, rounded up to bf16, so that no element is cut off; a group of zeros, or one
// too small for a scale (below 2e-36), reads back as zeros.
//
// Error of an element x: f32 none; f16 2^-11 |x|, at least 2^-25; bf16 2^-8 |x| / 2; e4m3
// 2^-4 |x|, at least 2^-10; int8 half of the scale, 1.008 / 254 of the row's largest magnitude;
// int4 half of the scale, 1.008 / 14 of the group's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cachestore/block/kv_layout.h"

namespace reprise::engine {

// Writes head_dim elements and their scales, laid out as kv_format.h says for `dtype`.
void EncodeKvRow(cachestore::DType dtype, const float* row, int64_t head_dim, std::byte* elements,
                 std::byte* scales);

// Reads `count` rows: out[r x stride + c] = element c of the row at elements[r]. Elements from
// head_dim to the next multiple of 16 are undefined. REQUIRES: stride is at least that multiple;
// `out` is aligned to 64 bytes, stride x 4 bytes as well.
void DecodeKvRows(cachestore::DType dtype, const std::byte* const* elements,
                  const std::byte* const* scales, int64_t count, int64_t head_dim, int64_t stride,
                  float* out);

}  // namespace reprise::engine
