#include "engine/backend/cuda/model_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reprise::engine::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ModelShapeTest, SizesThatNoKernelTakesAreNamed) {
  EXPECT_TRUE(CheckModelShape({128, 4096, 14336, 0}).ok());
  EXPECT_TRUE(CheckModelShape({256, 2304, 9216, 768}).ok());
  const struct {
    ModelShape shape;
    const char* name;
    const char* value;
  } refused[] = {{{257, 4096, 14336, 0}, "head_dim", "257"},
                 {{64, 30, 64, 0}, "hidden_size", "30"},
                 {{64, 32, 66, 0}, "intermediate_size", "66"},
                 {{64, 32, 64, 9}, "experts", "9"}};
  for (const auto& [shape, name, value] : refused) {
    const absl::Status status = CheckModelShape(shape);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(name), HasSubstr(value), HasSubstr("on the CPU")));
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
