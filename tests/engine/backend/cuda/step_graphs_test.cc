#include "engine/backend/cuda/step_graphs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace reprise::engine::cuda {
namespace {

using testing::ElementsAre;

const auto kLane = reinterpret_cast<cudaStream_t>(0x10);
const auto kCaptured = reinterpret_cast<cudaStream_t>(0x20);

// Everything that happens, in order: "give 7" to the lane, "record 7", "launch 7", "drop 7"; a list
// of operations goes by its first one's row count.
using Log = std::vector<std::string>;

class LoggingRecorder : public GraphRecorder {
 public:
  explicit LoggingRecorder(Log* log, absl::Status* record_status, absl::Status* launch_status)
      : log_(log), record_status_(record_status), launch_status_(launch_status) {}

  GraphOr Record(absl::FunctionRef<absl::Status(cudaStream_t)> give,
                 std::unique_ptr<Graph> old) override {
    if (old != nullptr) log_->push_back(absl::StrCat("change ", Name(*old)));
    if (!record_status_->ok()) return *record_status_;
    if (const absl::Status given = give(kCaptured); !given.ok()) return given;
    auto graph = std::make_unique<LoggedGraph>();
    graph->name = recorded;
    graph->log = log_;
    if (old != nullptr) static_cast<LoggedGraph&>(*old).log = nullptr;
    return graph;
  }
  absl::Status Launch(Graph& graph) override {
    log_->push_back(absl::StrCat("launch ", Name(graph)));
    return *launch_status_;
  }

  int recorded = 0;  // the name of what was given last

 private:
  struct LoggedGraph : Graph {
    ~LoggedGraph() override {
      if (log != nullptr) log->push_back(absl::StrCat("drop ", name));
    }
    int name = 0;
    Log* log = nullptr;
  };
  static int Name(const Graph& graph) { return static_cast<const LoggedGraph&>(graph).name; }

  Log* const log_;
  absl::Status* const record_status_;
  absl::Status* const launch_status_;
};

class StepGraphsTest : public testing::Test {
 protected:
  static constexpr size_t kMost = 2;

  // A step whose operations are called `name`.
  absl::Status Run(int64_t rows, int name, int32_t stride = 16) {
    std::vector<StepOp> ops = {KernelOp<NormParams>{{}, name}, NarrowParams{}};
    return graphs_.Run({rows, stride}, ops, kLane,
                       [&](cudaStream_t stream, const std::vector<StepOp>& given) {
                         const int first = std::get<KernelOp<NormParams>>(given[0]).count;
                         EXPECT_EQ(given.size(), 2u);
                         recorder_->recorded = first;
                         log_.push_back(absl::StrCat(stream == kLane ? "give " : "record ", first));
                         return give_status_;
                       });
  }
  Log Taken() { return std::exchange(log_, {}); }

  Log log_;
  absl::Status give_status_;
  absl::Status record_status_;
  absl::Status launch_status_;
  LoggingRecorder* const recorder_ = new LoggingRecorder(&log_, &record_status_, &launch_status_);
  StepGraphs graphs_{std::unique_ptr<GraphRecorder>(recorder_), kMost};
};

TEST_F(StepGraphsTest, TheSecondStepIsRecordedAndOthersAreReplayed) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Run(3, 7).ok());
  EXPECT_THAT(Taken(), ElementsAre("give 7", "record 7", "launch 7", "launch 7", "launch 7"));
}

TEST_F(StepGraphsTest, AGraphIsReplayedForItsOwnListAlone) {
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Run(3, 7).ok());
  for (const int name : {8, 7, 8, 8, 8}) ASSERT_TRUE(Run(3, name).ok());
  EXPECT_THAT(Taken(), ElementsAre("give 7", "record 7", "launch 7", "give 8", "give 7", "give 8",
                                   "change 7", "record 8", "launch 8", "launch 8"));
}

TEST_F(StepGraphsTest, ShapesHaveGraphsOfTheirOwn) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Run(3, 7).ok());
    ASSERT_TRUE(Run(3, 8, /*stride=*/32).ok());
  }
  EXPECT_THAT(Taken(), ElementsAre("give 7", "give 8", "record 7", "launch 7", "record 8",
                                   "launch 8", "launch 7", "launch 8"));
}

TEST_F(StepGraphsTest, TheGraphThatWasNotUsedForTheLongestTimeGoes) {
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Run(1, 1).ok());
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Run(2, 2).ok());
  ASSERT_TRUE(Run(1, 1).ok());
  Taken();
  ASSERT_TRUE(Run(3, 3).ok());
  EXPECT_THAT(Taken(), ElementsAre("drop 2", "give 3"));
  ASSERT_TRUE(Run(1, 1).ok());
  ASSERT_TRUE(Run(2, 2).ok());
  EXPECT_THAT(Taken(), ElementsAre("launch 1", "give 2"));
}

TEST_F(StepGraphsTest, WhatCannotBeRecordedIsGivenUntilItIsAnotherList) {
  record_status_ = absl::InternalError("cannot be captured");
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Run(3, 7).ok());
  EXPECT_THAT(Taken(), ElementsAre("give 7", "give 7", "give 7", "give 7"));
  record_status_ = absl::OkStatus();
  for (const int name : {7, 8, 8}) ASSERT_TRUE(Run(3, name).ok());
  EXPECT_THAT(Taken(), ElementsAre("give 7", "give 8", "record 8", "launch 8"));
}

TEST_F(StepGraphsTest, ErrorsOfGivingAndOfLaunchingAreTheSteps) {
  give_status_ = absl::InternalError("no such kernel");
  EXPECT_EQ(Run(3, 7), give_status_);
  EXPECT_EQ(Run(3, 7), give_status_) << "neither recorded nor given";
  give_status_ = absl::OkStatus();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Run(3, 8).ok());
  launch_status_ = absl::InternalError("the card fell off the bus");
  EXPECT_EQ(Run(3, 8), launch_status_);
}

TEST_F(StepGraphsTest, WhatIsForgottenIsRecordedAnew) {
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Run(3, 7).ok());
  graphs_.Forget();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Run(3, 7).ok());
  EXPECT_THAT(Taken(), ElementsAre("give 7", "record 7", "launch 7", "drop 7", "give 7", "record 7",
                                   "launch 7"));
}

TEST(StepOpTest, EveryOperandTellsOperationsApart) {
  const float x[2] = {};
  RopeAppendParams rope;
  rope.kv.table_stride = 16;
  RopeAppendParams wider = rope;
  wider.kv.table_stride = 32;
  Product product;
  product.x = x;
  Product other = product;
  other.x = x + 1;
  EXPECT_EQ(StepOp(KernelOp<RopeAppendParams>{rope, 1}),
            StepOp(KernelOp<RopeAppendParams>{rope, 1}));
  EXPECT_NE(StepOp(KernelOp<RopeAppendParams>{rope, 1}),
            StepOp(KernelOp<RopeAppendParams>{wider, 1}));
  EXPECT_NE(StepOp(KernelOp<RopeAppendParams>{rope, 1}),
            StepOp(KernelOp<RopeAppendParams>{rope, 2}));
  EXPECT_EQ(StepOp(product), StepOp(product));
  EXPECT_NE(StepOp(product), StepOp(other));
  EXPECT_NE(StepOp(KernelOp<GatherRowsParams>{}), StepOp(KernelOp<AddRowsParams>{}));
}

}  // namespace
}  // namespace reprise::engine::cuda
