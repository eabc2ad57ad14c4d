#include "engine/backend/cuda/kernels/decode_attention_launch.cuh"

namespace reprise::engine::cuda {

template cudaError_t LaunchDecodeOf<KvType::kF16>(const DecodeParams&, int, cudaStream_t);
template cudaError_t CountDecodeBlocksOf<KvType::kF16>(int, int*);

}  // namespace reprise::engine::cuda
