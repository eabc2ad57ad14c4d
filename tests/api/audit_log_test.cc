#include "api/auth/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/api/temp_folder.h"

namespace reprise::api {
namespace {

std::vector<nlohmann::json> LinesOf(const std::string& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(AuditLogTest, AnEventIsOneLineOfJsonWhateverItHolds) {
  const TempFolder folder;
  const std::string path = folder / "audit.jsonl";
  const auto log = AuditLog::Open(path);
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Write({.what = "Invalidate",
                 .who = "ops\n{\"what\": \"forged\"}",
                 .tenant = "alice",
                 .from = std::string("ipv4:127.0.0.1:5 \xff", 18),
                 .outcome = absl::PermissionDeniedError("no \"role\""),
                 .detail = std::string(10000, 'x')});
  (*log)->Write({.what = "Reload"});
  const std::vector<nlohmann::json> lines = LinesOf(path);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["what"], "Invalidate");
  EXPECT_EQ(lines[0]["who"], "ops\n{\"what\": \"forged\"}");
  EXPECT_EQ(lines[0]["tenant"], "alice");
  EXPECT_EQ(lines[0]["outcome"], "PERMISSION_DENIED");
  EXPECT_EQ(lines[0]["cause"], "no \"role\"");
  EXPECT_EQ(lines[0]["detail"].get<std::string>().size(), 256u);
  EXPECT_THAT(lines[0]["time"].get<std::string>(),
              ::testing::MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T.*[.][0-9]{3}Z"));
  EXPECT_EQ(lines[1]["outcome"], "OK");
  EXPECT_FALSE(lines[1].contains("cause"));
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(AuditLogTest, RefusalsThatAnybodyCanCauseAreBoundedAndCounted) {
  const TempFolder folder;
  const std::string path = folder / "audit.jsonl";
  const auto log = AuditLog::Open(path);
  ASSERT_TRUE(log.ok()) << log.status();
  constexpr int64_t kRefusals = 100000;
  for (int64_t i = 0; i < kRefusals; ++i) {
    (*log)->WriteRefusal({.what = "refused", .outcome = absl::UnauthenticatedError("")});
  }
  (*log)->Write({.what = "Reload"});
  const std::vector<nlohmann::json> lines = LinesOf(path);
  EXPECT_GE(lines.size(), 11u);
  EXPECT_LT(lines.size(), 1000u);
  EXPECT_EQ(lines.back()["what"], "Reload");
}

TEST(AuditLogTest, AFileThatWasMovedAwayIsReopened) {
  const TempFolder folder;
  const std::string path = folder / "audit.jsonl";
  const auto log = AuditLog::Open(path);
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Write({.what = "first"});
  std::filesystem::rename(path, path + ".1");
  (*log)->Write({.what = "second"});
  ASSERT_TRUE((*log)->Reopen().ok());
  (*log)->Write({.what = "third"});
  EXPECT_EQ(LinesOf(path + ".1").size(), 2u);
  ASSERT_EQ(LinesOf(path).size(), 1u);
  EXPECT_EQ(LinesOf(path)[0]["what"], "third");
  EXPECT_EQ((*log)->lost(), 0);
}

TEST(AuditLogTest, WhereItCannotBeWrittenIsSaid) {
  const TempFolder folder;
  const absl::Status status = AuditLog::Open(folder / "nowhere/audit.jsonl").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("No such file"));
  const auto none = AuditLog::Open("");
  ASSERT_TRUE(none.ok());
  (*none)->Write({.what = "Reload"});
  (*none)->WriteRefusal({.what = "refused"});
  const auto full = AuditLog::Open("/dev/full");
  ASSERT_TRUE(full.ok()) << full.status();
  (*full)->Write({.what = "Reload"});
  EXPECT_EQ((*full)->lost(), 1);
}

}  // namespace
}  // namespace reprise::api
