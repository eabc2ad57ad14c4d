// What a reload makes of the file that --config names.
#include "api/cli/serve_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "api/cli/flag_set.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ServeSettingsTest : public ::testing::Test {
 protected:
  // As the program does with these arguments behind "serve".
  std::unique_ptr<ServeSettings> Start(std::vector<std::string> args) {
    args.insert(args.begin(), "serve");
    FlagSet program("reprise", "");
    FlagSet& serve = program.AddCommand("serve", "");
    ServeOptions options;
    AddServeFlags(serve, &options);
    serve.SetAction([] { return 0; });
    std::ostringstream out;
    EXPECT_EQ(program.Run(args, out, out), 0) << out.str();
    auto settings = std::make_unique<ServeSettings>(program.args(), options, serve.Given());
    settings->Follow([this](const ServeOptions& now) { followed_.push_back(now); });
    return settings;
  }
  std::unique_ptr<ServeSettings> StartWithFile(const std::string& text) {
    Write(text);
    return Start({"--config", file(), "--shutdown-grace", "3"});
  }
  void Write(const std::string& text) { std::ofstream(file()) << text; }
  std::string file() const { return folder_ / "serve.toml"; }

  TempFolder folder_;
  const std::unique_ptr<Guard> guard_ = *Guard::Open({});
  std::vector<ServeOptions> followed_;
};

TEST_F(ServeSettingsTest, SomeHoldAtOnceAndOthersAreNamed) {
  const auto settings = StartWithFile("log-level = off\nram-bytes = 16MiB\n");
  EXPECT_TRUE(settings->has_files());
  EXPECT_THAT(*settings->Reload(*guard_), IsEmpty());
  Write("[serve]\nlog-level = debug\nlog-format = json\nram-bytes = 32MiB\nrecord = /r\n");
  EXPECT_THAT(*settings->Reload(*guard_), ElementsAre("log-format json", "log-level debug",
                                                      "only with a restart: ram-bytes, record"));
  EXPECT_EQ(settings->options().log.level, LogLevel::kDebug);
  EXPECT_EQ(settings->options().log.format, LogFormat::kJson);
  EXPECT_EQ(settings->options().store.ram.capacity_bytes, 16 << 20);
  EXPECT_EQ(settings->options().record_file, "");
  EXPECT_EQ(followed_.back().log.level, LogLevel::kDebug);
  // What waits for a restart is named until it has come, or is as it was.
  EXPECT_THAT(*settings->Reload(*guard_), ElementsAre("only with a restart: ram-bytes, record"));
  Write("ram-bytes = 16MiB\n");
  EXPECT_THAT(*settings->Reload(*guard_), ElementsAre("log-format as usual", "log-level as usual"));
  EXPECT_EQ(settings->options().log.level, LogLevel::kInfo);
}

TEST_F(ServeSettingsTest, TheCommandLineStillWins) {
  const auto settings = StartWithFile("");
  Write("shutdown-grace = 7\n");
  EXPECT_THAT(*settings->Reload(*guard_), IsEmpty());
  EXPECT_EQ(settings->options().shutdown_grace_seconds, 3);
}

TEST_F(ServeSettingsTest, GraceAndAdmissionHoldAtOnce) {
  Write("disk-dir = /d\n");
  const auto settings = Start({"--config", file()});
  Write("disk-dir = /d\nshutdown-grace = 7\ndisk-admission = likely\n");
  EXPECT_THAT(*settings->Reload(*guard_), ElementsAre("disk-admission likely", "shutdown-grace 7"));
  EXPECT_EQ(followed_.back().shutdown_grace_seconds, 7);
  EXPECT_EQ(followed_.back().store.disk.admission, cachestore::DiskAdmission::kLikely);
}

TEST_F(ServeSettingsTest, AFileThatIsWrongChangesNothing) {
  const auto settings = StartWithFile("log-level = off\n");
  const size_t followed = followed_.size();
  for (const char* text : {"log-level = debug\nsurprise = 1\n", "log-level = loud\n",
                           "log-level = debug\nlisten = 0.0.0.0:1\n", "log-level = \"debug\n"}) {
    Write(text);
    const auto changed = settings->Reload(*guard_);
    EXPECT_EQ(changed.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  std::filesystem::remove(file());
  EXPECT_THAT(std::string(settings->Reload(*guard_).status().message()), HasSubstr(file()));
  EXPECT_EQ(settings->options().log.level, LogLevel::kOff);
  EXPECT_EQ(followed_.size(), followed);
}

TEST_F(ServeSettingsTest, WithoutFilesThereIsNothingToRead) {
  EXPECT_FALSE(Start({"--log-level", "off"})->has_files());
  EXPECT_TRUE(Start({"--audit-log", folder_ / "audit"})->has_files());
}

}  // namespace
}  // namespace reprise::api
