#include "engine/backend/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
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

TEST(RopeTableTest, FarRowsAreThoseOfTransformers) {
  const nlohmann::json fixture = nlohmann::json::parse(ReadFixture("rows.json"));
  const int64_t half = fixture.at("rotary_dim").get<int64_t>() / 2;
  const std::string bytes = ReadFixture("rows.f32");
  std::vector<float> reference(bytes.size() / sizeof(float));
  bytes.copy(reinterpret_cast<char*>(reference.data()), bytes.size());
  ASSERT_EQ(reference.size(), fixture.at("rows").size() * 2 * half);
  const float* expected = reference.data();
  double worst_of_exact_angles = 0;
  for (const nlohmann::json& row : fixture.at("rows")) {
    const auto position = row.at("position").get<int64_t>();
    const auto theta = row.at("theta").get<double>();
    RopeTable table(2 * half, theta);
    ASSERT_TRUE(table.Cover(position + 1).ok());
    for (int64_t i = 0; i < half; ++i) {
      // One unit in the last place: sines and cosines are at most 1.
      EXPECT_NEAR(table.cosines(position)[i], expected[i], 6e-8) << row << " frequency " << i;
      EXPECT_NEAR(table.sines(position)[i], expected[half + i], 6e-8) << row << " frequency " << i;
      const double angle =
          static_cast<double>(position) * std::pow(theta, -static_cast<double>(i) / half);
      worst_of_exact_angles =
          std::max(worst_of_exact_angles, std::abs(std::cos(angle) - expected[i]));
    }
    expected += 2 * half;
  }
  // The comparison can tell: angles that are not rounded to f32 are far from the reference.
  EXPECT_GT(worst_of_exact_angles, 1e-3);
}

TEST(RopeTableTest, RowsComeInPagesAndStayWhereTheyAre) {
  RopeTable table(64, 10000.0);
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
  RopeTable table(int64_t{1} << 40, 10000.0);  // 4 PiB a page
  const absl::Status status = table.Cover(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(status.message()).find("positions 0 to 1023"), std::string::npos);
  EXPECT_EQ(table.num_positions(), 0);
}

}  // namespace
}  // namespace reprise::engine
