#include "engine/backend/cuda/open_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reprise::engine::cuda {
namespace {

TEST(OpenCardTest, ABuildWithoutCudaSaysSo) {
  const auto card = OpenCard();
  EXPECT_EQ(card.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(card.status().message()), testing::HasSubstr("-DREPRISE_CUDA=ON"));
}

}  // namespace
}  // namespace reprise::engine::cuda
