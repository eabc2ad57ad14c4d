// CudaDevice on a card; without one only that it says so.
#include "cachestore/memory/cuda/cuda_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/memory/host_arena.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kBytes = size_t{8} << 20;

TEST(CudaDeviceOpenTest, OpensTheCardOrSaysWhatIsMissing) {
  const auto device = CudaDevice::Open({});
  if (device.ok()) return;
  EXPECT_EQ(device.status().code(), absl::StatusCode::kNotFound) << device.status();
  EXPECT_THAT(std::string(device.status().message()), testing::HasSubstr("CUDA"));
}

class CudaDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Small runs go to the kernel, so that all means are used.
    auto device =
        CudaDevice::Open({.to_device = {.kernel_below_bytes = 4096, .kernel_min_runs = 2},
                          .to_host = {.kernel_below_bytes = 4096, .kernel_min_runs = 2},
                          .on_device = {.kernel_below_bytes = 4096, .kernel_min_runs = 2}});
    if (!device.ok()) GTEST_SKIP() << device.status();
    device_ = *std::move(device);
    host_ = *HostArena::Reserve(2 * kBytes);
    auto pinned = device_->Register(host_->bytes());
    ASSERT_TRUE(pinned.ok()) << pinned.status();
    pinned_ = *std::move(pinned);
    auto own = device_->Reserve(2 * kBytes);
    ASSERT_TRUE(own.ok()) << own.status();
    own_ = *std::move(own);
  }

  void Finish(Lane lane) {
    const absl::Status status = device_->Wait(device_->Mark(lane));
    EXPECT_TRUE(status.ok()) << status;
  }

  // The device goes last.
  std::unique_ptr<HostArena> host_;
  std::unique_ptr<Device> device_;
  DeviceBytes pinned_;
  DeviceBytes own_;
};

TEST_F(CudaDeviceTest, MemoryIsAlignedAndItsEndIsAnError) {
  for (const size_t bytes : {size_t{4096}, size_t{8192}, size_t{1} << 20, size_t{3} << 20}) {
    const auto reserved = device_->Reserve(bytes);
    ASSERT_TRUE(reserved.ok()) << reserved.status();
    EXPECT_EQ(reserved->bytes().size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(reserved->bytes().data()) % Device::kAlignment, 0u);
  }
  const absl::Status status = device_->Reserve(size_t{1} << 45).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("are free"));
  Finish(Lane::kCompute);  // the error stays with the call that had it
}

// Host to device, on the device, and back to another place of the host, in pieces of all sizes.
// Small is for the checkers of tests/gpu/run.sh.
TEST_F(CudaDeviceTest, SmallAndLargePiecesComeBackAsTheyWent) {
  std::mt19937_64 random(5);
  std::byte* const source = host_->bytes().data();
  std::byte* const result = source + kBytes;
  std::byte* const first = own_.bytes().data();
  std::byte* const second = first + kBytes;
  for (size_t i = 0; i < kBytes; i += 8) {
    const uint64_t word = random();
    std::memcpy(source + i, &word, 8);
  }
  std::memset(result, 0xee, kBytes);
  const auto pieces = [&](std::byte* to, const std::byte* from) {
    std::vector<CopyPiece> list;
    for (size_t at = 0; at < kBytes;) {
      const size_t large = random() % 4 == 0 ? size_t{1} << 18 : 8192;
      size_t bytes = std::min<size_t>(1 + random() % large, kBytes - at);
      if (random() % 4 != 0 && bytes > 16) bytes = bytes / 16 * 16;
      list.push_back({to + at, from + at, bytes});
      at += bytes;
    }
    // Every other piece in a call of its own, so that the pieces of a call do not touch.
    std::vector<CopyPiece> even;
    std::vector<CopyPiece> odd;
    for (size_t i = 0; i < list.size(); ++i) (i % 2 == 0 ? even : odd).push_back(list[i]);
    return std::pair(even, odd);
  };
  const auto copy = [&](Lane lane, std::byte* to, const std::byte* from) {
    const auto [even, odd] = pieces(to, from);
    ASSERT_TRUE(device_->Copy(lane, even).ok());
    ASSERT_TRUE(device_->Copy(lane, odd).ok());
  };
  copy(Lane::kToDevice, first, source);
  device_->Await(Lane::kCompute, device_->Mark(Lane::kToDevice));
  copy(Lane::kCompute, second, first);
  device_->Await(Lane::kToHost, device_->Mark(Lane::kCompute));
  copy(Lane::kToHost, result, second);
  Finish(Lane::kToHost);
  EXPECT_EQ(std::memcmp(source, result, kBytes), 0);
}

TEST_F(CudaDeviceTest, MomentsPassInTheirOrderAlsoWhenThereAreMoreThanEvents) {
  std::vector<Moment> moments;
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(
        device_->Copy(Lane::kToDevice, {{own_.bytes().data(), host_->bytes().data(), 4096}}).ok());
    moments.push_back(device_->Mark(Lane::kToDevice));
    EXPECT_EQ(moments.back().number, static_cast<uint64_t>(i + 1));
  }
  EXPECT_EQ(device_->Mark(Lane::kToDevice).number, 3000u) << "no work since";
  EXPECT_TRUE(device_->HasPassed(moments.front()));
  EXPECT_TRUE(device_->Wait(moments.back()).ok());
  for (const Moment& moment : moments) EXPECT_TRUE(device_->HasPassed(moment));
  EXPECT_TRUE(device_->HasPassed({Lane::kToHost, 0}));
}

}  // namespace
}  // namespace reprise::cachestore
