// Graphs of copies, on a card and over the runtime that stands for CUDA's (tests/.../lazy).
#include "engine/backend/cuda/card/card_graphs.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "cachestore/memory/device.h"
#include "engine/backend/cuda/memory_copy.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::Lane;

constexpr size_t kBytes = 4096;

class CardGraphsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = cachestore::OpenDevice();
    if (device.status().code() == absl::StatusCode::kNotFound) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    memory_ = *MemoryCopy::Create(device_.get());
    auto graphs = NewCardGraphs(device_.get());
    ASSERT_TRUE(graphs.ok()) << graphs.status();
    graphs_ = *std::move(graphs);
  }

  DeviceBytes Filled(char value) {
    const std::vector<char> values(kBytes, value);
    return *memory_->Keep(values.data(), kBytes);
  }
  char First(const DeviceBytes& bytes) {
    const auto shown = memory_->Show(bytes.bytes().data(), kBytes);
    EXPECT_TRUE(shown.ok()) << shown.status();
    return shown.ok() ? static_cast<char>((*shown)[0]) : 0;
  }
  static absl::Status GiveCopy(cudaStream_t stream, const DeviceBytes& to,
                               const DeviceBytes& from) {
    const cudaError_t error = cudaMemcpyAsync(to.bytes().data(), from.bytes().data(), kBytes,
                                              cudaMemcpyDeviceToDevice, stream);
    return error == cudaSuccess ? absl::OkStatus() : absl::InternalError("cudaMemcpyAsync");
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<MemoryCopy> memory_;
  std::unique_ptr<GraphRecorder> graphs_;
};

// What is recorded does not run; what is launched runs on what memory holds by then. Other threads
// use the device meanwhile.
TEST_F(CardGraphsTest, WhatWasRecordedIsRepeated) {
  const DeviceBytes from = Filled('a');
  const DeviceBytes middle = Filled('b');
  const DeviceBytes to = Filled('c');
  auto graph = graphs_->Record(
      [&](cudaStream_t stream) {
        EXPECT_TRUE(GiveCopy(stream, middle, from).ok());
        std::thread([&] {
          EXPECT_TRUE(device_->Wait(device_->Mark(Lane::kToHost)).ok());
          EXPECT_TRUE(device_->Wait(device_->Mark(Lane::kCompute)).ok());
        }).join();
        return GiveCopy(stream, to, middle);
      },
      nullptr);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(First(to), 'c');
  ASSERT_TRUE(graphs_->Launch(**graph).ok());
  EXPECT_EQ(First(to), 'a');
  const DeviceBytes other = Filled('d');
  const auto lane = static_cast<cudaStream_t>(device_->Stream(Lane::kCompute));
  ASSERT_TRUE(GiveCopy(lane, from, other).ok());
  ASSERT_TRUE(graphs_->Launch(**graph).ok());
  graph->reset();  // while it may run
  EXPECT_EQ(First(to), 'd');
}

TEST_F(CardGraphsTest, AnOldGraphBecomesTheNewOne) {
  const DeviceBytes from = Filled('a');
  const DeviceBytes to = Filled('b');
  const DeviceBytes further = Filled('c');
  const auto record = [&](int copies, std::unique_ptr<GraphRecorder::Graph> old) {
    return graphs_->Record(
        [&](cudaStream_t stream) {
          absl::Status status = GiveCopy(stream, further, from);
          for (int i = 1; i < copies; ++i) status.Update(GiveCopy(stream, to, further));
          return status;
        },
        std::move(old));
  };
  auto first =
      graphs_->Record([&](cudaStream_t stream) { return GiveCopy(stream, to, from); }, nullptr);
  ASSERT_TRUE(first.ok()) << first.status();
  // One with other operands, then one with more operations.
  auto second = record(1, *std::move(first));
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_TRUE(graphs_->Launch(**second).ok());
  EXPECT_EQ(First(to), 'b');
  EXPECT_EQ(First(further), 'a');
  auto third = record(2, *std::move(second));
  ASSERT_TRUE(third.ok()) << third.status();
  ASSERT_TRUE(graphs_->Launch(**third).ok());
  EXPECT_EQ(First(to), 'a');
}

TEST_F(CardGraphsTest, AnErrorOfWhatIsRecordedLeavesNothingBehind) {
  const DeviceBytes from = Filled('a');
  const DeviceBytes to = Filled('b');
  const absl::Status wrong = absl::InvalidArgumentError("no such kernel");
  EXPECT_EQ(graphs_->Record([&](cudaStream_t) { return wrong; }, nullptr).status(), wrong);
  auto graph =
      graphs_->Record([&](cudaStream_t stream) { return GiveCopy(stream, to, from); }, nullptr);
  ASSERT_TRUE(graph.ok()) << graph.status();
  ASSERT_TRUE(graphs_->Launch(**graph).ok());
  EXPECT_EQ(First(to), 'a');
}

}  // namespace
}  // namespace reprise::engine::cuda
