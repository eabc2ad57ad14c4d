#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "cachestore/memory/device.h"

namespace reprise::cachestore {
namespace {

TEST(OpenDeviceTest, ABuildWithoutCudaSaysWhatToChange) {
  const absl::Status status = OpenDevice().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("-DREPRISE_CUDA=ON"));
}

}  // namespace
}  // namespace reprise::cachestore
