#include "engine/backend/cuda/kernels/prefill_attention_launch.cuh"

namespace reprise::engine::cuda {

template cudaError_t LaunchPrefillOf<KvType::kE4M3>(const PrefillParams&, int, cudaStream_t);

}  // namespace reprise::engine::cuda
