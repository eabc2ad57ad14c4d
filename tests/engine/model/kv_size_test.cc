#include "engine/model/kv_size.h"

#include <limits>
#include <set>
#include <string>
#include <vector>

#include "engine/backend/kv_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/model_folder.h"

namespace reprise::engine {
namespace {

using cachestore::DType;
using ::testing::AllOf;
using ::testing::HasSubstr;

int64_t Bytes(const std::string& name, const KvLoad& load) {
  const auto geometry = FindKvGeometry(name);
  EXPECT_TRUE(geometry.ok()) << geometry.status();
  const auto bytes = KvBytes(*geometry, load);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.value_or(-1);
}

TEST(KvSizeTest, Llama7BWith4096TokensTakesTwoGiB) {
  EXPECT_EQ(Bytes("llama-7b", {4096, 1, DType::kF16}), 2147483648);
  EXPECT_EQ(Bytes("llama-7b", {4096, 32, DType::kF16}), int64_t{64} << 30);
}

TEST(KvSizeTest, EveryDtypeCountsItsBits) {
  const int64_t f16 = 2147483648;
  EXPECT_EQ(Bytes("llama-7b", {4096, 1, DType::kF32}), 2 * f16);
  EXPECT_EQ(Bytes("llama-7b", {4096, 1, DType::kBF16}), f16);
  EXPECT_EQ(Bytes("llama-7b", {4096, 1, DType::kF8E4M3}), f16 / 2);
}

TEST(KvSizeTest, ScalesOfIntegersAreCounted) {
  const int64_t rows = int64_t{2} * 32 * 32 * 4096;  // K and V, layers, heads, tokens
  EXPECT_EQ(Bytes("llama-7b", {4096, 1, DType::kInt8}), rows * (128 + 2));
  EXPECT_EQ(Bytes("llama-7b", {4096, 1, DType::kInt4}), rows * (64 + 4 * 2));
  // As blocks have them.
  cachestore::KvLayout block;
  block.num_layers = block.num_kv_heads = 32;
  block.head_dim = 128;
  block.block_tokens = 1;
  block = WithDType(block, DType::kInt4);
  EXPECT_EQ(Bytes("llama-7b", {1, 1, DType::kInt4}), static_cast<int64_t>(block.BytesPerBlock()));
}

TEST(KvSizeTest, PresetsHaveTheGeometryOfTheirModels) {
  // Per token: 2 x layers x kv heads x head dim x 2 bytes.
  EXPECT_EQ(Bytes("llama-13b", {1, 1, DType::kF16}), 819200);
  EXPECT_EQ(Bytes("llama-70b", {1, 1, DType::kF16}), 327680);
  EXPECT_EQ(Bytes("llama3-8b", {1, 1, DType::kF16}), 131072);
  EXPECT_EQ(Bytes("mistral-7b", {1, 1, DType::kF16}), 131072);
  EXPECT_EQ(Bytes("gpt2", {1, 1, DType::kF16}), 36864);
  EXPECT_EQ(Bytes("gpt2-xl", {1, 1, DType::kF16}), 307200);
  EXPECT_EQ(Bytes("qwen2.5-0.5b", {1, 1, DType::kF16}), 12288);
  EXPECT_EQ(Bytes("qwen2.5-7b", {1, 1, DType::kF16}), 57344);
  EXPECT_EQ(Bytes("llama3.1-70b", {1, 1, DType::kF16}), 327680);
  EXPECT_EQ(Bytes("qwen3-30b-a3b", {1, 1, DType::kF16}), 98304);
  EXPECT_EQ(Bytes("gemma3-1b", {1, 1, DType::kF16}), 26624);
  std::set<std::string> names;
  for (const KvGeometry& preset : KvPresets()) {
    EXPECT_TRUE(names.insert(preset.name).second) << preset.name;
    EXPECT_EQ(preset.num_heads % preset.num_kv_heads, 0) << preset.name;
    EXPECT_TRUE(KvBytes(preset, {1 << 20, 1024, DType::kF32}).ok()) << preset.name;
  }
}

TEST(KvSizeTest, RowsThatNoBlockHasAreRefused) {
  EXPECT_THAT(std::string(KvBytes({"tiny", 1, 1, 1, 1}, {1, 1, DType::kInt4}).status().message()),
              HasSubstr("int4"));
  EXPECT_EQ(KvBytes({"tiny", 1, 3, 3, 2}, {1, 1, DType::kInt4}).value(), 2 * 3 * (1 + 2));
}

TEST(KvSizeTest, VariantsOfOneGeometryDifferInKvHeadsOnly) {
  const auto geometry = FindKvGeometry("llama-70b");
  ASSERT_TRUE(geometry.ok());
  const std::vector<KvVariant> variants = KvVariants(*geometry);
  ASSERT_EQ(variants.size(), 3u);
  const int64_t expected[] = {2621440, 327680, 40960};  // 64, 8, 1 kv heads
  const char* const names[] = {"MHA", "GQA-8", "MQA"};
  for (size_t i = 0; i < variants.size(); ++i) {
    EXPECT_EQ(variants[i].name, names[i]);
    EXPECT_EQ(KvBytes(variants[i].geometry, {1, 1, DType::kF16}).value(), expected[i]);
    EXPECT_EQ(variants[i].is_own, i == 1);
  }
}

TEST(KvSizeTest, VariantsOfEveryGeometryHaveTheModelsOwnOnce) {
  for (const KvGeometry& preset : KvPresets()) {
    int own = 0;
    int64_t last = std::numeric_limits<int64_t>::max();
    for (const KvVariant& variant : KvVariants(preset)) {
      own += variant.is_own ? 1 : 0;
      EXPECT_LT(variant.geometry.num_kv_heads, last) << preset.name;
      EXPECT_EQ(variant.geometry.num_heads % variant.geometry.num_kv_heads, 0) << preset.name;
      last = variant.geometry.num_kv_heads;
    }
    EXPECT_EQ(own, 1) << preset.name;
  }
  EXPECT_EQ(KvVariants({"one head", 2, 1, 1, 64}).size(), 1u);
  EXPECT_EQ(KvVariants({"mqa", 2, 32, 1, 64})[2].name, "MQA");
}

TEST(KvSizeTest, ImpossibleLoadsAreNamed) {
  const KvGeometry geometry = {"llama-7b", 32, 32, 32, 128};
  EXPECT_THAT(std::string(KvBytes(geometry, {0, 1, DType::kF16}).status().message()),
              AllOf(HasSubstr("tokens"), HasSubstr("is 0")));
  EXPECT_THAT(std::string(KvBytes(geometry, {1, -3, DType::kF16}).status().message()),
              AllOf(HasSubstr("batch"), HasSubstr("-3")));
  EXPECT_THAT(
      std::string(KvBytes(geometry, {int64_t{1} << 40, 1 << 10, DType::kF16}).status().message()),
      HasSubstr("2^63"));
}

TEST(KvSizeTest, ReadsTheGeometryOfAModelFolder) {
  const auto geometry = FindKvGeometry(FixturePath("llama_gqa_tied"));
  ASSERT_TRUE(geometry.ok()) << geometry.status();
  EXPECT_EQ(geometry->num_layers, 2);
  EXPECT_EQ(geometry->num_heads, 4);
  EXPECT_EQ(geometry->num_kv_heads, 2);
  EXPECT_EQ(geometry->head_dim, 12);
  const absl::Status status = FindKvGeometry("llama-9b").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("llama-9b"), HasSubstr("llama-7b"), HasSubstr("qwen2.5-0.5b")));
  const ModelFolder empty;
  EXPECT_EQ(FindKvGeometry(empty.path()).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace reprise::engine
