#include "engine/block_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reprise::engine {
namespace {

using cachestore::DType;
using testing::HasSubstr;

ModelConfig Config(int64_t head_dim) {
  ModelConfig config;
  config.num_layers = 2;
  config.num_heads = config.num_kv_heads = 4;
  config.head_dim = head_dim;
  return config;
}

TierSize Ram(int64_t bytes) { return {"RAM", bytes}; }

TEST(BlockFitTest, SmallerElementsFitMoreTokens) {
  // f32: 2 x 2 x 4 x 64 x 4 = 4 KiB a token; int4: 576 bytes, scales included.
  EXPECT_TRUE(CheckBlockFits(Config(64), 16, DType::kF32, Ram(64 << 10)).ok());
  EXPECT_THAT(std::string(CheckBlockFits(Config(64), 32, DType::kF32, Ram(64 << 10)).message()),
              HasSubstr("largest block_tokens that fits is 16"));
  EXPECT_TRUE(CheckBlockFits(Config(64), 64, DType::kInt4, Ram(36 << 10)).ok());
  EXPECT_FALSE(CheckBlockFits(Config(64), 64, DType::kInt4, Ram(32 << 10)).ok());
}

TEST(BlockFitTest, TheTierIsNamed) {
  EXPECT_THAT(
      std::string(CheckBlockFits(Config(64), 32, DType::kF32, TierSize{"GPU", 64 << 10}).message()),
      HasSubstr("the GPU tier has 65536"));
}

TEST(BlockFitTest, HalfBytesNeedAnEvenHeadDim) {
  EXPECT_TRUE(CheckBlockFits(Config(13), 16, DType::kInt8, Ram(1 << 20)).ok());
  const absl::Status status = CheckBlockFits(Config(13), 16, DType::kInt4, Ram(1 << 20));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("head_dim is 13"));
}

}  // namespace
}  // namespace reprise::engine
