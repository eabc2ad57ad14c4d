// CublasLtPlan: how cuBLASLt makes products of one shape, for about so many rows.
//
// cuBLASLt counts columns first. So a dense [rows, n] of ours is an [n, rows] of its own, and
// out = x W is asked for as out' = op(W') x', with op by the order in which W is stored: no operand
// is moved.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/cublaslt/cublaslt_library.h"

namespace reprise::engine::cuda {

// Device memory that products may use while they run, one after the other. NVIDIA's advice for
// Hopper.
inline constexpr size_t kProductWorkspaceBytes = size_t{32} << 20;
// Rows of all operands begin at multiples of this, as far as their lengths allow.
inline constexpr uint32_t kProductAlignment = 16;

struct ProductShape {
  int64_t in = 0;
  int64_t out = 0;
  cudaDataType type = CUDA_R_32F;  // of the weight and of x; out is f32
  WeightOrder order = WeightOrder::kOutIn;
  bool has_bias = false;

  template <typename H>
  friend H AbslHashValue(H h, const ProductShape& s) {
    return H::combine(std::move(h), s.in, s.out, s.type, s.order, s.has_bias);
  }
  friend bool operator==(const ProductShape&, const ProductShape&) = default;
};

// Places in device memory.
struct ProductOperands {
  const void* weight = nullptr;
  const void* x = nullptr;     // [rows, in]
  const void* bias = nullptr;  // f32 [out]; not null when the shape says so
  float* out = nullptr;        // [rows, out]
  bool adds = false;           // to what `out` holds
  void* workspace = nullptr;   // kProductWorkspaceBytes
};

// Thread-compatible.
class CublasLtPlan {
 public:
  // The algorithm that cuBLASLt expects to be the fastest for `rows` rows. `library` and `handle`
  // outlive the plan. kInternal: it knows none.
  static absl::StatusOr<std::unique_ptr<CublasLtPlan>> Create(const CublasLtLibrary* library,
                                                              cublasLtHandle_t handle,
                                                              const ProductShape& shape,
                                                              int64_t rows);

  // Replaces the algorithm by that of cuBLASLt's first ones for which `seconds`, which multiplies
  // by this plan, says the least. One for which it has an error is not taken.
  absl::Status ChooseFastest(absl::FunctionRef<absl::StatusOr<double>()> seconds);

  // Gives `stream` the product of `rows` rows, at most as many as it was made for. Rows that its
  // algorithm does not take have one of their own: which one depends on their number alone.
  absl::Status Multiply(int64_t rows, const ProductOperands& operands, cudaStream_t stream);

 private:
  template <typename Descriptor>
  using Owned = std::unique_ptr<std::remove_pointer_t<Descriptor>, cublasStatus_t (*)(Descriptor)>;

  CublasLtPlan(const CublasLtLibrary* library, cublasLtHandle_t handle);

  absl::Status Describe(const ProductShape& shape, int64_t rows);
  absl::Status DescribeBias();
  absl::Status Prefer();
  absl::StatusOr<Owned<cublasLtMatrixLayout_t>> Matrix(cudaDataType type, int64_t rows,
                                                       int64_t cols) const;
  // Takes `rows` as the number of rows of x and out, and an algorithm that takes them.
  absl::Status SetRows(int64_t rows);
  // Up to `most` algorithms for x and out as they are described, of `rows` rows; at least one. The
  // one that is expected to be the fastest comes first.
  absl::StatusOr<std::vector<cublasLtMatmulAlgo_t>> Algorithms(int64_t rows, int most) const;

  const CublasLtLibrary* const lt_;
  const cublasLtHandle_t handle_;
  Owned<cublasLtMatmulDesc_t> product_;
  Owned<cublasLtMatrixLayout_t> weight_;
  Owned<cublasLtMatrixLayout_t> x_;
  Owned<cublasLtMatrixLayout_t> out_;
  Owned<cublasLtMatmulPreference_t> preference_;
  bool has_bias_ = false;
  cublasLtMatmulAlgo_t algorithm_ = {};
  std::map<int64_t, cublasLtMatmulAlgo_t> own_;  // of numbers of rows that it does not take
  int64_t rows_ = 0;                             // that x and out are described for; 0: none
  const cublasLtMatmulAlgo_t* of_rows_ = nullptr;
};

}  // namespace reprise::engine::cuda
