#include "engine/backend/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

// The address sanitizer would end the process where an allocation is to fail.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

namespace reprise::engine {
namespace {

std::string ReadFixture(const std::string& name) {
  std::ifstream in(std::string(REPRISE_SOURCE_DIR) + "/tests/parity/rope/" + name,
                   std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

// The scheme of a rope_parameters object.
RopeScheme SchemeOf(const nlohmann::json& rope) {
  RopeScheme scheme;
  scheme.theta = rope.at("rope_theta");
  const auto number = [&rope](const char* field) { return rope.at(field).get<double>(); };
  const std::string type = rope.at("rope_type");
  if (type == "linear") scheme.scaling = LinearRope{number("factor")};
  if (type == "llama3") {
    scheme.scaling =
        Llama3Rope{number("factor"), number("low_freq_factor"), number("high_freq_factor"),
                   number("original_max_position_embeddings")};
  }
  if (type == "yarn") {
    scheme.scaling = YarnRope{number("factor"),
                              32,
                              1,
                              number("original_max_position_embeddings"),
                              true,
                              0.1 * std::log(number("factor")) + 1};
  }
  return scheme;
}

TEST(RopeTableTest, FarRowsAreThoseOfTransformers) {
  const nlohmann::json fixture = nlohmann::json::parse(ReadFixture("rows.json"));
  const int64_t half = fixture.at("rotary_dim").get<int64_t>() / 2;
  const std::string bytes = ReadFixture("rows.f32");
  std::vector<float> reference(bytes.size() / sizeof(float));
  bytes.copy(reinterpret_cast<char*>(reference.data()), bytes.size());
  ASSERT_EQ(reference.size(), fixture.at("rows").size() * 2 * half);
  const float* expected = reference.data();
  std::set<std::string> types;
  for (const nlohmann::json& row : fixture.at("rows")) {
    const auto position = row.at("position").get<int64_t>();
    const RopeScheme scheme = SchemeOf(row.at("rope"));
    types.insert(row.at("rope").at("rope_type"));
    RopeTable table(2 * half, scheme);
    RopeTable unscaled(2 * half, {scheme.theta, {}});
    ASSERT_TRUE(table.Cover(position + 1).ok() && unscaled.Cover(position + 1).ok());
    double worst_of_exact_angles = 0;
    double worst_of_unscaled = 0;
    const std::vector<float> frequencies = scheme.Frequencies(2 * half);
    int64_t other_frequencies = 0;
    for (int64_t i = 0; i < half; ++i) {
      // One unit in the last place: sines and cosines are about 1.
      const double bound = 6e-8 * (1 + scheme.attention_factor());
      const auto is_expected = [&](double cosine, double sine) {
        return std::abs(cosine - expected[i]) < bound &&
               std::abs(sine - expected[half + i]) < bound;
      };
      if (!is_expected(table.cosines(position)[i], table.sines(position)[i])) {
        // PyTorch's power may be one unit in the last place away, which shows at such a position.
        ++other_frequencies;
        bool found = false;
        for (const float side : {0.0f, 1.0f}) {
          const double angle = static_cast<float>(position) * std::nextafter(frequencies[i], side);
          const double factor = scheme.attention_factor();
          found |= is_expected(std::cos(angle) * factor, std::sin(angle) * factor);
        }
        EXPECT_TRUE(found) << row << " frequency " << i << ": " << table.cosines(position)[i]
                           << " is not " << expected[i];
      }
      const double angle =
          static_cast<double>(position) * std::pow(scheme.theta, -static_cast<double>(i) / half);
      worst_of_exact_angles =
          std::max(worst_of_exact_angles, std::abs(std::cos(angle) - expected[i]));
      worst_of_unscaled = std::max<double>(worst_of_unscaled,
                                           std::abs(unscaled.cosines(position)[i] - expected[i]));
    }
    EXPECT_LE(other_frequencies, 1) << row;
    // The comparison can tell: far out, angles that are not rounded to f32 are far from the
    // reference, and so are those without the scaling.
    if (position > 100000) EXPECT_GT(worst_of_exact_angles, 1e-3) << row;
    if (position > 100000 && scheme.scaling.index() != 0) EXPECT_GT(worst_of_unscaled, 0.1) << row;
    expected += 2 * half;
  }
  EXPECT_EQ(types, (std::set<std::string>{"default", "linear", "llama3", "yarn"}));
}

TEST(RopeSchemeTest, EveryNumberIsInTheName) {
  const Llama3Rope llama3 = {8, 1, 4, 8192};
  const YarnRope yarn = {4, 32, 1, 32768, true, 1.25};
  const std::vector<RopeScheme> schemes = {
      {10000, {}},
      {10001, {}},
      {10000, LinearRope{2}},
      {10000, LinearRope{2.5}},
      {10000, llama3},
      {10000, Llama3Rope{9, 1, 4, 8192}},
      {10000, Llama3Rope{8, 2, 4, 8192}},
      {10000, Llama3Rope{8, 1, 5, 8192}},
      {10000, Llama3Rope{8, 1, 4, 8193}},
      {10000, yarn},
      {10000, YarnRope{5, 32, 1, 32768, true, 1.25}},
      {10000, YarnRope{4, 33, 1, 32768, true, 1.25}},
      {10000, YarnRope{4, 32, 2, 32768, true, 1.25}},
      {10000, YarnRope{4, 32, 1, 32769, true, 1.25}},
      {10000, YarnRope{4, 32, 1, 32768, false, 1.25}},
      {10000, YarnRope{4, 32, 1, 32768, true, 1.5}},
  };
  std::set<std::string> names;
  for (const RopeScheme& scheme : schemes) names.insert(scheme.Name());
  EXPECT_EQ(names.size(), schemes.size());
  EXPECT_EQ(schemes[0].Name(), "rope theta=10000");
  EXPECT_EQ(schemes[4].Name(), "rope theta=10000 llama3 factor=8 low=1 high=4 original=8192");
}

TEST(RopeTableTest, RowsComeInPagesAndStayWhereTheyAre) {
  RopeTable table(64, RopeScheme());
  EXPECT_EQ(table.num_positions(), 0);
  ASSERT_TRUE(table.Cover(1).ok());
  EXPECT_EQ(table.num_positions(), RopeTable::kPagePositions);
  const float* const first = table.cosines(0);
  ASSERT_TRUE(table.Cover(RopeTable::kPagePositions).ok());
  EXPECT_EQ(table.num_positions(), RopeTable::kPagePositions);
  ASSERT_TRUE(table.Cover(2 * RopeTable::kPagePositions + 1).ok());
  EXPECT_EQ(table.num_positions(), 3 * RopeTable::kPagePositions);
  EXPECT_EQ(table.cosines(0), first);
  EXPECT_EQ(table.cosines(0)[0], 1.0f);
  EXPECT_EQ(table.sines(1)[0], static_cast<float>(std::sin(1.0)));
}

TEST(RopeTableTest, NoMemoryIsAnErrorThatNamesThePositions) {
  RopeTable table(int64_t{1} << 40, RopeScheme());  // 4 PiB a page
  const absl::Status status = table.Cover(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(status.message()).find("positions 0 to 1023"), std::string::npos);
  EXPECT_EQ(table.num_positions(), 0);
}

}  // namespace
}  // namespace reprise::engine
