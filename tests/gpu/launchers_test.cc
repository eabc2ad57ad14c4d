// The launchers with the CUDA runtime, as far as that goes without a card: everything links, and
// what a kernel was not compiled for is refused before anything is launched.
#include "engine/backend/cuda/kernels/launchers.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

#include "engine/backend/cuda/kernels/tensor_map.h"

namespace reprise::engine::cuda {
namespace {

constexpr KvType kTensorCoreTypes[] = {KvType::kBF16, KvType::kF16, KvType::kE4M3, KvType::kInt8};

TEST(LaunchersTest, OtherTypesThanTheKernelsAreRefused) {
  for (const KvType type : {KvType::kF32, KvType::kInt4}) {
    DecodeParams decode;
    decode.kv.type = type;
    decode.kv.head_dim = 128;
    PrefillParams prefill;
    prefill.kv = decode.kv;
    int num_blocks = 0;
    EXPECT_EQ(LaunchDecodeAttention(decode, 1, nullptr), cudaErrorInvalidValue);
    EXPECT_EQ(DecodeAttentionBlocks(type, 128, &num_blocks), cudaErrorInvalidValue);
    EXPECT_EQ(LaunchPrefillAttention(prefill, 1, nullptr), cudaErrorInvalidValue);
    EXPECT_EQ(LaunchPrefillSm90(prefill, 1 << 20, 1, nullptr), cudaErrorInvalidValue);
  }
}

TEST(LaunchersTest, OtherShapesThanTheKernelsAreRefused) {
  for (const KvType type : kTensorCoreTypes) {
    DecodeParams decode;
    decode.kv.type = type;
    decode.kv.head_dim = 96;
    PrefillParams prefill;
    prefill.kv = decode.kv;
    int num_blocks = 0;
    EXPECT_EQ(LaunchDecodeAttention(decode, 1, nullptr), cudaErrorInvalidValue);
    EXPECT_EQ(DecodeAttentionBlocks(type, 96, &num_blocks), cudaErrorInvalidValue);
    EXPECT_EQ(LaunchPrefillAttention(prefill, 1, nullptr), cudaErrorInvalidValue);
  }
  GenericAttentionParams generic;
  generic.kv.head_dim = kGenericMostDims + 1;
  EXPECT_EQ(LaunchGenericAttention(generic, 1, nullptr), cudaErrorInvalidValue);
  NormParams norm;
  norm.cols = 6;
  EXPECT_EQ(LaunchNorm(norm, 1, nullptr), cudaErrorInvalidValue);
  ActivationParams activation;
  activation.cols = 6;
  EXPECT_EQ(LaunchActivation(activation, 1, nullptr), cudaErrorInvalidValue);
  SampleParams sample;
  for (const int32_t vocab : {0, kMostVocab + 1}) {
    sample.vocab = vocab;
    EXPECT_EQ(LaunchSample(sample, 1, nullptr), cudaErrorInvalidValue);
  }
}

TEST(LaunchersTest, OtherTensorsThanTheCopyEnginesAreRefused) {
  alignas(64) std::byte map[128];
  const RowsTensor right = {map, 64, 128, 16};
  EXPECT_NE(EncodeTensorMap(right, map), cudaErrorInvalidValue);
  for (RowsTensor wrong : {RowsTensor{map, 0, 128, 16}, RowsTensor{map, int64_t{1} << 32, 128, 16},
                           RowsTensor{map, 64, 96, 16}, RowsTensor{map, 64, 128, 257}}) {
    EXPECT_EQ(EncodeTensorMap(wrong, map), cudaErrorInvalidValue);
  }
}

// The runtime's own errors come back, and the process goes on.
TEST(LaunchersTest, WithoutACardThereIsAnError) {
  int cards = 0;
  if (cudaGetDeviceCount(&cards) == cudaSuccess && cards > 0) GTEST_SKIP() << "there is a card";
  int num_blocks = 0;
  for (const KvType type : kTensorCoreTypes) {
    for (const int head_dim : {64, 128}) {
      EXPECT_NE(DecodeAttentionBlocks(type, head_dim, &num_blocks), cudaSuccess);
      DecodeParams decode;
      decode.kv.type = type;
      decode.kv.head_dim = head_dim;
      PrefillParams prefill;
      prefill.kv = decode.kv;
      EXPECT_NE(LaunchDecodeAttention(decode, 1, nullptr), cudaSuccess);
      EXPECT_NE(LaunchPrefillAttention(prefill, 1, nullptr), cudaSuccess);
    }
  }
  PrefillParams sm90;
  sm90.kv.type = KvType::kBF16;
  sm90.kv.head_dim = 64;
  sm90.kv.row_bytes = 128;
  sm90.kv.block_tokens = 16;
  EXPECT_NE(LaunchPrefillSm90(sm90, 1 << 20, 1, nullptr), cudaSuccess);
  EXPECT_NE(LaunchEmbed({}, 1, nullptr), cudaSuccess);
  EXPECT_NE(LaunchRopeAppend({}, 1, nullptr), cudaSuccess);
  EXPECT_NE(LaunchNarrow({}, nullptr), cudaSuccess);
  EXPECT_NE(LaunchMergeStates({}, 1, nullptr), cudaSuccess);
  SampleParams sample;
  sample.vocab = 1;
  EXPECT_NE(LaunchSample(sample, 1, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace reprise::engine::cuda
