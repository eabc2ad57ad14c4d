// PortableWeight: matrix products in Highway, for every x86-64 CPU.
//
// W is kept in panels of 16 columns, [panel][in][16], in f32 or bf16 (widened as it is read); an
// f16 checkpoint is widened to f32. Every output is one chain of multiply-adds,
//
//     out[r][n] = (((bias[n] + x[r][0] W[0][n]) + x[r][1] W[1][n]) + ...)
//
// whatever the number of rows, the tiles or the threads are: the row contract of backend.h holds by
// construction. One row reads in x out elements of W for 2 x in x out operations and so runs at
// memory bandwidth; from about 16 rows on the multiply-adds are the limit.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/cpu_weight.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

// Packs `weight` (shape by `order`, see Backend::Pack). kResourceExhausted: no memory.
absl::StatusOr<std::unique_ptr<CpuWeight>> PackPortableWeight(TensorView weight, WeightOrder order);

}  // namespace reprise::engine
