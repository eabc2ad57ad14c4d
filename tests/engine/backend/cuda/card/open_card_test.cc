// Where there is a card it is opened whole; elsewhere the answer says what is missing.
#include "engine/backend/cuda/open_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reprise::engine::cuda {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

TEST(OpenCardTest, OpensTheCardOrSaysWhatIsMissing) {
  const auto card = OpenCard();
  if (card.ok()) {
    EXPECT_NE(card->device, nullptr);
    EXPECT_THAT(card->backend->arithmetic(), HasSubstr("CUDA kernels"));
    return;
  }
  EXPECT_EQ(card.status().code(), absl::StatusCode::kNotFound) << card.status();
  EXPECT_THAT(std::string(card.status().message()),
              AnyOf(HasSubstr("no CUDA device"), HasSubstr("compute capability"),
                    HasSubstr("no cuBLASLt")));
}

}  // namespace
}  // namespace reprise::engine::cuda
