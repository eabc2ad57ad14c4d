#include "api/cli/table.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "api/cli/top_view.h"

namespace reprise::api {
namespace {

TEST(TableTest, ColumnsOfNumbersAreRightAligned) {
  Table table({"name", "tokens"});
  table.AddRow({"a", "7"});
  table.AddRow({"long name", "1,234"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(),
            "name       tokens\n"
            "-----------------\n"
            "a               7\n"
            "long name   1,234\n");
}

TEST(TableTest, ACellCannotCommandTheTerminal) {
  Table table({"salt"});
  table.AddRow({"\x1b]0;mine\a\r\n\x7f \xc2\x9b\xff"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str().substr(out.str().rfind("--\n") + 3),
            "\\x1b]0;mine\\x07\\x0d\\x0a\\x7f \\xc2\\x9b\\xff\n");
}

TEST(TableTest, ThousandsAreSeparated) {
  EXPECT_EQ(WithThousands(0), "0");
  EXPECT_EQ(WithThousands(999), "999");
  EXPECT_EQ(WithThousands(1000), "1,000");
  EXPECT_EQ(WithThousands(2147483648), "2,147,483,648");
  EXPECT_EQ(WithThousands(-123456), "-123,456");
}

TEST(TableTest, BytesHaveABinaryUnit) {
  EXPECT_EQ(BytesText(512), "512 B");
  EXPECT_EQ(BytesText(1536), "1.50 KiB");
  EXPECT_EQ(BytesText(int64_t{64} << 30), "64.00 GiB");
}

TEST(TopViewTest, AServerThatWasStartedAnewHasNoRatesYet) {
  TopSample before = {.time = absl::UnixEpoch()};
  TopSample now = {.time = before.time + absl::Seconds(1)};
  (*before.stats.mutable_store())["looked_up_tokens"] = 100;
  (*now.stats.mutable_store())["looked_up_tokens"] = 150;
  EXPECT_NE(TopText(&before, now, 1).find("50/s"), std::string::npos);
  (*now.stats.mutable_store())["looked_up_tokens"] = 50;
  EXPECT_EQ(TopText(&before, now, 1), TopText(nullptr, now, 1));
}

}  // namespace
}  // namespace reprise::api
