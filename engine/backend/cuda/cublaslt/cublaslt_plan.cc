#include "engine/backend/cuda/cublaslt/cublaslt_plan.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/cublaslt/work_timer.h"

namespace reprise::engine::cuda {
namespace {

// Algorithms that are timed: those behind are hardly ever the fastest.
constexpr int kTimedAlgorithms = 8;

}  // namespace

CublasLtPlan::CublasLtPlan(const CublasLtLibrary* library, cublasLtHandle_t handle)
    : lt_(library),
      handle_(handle),
      product_(nullptr, library->destroy_product),
      weight_(nullptr, library->destroy_matrix),
      x_(nullptr, library->destroy_matrix),
      out_(nullptr, library->destroy_matrix),
      preference_(nullptr, library->destroy_preference) {}

absl::StatusOr<std::unique_ptr<CublasLtPlan>> CublasLtPlan::Create(const CublasLtLibrary* library,
                                                                   cublasLtHandle_t handle,
                                                                   const ProductShape& shape,
                                                                   int64_t rows) {
  CHECK(shape.in > 0 && shape.out > 0 && rows > 0);
  std::unique_ptr<CublasLtPlan> plan(new CublasLtPlan(library, handle));
  RETURN_IF_ERROR(plan->Describe(shape, rows));
  RETURN_IF_ERROR(plan->Prefer());
  ASSIGN_OR_RETURN(const std::vector<cublasLtMatmulAlgo_t> algorithms, plan->Algorithms(rows, 1));
  plan->algorithm_ = algorithms[0];
  plan->of_rows_ = &plan->algorithm_;
  plan->rows_ = rows;
  return plan;
}

absl::Status CublasLtPlan::Describe(const ProductShape& shape, int64_t rows) {
  cublasLtMatmulDesc_t product = nullptr;
  // In f32 that is f32 products and f32 sums: TF32 would have to be asked for.
  RETURN_IF_ERROR(lt_->StatusOf(lt_->create_product(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                                "cublasLtMatmulDescCreate"));
  product_.reset(product);
  const bool is_out_in = shape.order == WeightOrder::kOutIn;
  const cublasOperation_t operation = is_out_in ? CUBLAS_OP_T : CUBLAS_OP_N;
  RETURN_IF_ERROR(lt_->StatusOf(
      lt_->set_product(product, CUBLASLT_MATMUL_DESC_TRANSA, &operation, sizeof(operation)),
      "CUBLASLT_MATMUL_DESC_TRANSA"));
  has_bias_ = shape.has_bias;
  if (has_bias_) RETURN_IF_ERROR(DescribeBias());
  ASSIGN_OR_RETURN(weight_, is_out_in ? Matrix(shape.type, shape.in, shape.out)
                                      : Matrix(shape.type, shape.out, shape.in));
  ASSIGN_OR_RETURN(x_, Matrix(shape.type, shape.in, rows));
  ASSIGN_OR_RETURN(out_, Matrix(CUDA_R_32F, shape.out, rows));
  return absl::OkStatus();
}

absl::Status CublasLtPlan::DescribeBias() {
  const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  RETURN_IF_ERROR(lt_->StatusOf(
      lt_->set_product(product_.get(), CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue)),
      "CUBLASLT_MATMUL_DESC_EPILOGUE"));
  const cudaDataType type = CUDA_R_32F;
  return lt_->StatusOf(
      lt_->set_product(product_.get(), CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof(type)),
      "CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE");
}

absl::Status CublasLtPlan::Prefer() {
  cublasLtMatmulPreference_t preference = nullptr;
  RETURN_IF_ERROR(
      lt_->StatusOf(lt_->create_preference(&preference), "cublasLtMatmulPreferenceCreate"));
  preference_.reset(preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value,
                       absl::string_view name) {
    return lt_->StatusOf(lt_->set_preference(preference, attribute, &value, sizeof(value)), name);
  };
  const auto workspace = uint64_t{kProductWorkspaceBytes};
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace,
                      "CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES"));
  // Sums of a split product in their order: those that add in place do so in any.
  const auto reductions =
      uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE} | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions,
                      "CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK"));
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    RETURN_IF_ERROR(set(attribute, kProductAlignment, "CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_*"));
  }
  return absl::OkStatus();
}

absl::StatusOr<CublasLtPlan::Owned<cublasLtMatrixLayout_t>> CublasLtPlan::Matrix(
    cudaDataType type, int64_t rows, int64_t cols) const {
  cublasLtMatrixLayout_t matrix = nullptr;
  RETURN_IF_ERROR(lt_->StatusOf(lt_->create_matrix(&matrix, type, static_cast<uint64_t>(rows),
                                                   static_cast<uint64_t>(cols), /*ld=*/rows),
                                absl::StrCat("cublasLtMatrixLayoutCreate of ", rows, " x ", cols)));
  return Owned<cublasLtMatrixLayout_t>(matrix, lt_->destroy_matrix);
}

absl::StatusOr<std::vector<cublasLtMatmulAlgo_t>> CublasLtPlan::Algorithms(int64_t rows,
                                                                           int most) const {
  std::vector<cublasLtMatmulHeuristicResult_t> results(most);
  int found = 0;
  RETURN_IF_ERROR(
      lt_->StatusOf(lt_->choose(handle_, product_.get(), weight_.get(), x_.get(), out_.get(),
                                out_.get(), preference_.get(), most, results.data(), &found),
                    absl::StrCat("cublasLtMatmulAlgoGetHeuristic for ", rows, " rows")));
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < found; ++i) {
    if (results[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(results[i].algo);
  }
  if (algorithms.empty()) {
    return absl::InternalError(absl::StrCat("cuBLASLt has no algorithm for ", rows, " rows"));
  }
  return algorithms;
}

absl::Status CublasLtPlan::ChooseFastest(absl::FunctionRef<absl::StatusOr<double>()> seconds) {
  ASSIGN_OR_RETURN(const std::vector<cublasLtMatmulAlgo_t> algorithms,
                   Algorithms(rows_, kTimedAlgorithms));
  algorithm_ = algorithms[FastestOf(algorithms.size(), [&](size_t i) {
    algorithm_ = algorithms[i];
    return seconds().value_or(std::numeric_limits<double>::infinity());
  })];
  return absl::OkStatus();
}

absl::Status CublasLtPlan::SetRows(int64_t rows) {
  if (rows == rows_) return absl::OkStatus();
  rows_ = 0;  // until there is an algorithm that takes them
  const auto cols = static_cast<uint64_t>(rows);
  for (const cublasLtMatrixLayout_t matrix : {x_.get(), out_.get()}) {
    RETURN_IF_ERROR(
        lt_->StatusOf(lt_->set_matrix(matrix, CUBLASLT_MATRIX_LAYOUT_COLS, &cols, sizeof(cols)),
                      "CUBLASLT_MATRIX_LAYOUT_COLS"));
  }
  if (const auto own = own_.find(rows); own != own_.end()) {
    of_rows_ = &own->second;
    rows_ = rows;
    return absl::OkStatus();
  }
  cublasLtMatmulHeuristicResult_t result = {};
  const cublasStatus_t status = lt_->check(handle_, product_.get(), weight_.get(), x_.get(),
                                           out_.get(), out_.get(), &algorithm_, &result);
  of_rows_ = &algorithm_;
  if (status != CUBLAS_STATUS_SUCCESS || result.workspaceSize > kProductWorkspaceBytes) {
    ASSIGN_OR_RETURN(const std::vector<cublasLtMatmulAlgo_t> algorithms, Algorithms(rows, 1));
    of_rows_ = &own_.emplace(rows, algorithms[0]).first->second;
  }
  rows_ = rows;
  return absl::OkStatus();
}

absl::Status CublasLtPlan::Multiply(int64_t rows, const ProductOperands& operands,
                                    cudaStream_t stream) {
  CHECK(rows > 0 && (operands.bias != nullptr) == has_bias_);
  if (has_bias_) {
    RETURN_IF_ERROR(
        lt_->StatusOf(lt_->set_product(product_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                       &operands.bias, sizeof(operands.bias)),
                      "CUBLASLT_MATMUL_DESC_BIAS_POINTER"));
  }
  RETURN_IF_ERROR(SetRows(rows));
  const float one = 1;
  const float before = operands.adds ? 1 : 0;
  return lt_->StatusOf(
      lt_->multiply(handle_, product_.get(), &one, operands.weight, weight_.get(), operands.x,
                    x_.get(), &before, operands.out, out_.get(), operands.out, out_.get(), of_rows_,
                    operands.workspace, kProductWorkspaceBytes, stream),
      "cublasLtMatmul");
}

}  // namespace reprise::engine::cuda
