#include "engine/backend/cuda/cublaslt/cublaslt_library.h"

#include <dlfcn.h>

#include <type_traits>

#include "absl/strings/str_cat.h"

namespace reprise::engine::cuda {

absl::Status CublasLtLibrary::StatusOf(cublasStatus_t status, absl::string_view call) const {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  const std::string message = absl::StrCat(call, ": ", status_name(status));
  if (status == CUBLAS_STATUS_ALLOC_FAILED) return absl::ResourceExhaustedError(message);
  return absl::InternalError(message);
}

absl::StatusOr<CublasLtLibrary> LoadCublasLt(const std::string& file) {
  // Never closed: it leaves threads and a device's state behind.
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("no cuBLASLt: ", dlerror(),
                     "; install cuBLAS of CUDA 13, or put its folder into LD_LIBRARY_PATH"));
  }
  CublasLtLibrary lt;
  std::string missing;
  const auto load = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr) absl::StrAppend(&missing, " ", name);
  };
  load(lt.create, "cublasLtCreate");
  load(lt.destroy, "cublasLtDestroy");
  load(lt.create_product, "cublasLtMatmulDescCreate");
  load(lt.set_product, "cublasLtMatmulDescSetAttribute");
  load(lt.destroy_product, "cublasLtMatmulDescDestroy");
  load(lt.create_matrix, "cublasLtMatrixLayoutCreate");
  load(lt.set_matrix, "cublasLtMatrixLayoutSetAttribute");
  load(lt.destroy_matrix, "cublasLtMatrixLayoutDestroy");
  load(lt.create_preference, "cublasLtMatmulPreferenceCreate");
  load(lt.set_preference, "cublasLtMatmulPreferenceSetAttribute");
  load(lt.destroy_preference, "cublasLtMatmulPreferenceDestroy");
  load(lt.choose, "cublasLtMatmulAlgoGetHeuristic");
  load(lt.check, "cublasLtMatmulAlgoCheck");
  load(lt.multiply, "cublasLtMatmul");
  load(lt.status_name, "cublasLtGetStatusName");
  load(lt.version, "cublasLtGetVersion");
  if (missing.empty()) return lt;
  return absl::NotFoundError(absl::StrCat(file, " is no cuBLASLt of CUDA 13: it lacks", missing));
}

}  // namespace reprise::engine::cuda
