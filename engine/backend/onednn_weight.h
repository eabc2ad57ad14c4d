// OneDnnProducts: matrix products by oneDNN that keep the row contract of backend.h.
//
// oneDNN chooses how it cuts the sum over `in` by the shape of the call, so the same row can come
// out with other low bits in a call of other height. What it does (2.6, measured):
//   f32, and bf16 without AMX, on AVX-512: one order for every height.
//   bf16 with AMX: the sum is cut into runs whose length depends on the height (and the number of
//     threads) once `in` is above about 1,024, and small products leave AMX altogether.
//   f32 before AVX-512: the order depends on the height and on the row's place in the call.
// Therefore bf16 weights are cut into slabs of at most 1,024 inputs, each multiplied by itself and
// added in order; a call is cut into tiles of a few fixed heights, the last one padded; and when a
// shape is first packed, every height is tried on random numbers: one whose rows differ in a single
// bit from those of the reference height is not used for this shape. The choice depends on the
// shape, the CPU and the number of threads only, never on time or data.
//
// Floor: one row reads all of W once, in x out x (4 or 2) bytes, for 2 x in x out operations.
// Engine-thread only; uses the OpenMP threads that are set when it is called.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/backend/cpu_weight.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

// What oneDNN's roundings depend on: its version and the instructions that it uses. Another CPU or
// another version may cut a sum elsewhere.
std::string OneDnnArithmetic();

class OneDnnProducts {
 public:
  // nullptr when the CPU has no AVX-512: oneDNN's products keep no row contract there.
  static std::unique_ptr<OneDnnProducts> Create(BF16Products bf16);

  virtual ~OneDnnProducts() = default;

  // Packs `weight` (shape by `order`, see Backend::Pack) as bf16 if it is bf16, else as f32. The
  // result may outlive this. nullptr when the weight is bf16 and bf16 is not multiplied natively
  // (kExact, or the CPU cannot), or when no height keeps the row contract for this shape.
  // kResourceExhausted: no memory. kInternal: oneDNN refused, with its reason.
  virtual absl::StatusOr<std::unique_ptr<CpuWeight>> Pack(TensorView weight, WeightOrder order) = 0;
};

}  // namespace reprise::engine
