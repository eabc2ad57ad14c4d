// Rotary positions in config.json.

#include <cmath>
#include <string>

#include "engine/model/model_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/config_json.h"

namespace reprise::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(RopeConfigTest, ReadsThetaFromRopeParameters) {
  nlohmann::json json = Llama();
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  const auto config = ReadConfig(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.theta, 1e6);
}

nlohmann::json WithRope(const char* field, nlohmann::json rope) {
  nlohmann::json json = Llama();
  json[field] = std::move(rope);
  return json;
}

const nlohmann::json kLlama3Rope = {{"rope_type", "llama3"},
                                    {"factor", 8.0},
                                    {"low_freq_factor", 1.0},
                                    {"high_freq_factor", 4.0},
                                    {"original_max_position_embeddings", 8192}};
const nlohmann::json kYarnRope = {
    {"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};

TEST(RopeConfigTest, ReadsRopeScaling) {
  for (const char* field : {"rope_scaling", "rope_parameters"}) {
    auto config = ReadConfig(WithRope(field, {{"type", "linear"}, {"factor", 2}}));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope, (RopeScheme{500000, LinearRope{2}}));
    config = ReadConfig(WithRope(field, kLlama3Rope));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope, (RopeScheme{500000, Llama3Rope{8, 1, 4, 8192}}));
    config = ReadConfig(WithRope(field, kYarnRope));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope,
              (RopeScheme{500000, YarnRope{4, 32, 1, 32768, true, 0.1 * std::log(4.0) + 1}}));
  }
  nlohmann::json rope = kYarnRope;
  rope.update({{"beta_fast", 16}, {"beta_slow", 2}, {"truncate", false}, {"mscale", 0.5}});
  rope["mscale_all_dim"] = 1;
  const double ratio = (0.05 * std::log(4.0) + 1) / (0.1 * std::log(4.0) + 1);
  EXPECT_EQ(ReadConfig(WithRope("rope_scaling", rope))->rope.scaling,
            (decltype(RopeScheme::scaling)(YarnRope{4, 16, 2, 32768, false, ratio})));
  rope["attention_factor"] = 1.5;
  EXPECT_EQ(ReadConfig(WithRope("rope_scaling", rope))->rope.attention_factor(), 1.5);
}

TEST(RopeConfigTest, TheOriginalContextBesideTheScalingCountsMore) {
  nlohmann::json json = WithRope("rope_scaling", kLlama3Rope);
  json["original_max_position_embeddings"] = 4096;
  EXPECT_EQ(ReadConfig(json)->rope, (RopeScheme{500000, Llama3Rope{8, 1, 4, 4096}}));
}

TEST(RopeConfigTest, RopeScalingWithoutItsNumbersIsRefused) {
  for (const nlohmann::json& complete : {kLlama3Rope, kYarnRope}) {
    for (const auto& [name, value] : complete.items()) {
      if (value.is_string()) continue;
      nlohmann::json rope = complete;
      rope.erase(name);
      EXPECT_THAT(ErrorOf(WithRope("rope_scaling", rope)),
                  AllOf(HasSubstr("rope_scaling"), HasSubstr(name), HasSubstr("is missing")));
      rope[name] = -1;
      EXPECT_THAT(ErrorOf(WithRope("rope_scaling", rope)),
                  AllOf(HasSubstr(name), HasSubstr("above 0")));
    }
  }
  nlohmann::json rope = kLlama3Rope;
  rope["high_freq_factor"] = 1;
  EXPECT_THAT(ErrorOf(WithRope("rope_scaling", rope)),
              AllOf(HasSubstr("high_freq_factor"), HasSubstr("not above")));
  rope = kYarnRope;
  rope["beta_fast"] = 0.5;
  EXPECT_THAT(ErrorOf(WithRope("rope_scaling", rope)), HasSubstr("less than beta_slow"));
  rope = kYarnRope;
  rope["rope_theta"] = 1;
  EXPECT_THAT(ErrorOf(WithRope("rope_scaling", rope)), HasSubstr("rope_theta"));
}

TEST(RopeConfigTest, UnknownOrContradictingRopeScalingIsRefusedByName) {
  for (const char* key : {"type", "rope_type"}) {
    EXPECT_THAT(ErrorOf(WithRope("rope_scaling", {{key, "spiral"}})),
                AllOf(HasSubstr("rope_scaling"), HasSubstr(key), HasSubstr("\"spiral\""),
                      HasSubstr("default, linear, llama3, yarn")));
    EXPECT_TRUE(ReadConfig(WithRope("rope_scaling", {{key, "default"}})).ok());
  }
  EXPECT_TRUE(ReadConfig(WithRope("rope_scaling", nullptr)).ok());
  nlohmann::json json = WithRope("rope_scaling", kYarnRope);
  json["rope_parameters"] = kYarnRope;
  EXPECT_TRUE(ReadConfig(json).ok());
  json["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_THAT(ErrorOf(json), AllOf(HasSubstr("rope_scaling"), HasSubstr("rope_parameters")));
}

TEST(RopeConfigTest, PositionSchemesThatRewriteOldPositionsAreRefusedWithTheReason) {
  for (const char* type : {"rerope", "leaky_rerope", "self_extend", "dynamic", "longrope"}) {
    nlohmann::json json = Llama();
    json["rope_scaling"] = {{"type", type}, {"factor", 2.0}};
    EXPECT_THAT(ErrorOf(json),
                AllOf(HasSubstr(type), HasSubstr("cached KV of a prefix is not valid")));
  }
  for (const char* field : {"rerope", "rerope_window", "leaky_rerope", "self_extend_group_size"}) {
    nlohmann::json json = Llama();
    json[field] = 512;
    EXPECT_THAT(ErrorOf(json),
                AllOf(HasSubstr(field), HasSubstr("cached KV of a prefix is not valid")));
    json[field] = false;
    EXPECT_TRUE(ReadConfig(json).ok()) << field;
  }
}

}  // namespace
}  // namespace reprise::engine
