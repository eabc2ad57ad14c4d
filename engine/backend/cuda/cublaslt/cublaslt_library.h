// CublasLtLibrary: the functions of cuBLASLt that are used, by the toolkit's types. The library is
// loaded when it is first wanted, not linked: it is of 540 MB, and whatever links it does not start
// without it.
#pragma once

#include <cublasLt.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::engine::cuda {

struct CublasLtLibrary {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmulDescCreate) create_product = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) set_product = nullptr;
  decltype(&cublasLtMatmulDescDestroy) destroy_product = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) create_matrix = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) set_matrix = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_matrix = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose = nullptr;
  decltype(&cublasLtMatmulAlgoCheck) check = nullptr;
  decltype(&cublasLtMatmul) multiply = nullptr;
  decltype(&cublasLtGetStatusName) status_name = nullptr;
  decltype(&cublasLtGetVersion) version = nullptr;

  // OK for success. Else kResourceExhausted where memory ran out, kInternal otherwise; the message
  // names `call` and cuBLASLt's cause.
  absl::Status StatusOf(cublasStatus_t status, absl::string_view call) const;
};

// The library of CUDA 13; `file` as for dlopen. It stays loaded while the process lives. Takes a
// second the first time. kNotFound: it cannot be loaded, and why; or it lacks a function.
// Thread-safe.
absl::StatusOr<CublasLtLibrary> LoadCublasLt(const std::string& file = "libcublasLt.so.13");

}  // namespace reprise::engine::cuda
