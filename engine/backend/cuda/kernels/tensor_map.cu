#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include "engine/backend/cuda/kernels/tensor_map.h"

namespace reprise::engine::cuda {
namespace {

struct Encoder {
  cudaError_t error = cudaSuccess;
  PFN_cuTensorMapEncodeTiled_v12000 encode = nullptr;
};

// From the driver that is loaded, so that nothing has to be linked with it.
Encoder FindEncoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                             12000, cudaEnableDefault, &found);
  if (error != cudaSuccess) return {error};
  if (found != cudaDriverEntryPointSuccess) return {cudaErrorNotSupported};
  return {cudaSuccess, reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function)};
}

}  // namespace

cudaError_t EncodeTensorMap(const RowsTensor& tensor, void* map) {
  constexpr uint32_t kBoxColumns = 64;
  if (tensor.rows <= 0 || tensor.rows > INT32_MAX || tensor.columns <= 0 ||
      tensor.columns % kBoxColumns != 0 || tensor.box_rows < 1 || tensor.box_rows > 256) {
    return cudaErrorInvalidValue;
  }
  static const Encoder encoder = FindEncoder();
  if (encoder.error != cudaSuccess) return encoder.error;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(tensor.columns),
                               static_cast<cuuint64_t>(tensor.rows)};
  const cuuint64_t row_bytes[1] = {sizes[0] * 2};
  const cuuint32_t box[2] = {kBoxColumns, static_cast<cuuint32_t>(tensor.box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  // Bits are copied: which 16-bit type they are of does not matter.
  const CUresult result = encoder.encode(
      static_cast<CUtensorMap*>(map), CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, tensor.base, sizes,
      row_bytes, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace reprise::engine::cuda
