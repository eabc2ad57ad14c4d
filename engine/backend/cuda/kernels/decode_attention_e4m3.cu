#include "engine/backend/cuda/kernels/decode_attention_launch.cuh"

namespace reprise::engine::cuda {

template cudaError_t LaunchDecodeOf<KvType::kE4M3>(const DecodeParams&, int, cudaStream_t);
template cudaError_t CountDecodeBlocksOf<KvType::kE4M3>(int, int*);

}  // namespace reprise::engine::cuda
