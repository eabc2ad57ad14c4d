#include "bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bench/temp_folder.h"

namespace reprise::bench {
namespace {

Result Sample() {
  Result result{.metric = "decode.speed", .unit = "tokens/s", .ours = 30};
  result.limit = 40;
  result.peer = 20;
  return result;
}

TEST(ReportTest, GoalComparesTheFigureThatItNames) {
  Result result = Sample();
  EXPECT_EQ(result.Pass(), std::nullopt);
  result.goal = Goal{Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, 1.5};
  EXPECT_EQ(result.Pass(), true);
  result.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.8};
  EXPECT_EQ(result.Pass(), false);
  result.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 29.9};
  EXPECT_EQ(result.Pass(), false);
}

TEST(ReportTest, GoalOnAMissingFigureIsNotMet) {
  Result result = Sample();
  result.peer.reset();
  result.goal = Goal{Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, 0};
  EXPECT_EQ(result.Pass(), false);
}

TEST(ReportTest, JsonLineHasEveryFieldAndNullForWhatIsMissing) {
  Result result = Sample();
  result.limit.reset();
  result.context = {{"steps", "10"}};
  const nlohmann::json json = nlohmann::json::parse(ToJson(result));
  for (const char* field : {"metric", "unit", "ours", "limit", "peer", "ours_over_limit",
                            "ours_over_peer", "goal", "pass", "context"}) {
    EXPECT_TRUE(json.contains(field)) << field;
  }
  EXPECT_TRUE(json["limit"].is_null());
  EXPECT_TRUE(json["ours_over_limit"].is_null());
  EXPECT_EQ(json["ours_over_peer"], 1.5);
  EXPECT_EQ(json["context"]["steps"], "10");
}

TEST(ReportTest, JsonLinesAreAppended) {
  const TempFolder folder = *TempFolder::Make("reprise-report-test");
  const std::string path = folder.path() + "/results.jsonl";
  ASSERT_TRUE(AppendJsonLines({Sample()}, path).ok());
  ASSERT_TRUE(AppendJsonLines({Sample(), Sample()}, path).ok());
  std::ifstream file(path);
  int lines = 0;
  for (std::string line; std::getline(file, line);) {
    EXPECT_EQ(nlohmann::json::parse(line)["metric"], "decode.speed");
    ++lines;
  }
  EXPECT_EQ(lines, 3);
}

TEST(ReportTest, UnwritableFileIsNamed) {
  const absl::Status status = AppendJsonLines({Sample()}, "/nonexistent/results.jsonl");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/nonexistent/results.jsonl"));
}

TEST(ReportTest, TableShowsAMissedGoal) {
  Result result = Sample();
  result.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtLeast, 31};
  std::ostringstream out;
  PrintTable({result}, out);
  EXPECT_THAT(out.str(), testing::HasSubstr("ours >= 31"));
  EXPECT_THAT(out.str(), testing::HasSubstr("NO"));
}

}  // namespace
}  // namespace reprise::bench
