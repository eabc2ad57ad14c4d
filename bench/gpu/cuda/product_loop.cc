#include "bench/gpu/product_loop.h"

#include <cublasLt.h>

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/gpu/cuda/device_contents.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/cublaslt/cublaslt_library.h"

namespace reprise::bench {
namespace {

using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::Lane;
using engine::cuda::CublasLtLibrary;

constexpr uint64_t kSize = 8192;                                   // of a matrix's side
constexpr size_t kMatrixBytes = kSize * kSize * sizeof(uint16_t);  // bf16
constexpr size_t kWorkspaceBytes = size_t{32} << 20;
constexpr size_t kPatternBytes = size_t{8} << 20;

// What a product is, for cuBLASLt: D = A^T B, all [8192, 8192], columns first. Lives as long as the
// process, as the library does.
struct Plan {
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t matrix = nullptr;
  cublasLtMatmulAlgo_t algorithm = {};
};

absl::StatusOr<Plan> MakePlan(const CublasLtLibrary& lt) {
  Plan plan;
  RETURN_IF_ERROR(lt.StatusOf(lt.create(&plan.handle), "cublasLtCreate"));
  RETURN_IF_ERROR(lt.StatusOf(lt.create_product(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                              "cublasLtMatmulDescCreate"));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  RETURN_IF_ERROR(lt.StatusOf(
      lt.set_product(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)),
      "cublasLtMatmulDescSetAttribute"));
  RETURN_IF_ERROR(lt.StatusOf(lt.create_matrix(&plan.matrix, CUDA_R_16BF, kSize, kSize, kSize),
                              "cublasLtMatrixLayoutCreate"));
  cublasLtMatmulPreference_t preference = nullptr;
  RETURN_IF_ERROR(lt.StatusOf(lt.create_preference(&preference), "cublasLtMatmulPreferenceCreate"));
  RETURN_IF_ERROR(
      lt.StatusOf(lt.set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                    &kWorkspaceBytes, sizeof(kWorkspaceBytes)),
                  "cublasLtMatmulPreferenceSetAttribute"));
  cublasLtMatmulHeuristicResult_t best = {};
  int found = 0;
  RETURN_IF_ERROR(lt.StatusOf(lt.choose(plan.handle, plan.product, plan.matrix, plan.matrix,
                                        plan.matrix, plan.matrix, preference, 1, &best, &found),
                              "cublasLtMatmulAlgoGetHeuristic"));
  if (found == 0) return absl::InternalError("cuBLASLt knows no algorithm for the product");
  plan.algorithm = best.algo;
  return plan;
}

class CublasProductLoop : public ProductLoop {
 public:
  CublasProductLoop(Device* device, const CublasLtLibrary& lt, const Plan& plan, DeviceBytes memory)
      : device_(device), lt_(lt), plan_(plan), memory_(std::move(memory)) {}

  absl::Status Enqueue(int count) override {
    const float one = 1;
    const float zero = 0;
    std::byte* const a = memory_.bytes().data();
    std::byte* const b = a + kMatrixBytes;
    std::byte* const d = b + kMatrixBytes;
    const auto stream = static_cast<cudaStream_t>(device_->Stream(Lane::kCompute));
    for (int i = 0; i < count; ++i) {
      RETURN_IF_ERROR(
          lt_.StatusOf(lt_.multiply(plan_.handle, plan_.product, &one, a, plan_.matrix, b,
                                    plan_.matrix, &zero, d, plan_.matrix, d, plan_.matrix,
                                    &plan_.algorithm, d + kMatrixBytes, kWorkspaceBytes, stream),
                       "cublasLtMatmul"));
    }
    return absl::OkStatus();
  }

  std::string name() const override {
    return absl::StrCat("bf16, 8192 x 8192 x 8192, cuBLASLt ", lt_.version());
  }
  double operations() const override { return 2.0 * kSize * kSize * kSize; }

 private:
  Device* const device_;
  const CublasLtLibrary lt_;
  const Plan plan_;
  const DeviceBytes memory_;  // A, B, D, workspace
};

}  // namespace

absl::StatusOr<std::unique_ptr<ProductLoop>> OpenProductLoop(Device* device) {
  ASSIGN_OR_RETURN(const CublasLtLibrary lt, engine::cuda::LoadCublasLt());
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(lt));
  ASSIGN_OR_RETURN(DeviceBytes memory, device->Reserve(3 * kMatrixBytes + kWorkspaceBytes));
  RETURN_IF_ERROR(
      FillDevice(*device, memory.bytes().first(2 * kMatrixBytes), RandomBF16(kPatternBytes)));
  return std::make_unique<CublasProductLoop>(device, lt, plan, std::move(memory));
}

}  // namespace reprise::bench
