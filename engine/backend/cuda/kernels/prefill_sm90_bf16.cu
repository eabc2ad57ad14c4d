#include "engine/backend/cuda/kernels/prefill_sm90_launch.cuh"

namespace reprise::engine::cuda {

template cudaError_t LaunchSm90Of<KvType::kBF16>(const PrefillSm90Params&, int, cudaStream_t);

}  // namespace reprise::engine::cuda
