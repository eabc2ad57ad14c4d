#include "engine/engine_request.h"

#include <cmath>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using testing::HasSubstr;

class ValidateRequestTest : public testing::Test {
 protected:
  ValidateRequestTest() {
    model_.vocab_size = 100;
    model_.max_positions = 64;
    request_.prompt = {1, 2, 3};
  }

  // The message of the kInvalidArgument error, or what came instead.
  std::string Error() const {
    const absl::Status status = ValidateRequest(request_, model_);
    if (status.code() == absl::StatusCode::kInvalidArgument) return std::string(status.message());
    return "not invalid: " + status.ToString();
  }

  ModelConfig model_;
  GenerateRequest request_;
};

TEST_F(ValidateRequestTest, AGoodRequestPasses) {
  EXPECT_TRUE(ValidateRequest(request_, model_).ok());
  request_.prompt.assign(64, 99);
  EXPECT_TRUE(ValidateRequest(request_, model_).ok());
}

TEST_F(ValidateRequestTest, AnEmptyPromptIsRefused) {
  request_.prompt.clear();
  EXPECT_THAT(Error(), HasSubstr("the prompt is empty"));
}

TEST_F(ValidateRequestTest, APromptLongerThanTheContextIsRefusedWithBothLengths) {
  request_.prompt.assign(65, 1);
  EXPECT_THAT(Error(), HasSubstr("65 tokens"));
  EXPECT_THAT(Error(), HasSubstr("64 tokens"));
}

TEST_F(ValidateRequestTest, ATokenOutsideOfTheVocabularyIsNamedWithItsPlace) {
  request_.prompt[2] = 100;
  EXPECT_THAT(Error(), HasSubstr("token 2 is 100"));
  EXPECT_THAT(Error(), HasSubstr("vocabulary has 100"));
  request_.prompt[2] = 0xffffffff;
  EXPECT_THAT(Error(), HasSubstr("token 2 is 4294967295"));
}

TEST_F(ValidateRequestTest, APriorityHasItsLimits) {
  for (const int32_t allowed : {-100, 100}) {
    request_.priority = allowed;
    EXPECT_TRUE(ValidateRequest(request_, model_).ok());
  }
  for (const int32_t refused : {-101, 101}) {
    request_.priority = refused;
    EXPECT_THAT(Error(), HasSubstr("it must be from -100 to 100"));
  }
}

TEST_F(ValidateRequestTest, TheNumberOfSamplesHasItsLimits) {
  request_.num_samples = 32;
  EXPECT_TRUE(ValidateRequest(request_, model_).ok());
  for (const int32_t refused : {0, 33}) {
    request_.num_samples = refused;
    EXPECT_THAT(Error(), HasSubstr("it must be from 1 to 32"));
  }
}

TEST(SeedOfSampleTest, TheFirstHasTheRequestsOwnAndAllDiffer) {
  std::set<uint64_t> seeds;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(SeedOfSample(seed, 0), seed);
    for (int32_t sample = 0; sample < kMaxSamples; ++sample) {
      seeds.insert(SeedOfSample(seed, sample));
    }
  }
  EXPECT_EQ(seeds.size(), 50u * kMaxSamples);
}

TEST_F(ValidateRequestTest, SamplingAndStopConditionsAreChecked) {
  request_.sampling.top_p = 0;
  EXPECT_THAT(Error(), HasSubstr("top_p is 0"));
  request_.sampling.top_p = 1;
  request_.sampling.temperature = INFINITY;
  EXPECT_THAT(Error(), HasSubstr("temperature is inf"));
  request_.sampling.temperature = 0;
  request_.stop.max_new_tokens = 0;
  EXPECT_THAT(Error(), HasSubstr("max_new_tokens is 0"));
  request_.stop.max_new_tokens = 1;
  request_.stop.stop_strings = {"fine", ""};
  EXPECT_THAT(Error(), HasSubstr("stop_strings[1]"));
  request_.stop.stop_strings.assign(65, "x");
  EXPECT_THAT(Error(), HasSubstr("65 stop_strings"));
}

}  // namespace
}  // namespace reprise::engine
