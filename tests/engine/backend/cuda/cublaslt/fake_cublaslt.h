// FakeCublasLt: the functions of cuBLASLt for a LazyDevice, by plain loops on the host. Keeps what
// it is told in descriptors of its own, refuses operands that do not fit each other, and counts. At
// most one on a thread at a time: its functions are C's and find it so.
#pragma once

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "cachestore/base/check.h"
#include "engine/backend/cuda/cublaslt/cublaslt_library.h"
#include "tests/fakes/emulated_stream.h"

namespace reprise::engine::cuda {

class FakeCublasLt {
 public:
  FakeCublasLt() {
    CHECK(current_ == nullptr);
    current_ = this;
  }
  ~FakeCublasLt() {
    CHECK(num_live_ == 0);  // else descriptors or handles were not destroyed
    current_ = nullptr;
  }

  static CublasLtLibrary Library() {
    CublasLtLibrary lt;
    lt.create = [](cublasLtHandle_t* handle) {
      if (current_->create_status != CUBLAS_STATUS_SUCCESS) return current_->create_status;
      *handle = reinterpret_cast<cublasLtHandle_t>(Make());
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.destroy = [](cublasLtHandle_t handle) { return Drop(handle); };
    lt.create_product = [](cublasLtMatmulDesc_t* product, cublasComputeType_t compute,
                           cudaDataType_t scale) {
      CHECK(compute == CUBLAS_COMPUTE_32F && scale == CUDA_R_32F);
      *product = reinterpret_cast<cublasLtMatmulDesc_t>(Make());
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.set_product = [](cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute,
                        const void* value,
                        size_t bytes) { return Set(product, attribute, value, bytes); };
    lt.destroy_product = [](cublasLtMatmulDesc_t product) { return Drop(product); };
    lt.create_matrix = [](cublasLtMatrixLayout_t* matrix, cudaDataType type, uint64_t rows,
                          uint64_t cols, int64_t ld) {
      Numbers* const made = Make();
      *matrix = reinterpret_cast<cublasLtMatrixLayout_t>(made);
      (*made)[CUBLASLT_MATRIX_LAYOUT_TYPE] = type;
      (*made)[CUBLASLT_MATRIX_LAYOUT_ROWS] = rows;
      (*made)[CUBLASLT_MATRIX_LAYOUT_COLS] = cols;
      (*made)[CUBLASLT_MATRIX_LAYOUT_LD] = static_cast<uint64_t>(ld);
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.set_matrix = [](cublasLtMatrixLayout_t matrix, cublasLtMatrixLayoutAttribute_t attribute,
                       const void* value,
                       size_t bytes) { return Set(matrix, attribute, value, bytes); };
    lt.destroy_matrix = [](cublasLtMatrixLayout_t matrix) { return Drop(matrix); };
    lt.create_preference = [](cublasLtMatmulPreference_t* preference) {
      *preference = reinterpret_cast<cublasLtMatmulPreference_t>(Make());
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.set_preference = [](cublasLtMatmulPreference_t preference,
                           cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                           size_t bytes) { return Set(preference, attribute, value, bytes); };
    lt.destroy_preference = [](cublasLtMatmulPreference_t preference) { return Drop(preference); };
    lt.choose = Choose;
    lt.check = Check;
    lt.multiply = Multiply;
    lt.status_name = [](cublasStatus_t status) -> const char* {
      return status == CUBLAS_STATUS_NOT_INITIALIZED ? "CUBLAS_STATUS_NOT_INITIALIZED" : "other";
    };
    lt.version = [] { return size_t{130000}; };
    return lt;
  }

  // What it does from now on.
  cublasStatus_t create_status = CUBLAS_STATUS_SUCCESS;
  bool knows_algorithms = true;
  int num_algorithms = 1;           // for any product
  int bad_algorithm = -1;           // one of them that is none
  int failing_algorithm = -1;       // one whose products fail
  std::set<uint64_t> refused_rows;  // by algorithms that were chosen for others

  // What it was asked.
  std::vector<uint64_t> chosen_rows;
  int num_products = 0;
  uint64_t used_algorithm = 0;  // by the last product
  std::vector<const void*> used_weights;

 private:
  // A handle or a descriptor: its attributes by their numbers.
  using Numbers = std::array<uint64_t, 64>;

  struct Matrix {
    uint64_t type, rows, cols, ld;
  };
  static Matrix MatrixOf(cublasLtMatrixLayout_t layout) {
    const auto& at = *reinterpret_cast<const Numbers*>(layout);
    return {at[CUBLASLT_MATRIX_LAYOUT_TYPE], at[CUBLASLT_MATRIX_LAYOUT_ROWS],
            at[CUBLASLT_MATRIX_LAYOUT_COLS], at[CUBLASLT_MATRIX_LAYOUT_LD]};
  }

  // A product as its descriptors say it.
  struct Asked {
    bool is_transposed, has_bias;
    const float* bias;
    Matrix a, b, d;

    bool fits() const {
      const uint64_t out = is_transposed ? a.cols : a.rows;
      const uint64_t in = is_transposed ? a.rows : a.cols;
      return a.type == b.type && d.type == CUDA_R_32F && b.rows == in && d.rows == out &&
             d.cols == b.cols && a.ld == a.rows && b.ld == b.rows && d.ld == d.rows;
    }
  };
  static Asked AskedOf(cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t d) {
    const auto& at = *reinterpret_cast<const Numbers*>(product);
    const bool has_bias = at[CUBLASLT_MATMUL_DESC_EPILOGUE] == CUBLASLT_EPILOGUE_BIAS;
    CHECK(!has_bias || at[CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE] == CUDA_R_32F);
    return {at[CUBLASLT_MATMUL_DESC_TRANSA] == CUBLAS_OP_T,
            has_bias,
            reinterpret_cast<const float*>(at[CUBLASLT_MATMUL_DESC_BIAS_POINTER]),
            MatrixOf(a),
            MatrixOf(b),
            MatrixOf(d)};
  }

  static Numbers* Make() {
    ++current_->num_live_;
    return new Numbers{};
  }
  template <typename Descriptor>
  static cublasStatus_t Drop(Descriptor descriptor) {
    --current_->num_live_;
    delete reinterpret_cast<Numbers*>(descriptor);
    return CUBLAS_STATUS_SUCCESS;
  }
  template <typename Descriptor>
  static cublasStatus_t Set(Descriptor descriptor, int attribute, const void* value, size_t bytes) {
    uint64_t& number = (*reinterpret_cast<Numbers*>(descriptor))[attribute];
    number = 0;
    std::memcpy(&number, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  }

  static cublasStatus_t Choose(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                               cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                               cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                               cublasLtMatmulPreference_t preference, int wanted,
                               cublasLtMatmulHeuristicResult_t* results, int* found) {
    const auto& preferred = *reinterpret_cast<const Numbers*>(preference);
    CHECK(preferred[CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES] > 0 && wanted > 0);
    const Asked asked = AskedOf(product, a, b, d);
    if (!asked.fits()) return CUBLAS_STATUS_INVALID_VALUE;
    current_->chosen_rows.push_back(asked.d.cols);
    *found = current_->knows_algorithms ? std::min(wanted, current_->num_algorithms) : 0;
    for (int i = 0; i < *found; ++i) {
      results[i] = {};
      results[i].algo.data[0] = asked.d.cols;
      results[i].algo.data[1] = static_cast<uint64_t>(i);
      results[i].state =
          i == current_->bad_algorithm ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_SUCCESS;
  }

  static bool Takes(const cublasLtMatmulAlgo_t& algorithm, uint64_t rows) {
    return algorithm.data[0] == rows ||
           (algorithm.data[0] > rows && current_->refused_rows.count(rows) == 0);
  }

  static cublasStatus_t Check(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t* algorithm,
                              cublasLtMatmulHeuristicResult_t* result) {
    const Asked asked = AskedOf(product, a, b, d);
    *result = {};
    return asked.fits() && Takes(*algorithm, asked.d.cols) ? CUBLAS_STATUS_SUCCESS
                                                           : CUBLAS_STATUS_NOT_SUPPORTED;
  }

  static float ElementAt(const void* matrix, uint64_t type, uint64_t i) {
    if (type == CUDA_R_32F) return static_cast<const float*>(matrix)[i];
    const uint32_t bits = uint32_t{static_cast<const uint16_t*>(matrix)[i]} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }

  static cublasStatus_t Multiply(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha,
                                 const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                                 cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                                 cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                                 const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                                 size_t workspace_bytes, cudaStream_t stream) {
    const Asked asked = AskedOf(product, a_layout, b_layout, d_layout);
    CHECK(*static_cast<const float*>(alpha) == 1 && c == d);
    CHECK(workspace != nullptr && workspace_bytes > 0);
    if (!asked.fits() || !Takes(*algorithm, asked.d.cols)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (static_cast<int>(algorithm->data[1]) == current_->failing_algorithm) {
      return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    ++current_->num_products;
    current_->used_algorithm = algorithm->data[1];
    current_->used_weights.push_back(a);
    const bool adds = *static_cast<const float*>(beta) == 1;
    EnqueueOn(stream, [=] {
      const uint64_t in = asked.b.rows;
      for (uint64_t r = 0; r < asked.d.cols; ++r) {
        for (uint64_t o = 0; o < asked.d.rows; ++o) {
          double sum = asked.has_bias ? asked.bias[o] : 0;
          for (uint64_t i = 0; i < in; ++i) {
            const uint64_t place = asked.is_transposed ? i + o * asked.a.ld : o + i * asked.a.ld;
            sum += double{ElementAt(a, asked.a.type, place)} *
                   ElementAt(b, asked.b.type, i + r * asked.b.ld);
          }
          float& to = static_cast<float*>(d)[o + r * asked.d.ld];
          to = static_cast<float>(adds ? to + sum : sum);
        }
      }
    });
    return CUBLAS_STATUS_SUCCESS;
  }

  static inline constinit thread_local FakeCublasLt* current_ = nullptr;

  int num_live_ = 0;
};

}  // namespace reprise::engine::cuda
