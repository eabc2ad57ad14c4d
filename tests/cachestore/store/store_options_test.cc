#include "cachestore/store/store_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace reprise::cachestore {
namespace {

using ::testing::HasSubstr;

TEST(StoreOptionsTest, TheDefaultsAreValid) { EXPECT_TRUE(StoreOptions().Validate().ok()); }

TEST(StoreOptionsTest, EachBadOptionIsNamedWithItsValue) {
  const auto message = [](auto change) {
    StoreOptions options;
    options.disk.directory = "/somewhere";
    change(options);
    EXPECT_EQ(options.Validate().code(), absl::StatusCode::kInvalidArgument);
    return std::string(options.Validate().message());
  };
  EXPECT_THAT(message([](auto& o) { o.ram.capacity_bytes = -5; }),
              HasSubstr("ram.capacity_bytes is -5"));
  EXPECT_THAT(message([](auto& o) { o.disk.capacity_bytes = 0; }),
              HasSubstr("disk.capacity_bytes is 0"));
  EXPECT_THAT(message([](auto& o) { o.attention_tokens = -1; }),
              HasSubstr("attention_tokens is -1"));
  EXPECT_THAT(message([](auto& o) { o.max_loading_tickets = 0; }),
              HasSubstr("max_loading_tickets is 0"));
  EXPECT_THAT(message([](auto& o) { o.remembered_events = int64_t{1} << 40; }),
              HasSubstr("remembered_events is 1099511627776"));
  EXPECT_THAT(
      message([](auto& o) { o.ram_free_low_watermark = std::numeric_limits<double>::quiet_NaN(); }),
      HasSubstr("ram_free_low_watermark is nan"));
}

TEST(StoreOptionsTest, DiskCapacityDoesNotMatterWithoutADirectory) {
  StoreOptions options;
  options.disk.capacity_bytes = 0;
  EXPECT_TRUE(options.Validate().ok());
}

}  // namespace
}  // namespace reprise::cachestore
