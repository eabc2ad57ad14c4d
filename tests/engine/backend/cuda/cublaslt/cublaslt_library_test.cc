// The library itself, as far as it goes without a card: it loads, describes, and refuses.
#include "engine/backend/cuda/cublaslt/cublaslt_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/backend/cuda/cublaslt/cublaslt_plan.h"

namespace reprise::engine::cuda {
namespace {

using testing::HasSubstr;

TEST(CublasLtLibraryTest, WhatIsNotThereIsNotFound) {
  const auto missing = LoadCublasLt("libno_such_cublaslt.so");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("libno_such_cublaslt.so"));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("LD_LIBRARY_PATH"));
}

TEST(CublasLtLibraryTest, AnotherLibraryLacksItsFunctions) {
  const auto other = LoadCublasLt("libm.so.6");
  EXPECT_EQ(other.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("cublasLtMatmulDescCreate"));
}

class LoadedCublasLtTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto loaded = LoadCublasLt();
    if (!loaded.ok()) GTEST_SKIP() << loaded.status();
    lt_ = *loaded;
  }

  CublasLtLibrary lt_;
};

TEST_F(LoadedCublasLtTest, IsOfCuda13) {
  EXPECT_GE(lt_.version(), 130000u);
  EXPECT_LT(lt_.version(), 140000u);
}

TEST_F(LoadedCublasLtTest, DescribesMatrices) {
  cublasLtMatrixLayout_t matrix = nullptr;
  ASSERT_EQ(lt_.create_matrix(&matrix, CUDA_R_16BF, 128, 7, 128), CUBLAS_STATUS_SUCCESS);
  const uint64_t cols = 9;
  EXPECT_EQ(lt_.set_matrix(matrix, CUBLASLT_MATRIX_LAYOUT_COLS, &cols, sizeof(cols)),
            CUBLAS_STATUS_SUCCESS);
  const absl::Status refused = lt_.StatusOf(
      lt_.set_matrix(matrix, CUBLASLT_MATRIX_LAYOUT_COLS, &cols, 1), "the number of columns");
  EXPECT_EQ(refused.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(refused.message(), "the number of columns: CUBLAS_STATUS_INVALID_VALUE");
  EXPECT_EQ(lt_.destroy_matrix(matrix), CUBLAS_STATUS_SUCCESS);
}

TEST_F(LoadedCublasLtTest, DescribesProductsAndPreferences) {
  cublasLtMatmulDesc_t product = nullptr;
  ASSERT_EQ(lt_.create_product(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
  const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  EXPECT_EQ(lt_.set_product(product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue)),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_FALSE(lt_.StatusOf(lt_.set_product(product, CUBLASLT_MATMUL_DESC_EPILOGUE, nullptr, 4),
                            "an epilogue of nothing")
                   .ok());
  EXPECT_EQ(lt_.destroy_product(product), CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulPreference_t preference = nullptr;
  ASSERT_EQ(lt_.create_preference(&preference), CUBLAS_STATUS_SUCCESS);
  const uint64_t bytes = 1 << 20;
  EXPECT_EQ(lt_.set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                               sizeof(bytes)),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(lt_.destroy_preference(preference), CUBLAS_STATUS_SUCCESS);
}

// Every attribute, its name and its size: only what needs a card, and has no handle, is refused.
TEST_F(LoadedCublasLtTest, TakesWhatAPlanIsDescribedBy) {
  for (const auto type : {CUDA_R_32F, CUDA_R_16BF}) {
    for (const auto order : {WeightOrder::kOutIn, WeightOrder::kInOut}) {
      for (const bool has_bias : {false, true}) {
        const auto plan =
            CublasLtPlan::Create(&lt_, /*handle=*/nullptr, {1000, 333, type, order, has_bias}, 7);
        EXPECT_THAT(std::string(plan.status().message()),
                    HasSubstr("cublasLtMatmulAlgoGetHeuristic for 7 rows"));
      }
    }
  }
}

TEST_F(LoadedCublasLtTest, NamesOfCausesAreItsOwn) {
  EXPECT_TRUE(lt_.StatusOf(CUBLAS_STATUS_SUCCESS, "call").ok());
  EXPECT_EQ(lt_.StatusOf(CUBLAS_STATUS_ALLOC_FAILED, "call").code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace reprise::engine::cuda
