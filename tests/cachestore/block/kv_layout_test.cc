#include "cachestore/block/kv_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace reprise::cachestore {
namespace {

using ::testing::HasSubstr;

KvLayout Layout() {
  return {
      .num_layers = 3, .num_kv_heads = 2, .head_dim = 8, .block_tokens = 16, .dtype = DType::kF16};
}

TEST(KvLayoutTest, SizesFollowTheShape) {
  const KvLayout layout = Layout();
  ASSERT_TRUE(layout.Validate().ok());
  EXPECT_EQ(layout.BytesPerPart(), 2u * 16 * 8 * 2);
  EXPECT_EQ(layout.BytesPerBlock(), 2u * 3 * layout.BytesPerPart());
  EXPECT_EQ(layout.PartOffset(0, 0), 0u);
  EXPECT_EQ(layout.PartOffset(0, 1), layout.BytesPerPart());
  EXPECT_EQ(layout.PartOffset(2, 1), 5 * layout.BytesPerPart());
}

TEST(KvLayoutTest, FourBitElementsTakeHalfAByte) {
  KvLayout layout = Layout();
  layout.dtype = DType::kInt4;
  ASSERT_TRUE(layout.Validate().ok());
  EXPECT_EQ(layout.BytesPerPart(), 2u * 16 * 8 / 2);
  layout.head_dim = 7;
  EXPECT_THAT(std::string(layout.Validate().message()), HasSubstr("head_dim is 7"));
}

TEST(KvLayoutTest, ScalesLieBehindTheElementsOfAPart) {
  KvLayout layout = Layout();
  layout.dtype = DType::kInt8;
  const size_t without = layout.BytesPerBlock();
  EXPECT_EQ(without, 2u * 3 * 2 * 16 * 8);
  layout.scales = KvScales::kPerRow;
  ASSERT_TRUE(layout.Validate().ok());
  EXPECT_EQ(layout.ScalesOffset(), 2u * 16 * 8);
  EXPECT_EQ(layout.BytesPerPart(), 2u * 16 * (8 + 2));
  EXPECT_EQ(layout.PartOffset(0, 1), layout.BytesPerPart());
  EXPECT_EQ(layout.BytesPerBlock(), without + 2u * 3 * 2 * 16 * 2);

  layout.dtype = DType::kInt4;
  layout.scales = KvScales::kPer32;
  for (const auto& [head_dim, scales] : {std::pair{8, 1}, {32, 1}, {34, 2}, {64, 2}, {80, 3}}) {
    layout.head_dim = head_dim;
    ASSERT_TRUE(layout.Validate().ok());
    EXPECT_EQ(layout.ScalesPerRow(), scales);
    EXPECT_EQ(layout.BytesPerPart(), 2u * 16 * (head_dim / 2 + 2 * scales));
  }
}

TEST(KvLayoutTest, ScalesOfAnotherDTypeAreRefused) {
  KvLayout layout = Layout();
  layout.scales = KvScales::kPerRow;
  EXPECT_THAT(std::string(layout.Validate().message()),
              HasSubstr("scales are \"bf16 per row\"; fp16 is not scaled like that"));
  layout.dtype = DType::kInt8;
  layout.scales = KvScales::kPer32;
  EXPECT_EQ(layout.Validate().code(), absl::StatusCode::kInvalidArgument);
  layout.scales = static_cast<KvScales>(9);
  EXPECT_THAT(std::string(layout.Validate().message()), HasSubstr("9"));
}

TEST(KvLayoutTest, ScalesCountForTheLargestBlock) {
  KvLayout layout = {.num_layers = 64,
                     .num_kv_heads = 32,
                     .head_dim = 256,
                     .block_tokens = 16,
                     .dtype = DType::kInt8};
  ASSERT_EQ(layout.BytesPerBlock(), size_t{16} << 20);
  EXPECT_TRUE(layout.Validate().ok());
  layout.scales = KvScales::kPerRow;
  EXPECT_THAT(std::string(layout.Validate().message()), HasSubstr("with its scales"));
}

TEST(KvLayoutTest, NamesOfScalesRoundTripAndOthersAreOutside) {
  for (const KvScales scales : {KvScales::kOutside, KvScales::kPerRow, KvScales::kPer32}) {
    EXPECT_EQ(KvScalesFromName(KvScalesName(scales)), scales);
  }
  EXPECT_EQ(KvScalesFromName("per head"), KvScales::kOutside);
}

TEST(KvLayoutTest, ValidateNamesTheFieldThatIsNotPositive) {
  const auto message_after = [](int32_t KvLayout::*field, int32_t value) {
    KvLayout layout = Layout();
    layout.*field = value;
    EXPECT_EQ(layout.Validate().code(), absl::StatusCode::kInvalidArgument);
    return std::string(layout.Validate().message());
  };
  EXPECT_THAT(message_after(&KvLayout::num_layers, 0), HasSubstr("num_layers is 0"));
  EXPECT_THAT(message_after(&KvLayout::num_kv_heads, -1), HasSubstr("num_kv_heads is -1"));
  EXPECT_THAT(message_after(&KvLayout::head_dim, 0), HasSubstr("head_dim is 0"));
  EXPECT_THAT(message_after(&KvLayout::block_tokens, -7), HasSubstr("block_tokens is -7"));
}

TEST(KvLayoutTest, ABlockOfExactlySixteenMebibytesIsTheLargest) {
  KvLayout layout = {.num_layers = 64,
                     .num_kv_heads = 8,
                     .head_dim = 256,
                     .block_tokens = 16,
                     .dtype = DType::kF32};
  ASSERT_EQ(layout.BytesPerBlock(), size_t{16} << 20);
  EXPECT_TRUE(layout.Validate().ok());
  layout.num_layers = 65;
  EXPECT_THAT(std::string(layout.Validate().message()), HasSubstr("num_layers = 65"));
}

TEST(KvLayoutTest, ABlockHoldsAtMost4096Tokens) {
  KvLayout layout = {.num_layers = 1,
                     .num_kv_heads = 1,
                     .head_dim = 1,
                     .block_tokens = 4096,
                     .dtype = DType::kF32};
  EXPECT_TRUE(layout.Validate().ok());
  layout.block_tokens = 4097;
  EXPECT_THAT(std::string(layout.Validate().message()),
              HasSubstr("block_tokens is 4097; at most 4096"));
}

TEST(KvLayoutTest, HugeShapesDoNotOverflowIntoValidOnes) {
  constexpr int32_t kHuge = std::numeric_limits<int32_t>::max();
  const KvLayout layout = {kHuge, kHuge, kHuge, kHuge, DType::kF32};
  EXPECT_EQ(layout.Validate().code(), absl::StatusCode::kInvalidArgument);
}

TEST(KvLayoutTest, AnUnknownDTypeIsRefused) {
  KvLayout layout = Layout();
  layout.dtype = static_cast<DType>(99);
  EXPECT_THAT(std::string(layout.Validate().message()), HasSubstr("99"));
}

TEST(DTypeTest, NamesAndBitsRoundTrip) {
  const std::pair<const char*, int> known[] = {{"fp32", 32}, {"fp16", 16}, {"bf16", 16},
                                               {"fp8", 8},   {"int8", 8},  {"int4", 4}};
  for (const auto& [name, bits] : known) {
    const absl::StatusOr<DType> dtype = DTypeFromName(name);
    ASSERT_TRUE(dtype.ok()) << dtype.status();
    EXPECT_EQ(DTypeName(*dtype), name);
    EXPECT_EQ(DTypeBits(*dtype), bits);
  }
}

TEST(DTypeTest, AnUnknownNameListsTheKnownOnes) {
  const absl::StatusOr<DType> dtype = DTypeFromName("float");
  EXPECT_EQ(dtype.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(dtype.status().message()), HasSubstr("fp32, fp16, bf16, fp8"));
}

}  // namespace
}  // namespace reprise::cachestore
