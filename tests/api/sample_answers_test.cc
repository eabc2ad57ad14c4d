#include "api/cli/sample_answers.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::api {
namespace {

using testing::HasSubstr;

v1::TokenChunk ChunkOf(int32_t sample, uint32_t token, const std::string& text) {
  v1::TokenChunk chunk;
  chunk.set_sample(sample);
  chunk.set_token_id(token);
  chunk.set_text(text);
  return chunk;
}

v1::GenerateSummary SummaryOf(int num_samples) {
  v1::GenerateSummary summary;
  for (int i = 0; i < num_samples; ++i) {
    summary.add_samples()->set_finish_reason(v1::FINISH_REASON_MAX_TOKENS);
  }
  return summary;
}

TEST(SampleAnswersTest, ChunksOfSeveralSamplesAreTakenApart) {
  SampleAnswers answers(2);
  answers.Add(ChunkOf(1, 7, "B"));
  answers.Add(ChunkOf(0, 5, "A"));
  answers.Add(ChunkOf(1, 8, "b"));
  ASSERT_TRUE(answers.Check(SummaryOf(2)).ok());
  EXPECT_EQ(answers[0].text, "A");
  EXPECT_EQ(answers[1].text, "Bb");
  const nlohmann::json json = nlohmann::json::parse(answers.ToJson(SummaryOf(2)));
  EXPECT_EQ(json["samples"][1]["token_ids"], (std::vector<int>{7, 8}));
}

TEST(SampleAnswersTest, ATokenOfASampleThatWasNotAskedForIsAnError) {
  for (const int32_t sample : {2, -1}) {
    SampleAnswers answers(2);
    answers.Add(ChunkOf(sample, 7, "B"));
    answers.Add(ChunkOf(0, 7, "A"));
    const absl::Status status = answers.Check(SummaryOf(2));
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(status.message(), HasSubstr("but 2 were asked for"));
  }
}

TEST(SampleAnswersTest, FewerSamplesThanAskedForAreAnError) {
  SampleAnswers answers(3);
  answers.Add(ChunkOf(0, 7, "A"));
  const absl::Status status = answers.Check(SummaryOf(0));  // as servers before samples
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("0 samples, but 3 were asked for"));
  EXPECT_TRUE(SampleAnswers(1).Check(SummaryOf(0)).ok());
}

}  // namespace
}  // namespace reprise::api
