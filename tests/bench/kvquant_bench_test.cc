#include "bench/kvquant_bench.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace reprise::bench {
namespace {

std::string Fixture(const std::string& name) {
  return REPRISE_SOURCE_DIR "/tests/parity/fixtures/" + name;
}

// Figures by metric, of models whose context is 160 tokens.
std::map<std::string, double> Measure(const std::vector<std::string>& fixtures) {
  KvQuantBenchOptions options{.prompt_tokens = 60, .new_tokens = 100, .num_threads = 1};
  for (const std::string& fixture : fixtures) options.model_folders.push_back(Fixture(fixture));
  const auto rows = RunKvQuantBench(options);
  EXPECT_TRUE(rows.ok()) << rows.status();
  std::map<std::string, double> figures;
  if (!rows.ok()) return figures;
  for (const Result& row : *rows) {
    EXPECT_TRUE(figures.emplace(row.metric, row.ours).second) << row.metric;
  }
  return figures;
}

// What is measured is exact, and the same wherever it is measured: a fewer bits' error is larger.
TEST(KvQuantBenchTest, FormatsStandInTheExpectedOrder) {
  const std::map<std::string, double> figures =
      Measure({"gpt2_mha_tied", "llama_gqa_tied", "mistral_gqa", "qwen2_gqa_tied"});
  for (const char* family : {"gpt2", "llama", "mistral", "qwen2"}) {
    SCOPED_TRACE(family);
    const auto figure = [&](const char* metric, const char* dtype) {
      return figures.at(absl::StrCat("kvquant.", metric, ".", family, ".", dtype));
    };
    EXPECT_EQ(figure("logit_error", "fp32"), 0);
    EXPECT_EQ(figure("greedy_agreement", "fp32"), 1);
    const char* order[] = {"fp32", "fp16", "bf16", "int8", "fp8", "int4"};
    for (int i = 1; i < 6; ++i) {
      EXPECT_LT(figure("logit_error", order[i - 1]), figure("logit_error", order[i])) << order[i];
    }
    EXPECT_LT(figure("logit_error", "int4"), 1);
    EXPECT_GE(figure("greedy_agreement", "fp16"), figure("greedy_agreement", "int4"));
    const double fp32_bytes = figure("bytes_per_token", "fp32");
    EXPECT_EQ(figure("bytes_per_token", "fp16"), fp32_bytes / 2);
    EXPECT_EQ(figure("bytes_per_token", "bf16"), fp32_bytes / 2);
    EXPECT_EQ(figure("bytes_per_token", "fp8"), fp32_bytes / 4);
    EXPECT_GT(figure("bytes_per_token", "int8"), fp32_bytes / 4);
    EXPECT_LT(figure("bytes_per_token", "int4"), fp32_bytes / 4);
  }
}

TEST(KvQuantBenchTest, WithoutAModelEveryFamilyThatCanBeMadeUpIsMeasured) {
  const auto rows =
      RunKvQuantBench({.extent = Extent::kQuick, .prompt_tokens = 20, .new_tokens = 8});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 3u * 6 * 3);
}

TEST(KvQuantBenchTest, ATextBeyondTheContextIsRefused) {
  const auto rows = RunKvQuantBench(
      {.model_folders = {Fixture("gpt2_mha_tied")}, .prompt_tokens = 150, .new_tokens = 100});
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace reprise::bench
