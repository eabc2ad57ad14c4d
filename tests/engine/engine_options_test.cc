#include "engine/engine_options.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using testing::HasSubstr;

EngineOptions Valid() { return {.model_folder = "/models/tiny"}; }

TEST(EngineOptionsTest, TheDefaultsNeedOnlyAModelFolder) {
  EXPECT_TRUE(Valid().Validate().ok());
  EXPECT_THAT(EngineOptions().Validate().message(), HasSubstr("model_folder"));
}

TEST(EngineOptionsTest, AnOptionOutOfRangeIsNamedWithItsValue) {
  for (const int32_t block_tokens : {0, 4, 12, 512}) {
    EngineOptions options = Valid();
    options.block_tokens = block_tokens;
    EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(options.Validate().message(),
                HasSubstr("block_tokens is " + std::to_string(block_tokens)));
  }
  EngineOptions options = Valid();
  options.max_running = 0;
  EXPECT_THAT(options.Validate().message(), HasSubstr("max_running is 0"));
  options = Valid();
  options.step_tokens = -5;
  EXPECT_THAT(options.Validate().message(), HasSubstr("step_tokens is -5"));
  options = Valid();
  options.max_waiting = 0;
  EXPECT_THAT(options.Validate().message(), HasSubstr("max_waiting is 0"));
  options = Valid();
  options.num_threads = -1;
  EXPECT_THAT(options.Validate().message(), HasSubstr("num_threads is -1"));
}

TEST(EngineOptionsTest, AStepMustHoldOneTokenOfEveryRunningSequence) {
  EngineOptions options = Valid();
  options.step_tokens = 32;
  options.max_running = 33;
  EXPECT_THAT(options.Validate().message(), HasSubstr("step_tokens is 32"));
  EXPECT_THAT(options.Validate().message(), HasSubstr("max_running is 33"));
  options.max_running = 32;
  EXPECT_TRUE(options.Validate().ok());
}

}  // namespace
}  // namespace reprise::engine
