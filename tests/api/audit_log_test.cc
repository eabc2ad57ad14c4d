// What the server writes of what it was asked: the audit log and the log of calls.
#include "api/auth/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "api/log/call_log.h"
#include "tests/api/log_file.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

using ::testing::MatchesRegex;

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

CallRecord RecordOf(const absl::Status& outcome, absl::Duration waiting = absl::ZeroDuration()) {
  CallRecord record = {.rpc = "reprise.v1.Cache/Match",
                       .ids = {.request_id = "order-66"},
                       .time = absl::Milliseconds(1500),
                       .waiting = waiting};
  record.SetOutcome(outcome);
  return record;
}

TEST(CallLogTest, AtInfoOnlyWhatFailedOrWasSlowIsALine) {
  LogFile file({.format = LogFormat::kJson});
  CallLog& log = file.log();
  log.Write(RecordOf(absl::OkStatus()));
  log.Write(RecordOf(absl::CancelledError("the client has gone")));
  log.Write(RecordOf(absl::NotFoundError("no namespace 7, said the prompt")));
  log.Write(RecordOf(absl::OkStatus(), absl::Milliseconds(1001)));
  CallRecord upload = RecordOf(absl::OkStatus(), absl::Seconds(9));
  upload.waits_for_client = true;
  log.Write(upload);
  log.Write(RecordOf(absl::InternalError("disk 3 is gone")));
  const std::vector<nlohmann::json> lines = file.Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["status"], "NOT_FOUND");
  EXPECT_FALSE(lines[0].contains("cause")) << "it may repeat what the client sent";
  EXPECT_EQ(lines[1]["status"], "OK");
  EXPECT_EQ(lines[1]["first_ms"], 1001);
  EXPECT_EQ(lines[1]["ms"], 1500);
  EXPECT_EQ(lines[2]["cause"], "disk 3 is gone");
  for (const nlohmann::json& line : lines) {
    EXPECT_EQ(line["what"], "call");
    EXPECT_EQ(line["level"], "info");
    EXPECT_EQ(line["request_id"], "order-66");
  }
}

TEST(CallLogTest, AFloodIsCutAndCounted) {
  LineLimit limit(2);
  const absl::Time start = absl::Now();
  EXPECT_EQ(limit.Take(start), 0);
  EXPECT_EQ(limit.Take(start), 0);
  EXPECT_EQ(limit.Take(start + absl::Milliseconds(999)), std::nullopt);
  EXPECT_EQ(limit.Take(start + absl::Milliseconds(999)), std::nullopt);
  EXPECT_EQ(limit.Take(start + absl::Seconds(1)), 2);
  EXPECT_EQ(limit.Take(start + absl::Seconds(1)), 0);
  LogFile file({.format = LogFormat::kJson});
  for (int i = 0; i < 1000; ++i) file.log().Write(RecordOf(absl::NotFoundError("")));
  // They do not hide what the server does.
  file.log().Write(RecordOf(absl::InternalError("disk 3 is gone")));
  file.log().Write(RecordOf(absl::OkStatus(), absl::Milliseconds(1001)));
  const std::vector<nlohmann::json> lines = file.Lines();
  EXPECT_LT(lines.size(), 1000u);
  EXPECT_EQ(lines.end()[-2]["cause"], "disk 3 is gone");
  EXPECT_EQ(lines.back()["first_ms"], 1001);
}

TEST(CallLogTest, TextIsOneLineWithWhatIsNotPlainInQuotes) {
  LogFile file({.format = LogFormat::kText, .level = LogLevel::kDebug});
  CallRecord record = RecordOf(absl::OkStatus());
  record.who = "engine \"7\"\nlevel=info";
  record.ids = MakeRequestIds("bad id", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  record.work = {.blocks = 2, .bytes = 1024, .hit_tokens = 16};
  file.log().Write(record);
  const std::string text = file.Text();
  EXPECT_THAT(
      text, MatchesRegex("20[-0-9T:.]+Z debug call rpc=reprise.v1.Cache/Match status=OK ms=1500.0 "
                         "first_ms=0.0 who=\"engine ..7....level=info\" request_id=[0-9a-f]+ "
                         "trace_id=0af7651916cd43dd8448eb211c80319c blocks=2 bytes=1024 "
                         "hit_tokens=16\n"));
}

TEST(CallLogTest, OffIsSilent) {
  LogFile file({.level = LogLevel::kOff});
  file.log().Write(RecordOf(absl::InternalError("")));
  EXPECT_EQ(file.Text(), "");
}

}  // namespace
}  // namespace reprise::api
