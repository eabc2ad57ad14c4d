// What CudaDevice does when CUDA fails: with the runtime that fails when it is told to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "cachestore/memory/cuda/cuda_device.h"
#include "cachestore/memory/host_arena.h"
#include "tests/cachestore/memory/cuda/lazy/lazy_cuda.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kBytes = 8192;

TEST(CudaFailureTest, WorkThatFailedIsTheDevicesForGood) {
  const auto host = *HostArena::Reserve(kBytes);
  const auto device = *CudaDevice::Open({});
  const DeviceBytes pinned = *device->Register(host->bytes());
  const DeviceBytes own = *device->Reserve(kBytes);
  const auto copy = [&](Lane lane) {
    std::byte* const to = lane == Lane::kToHost ? host->bytes().data() : own.bytes().data();
    std::byte* const from = lane == Lane::kToHost ? own.bytes().data() : host->bytes().data();
    return device->Copy(lane, {{to, from, 64}});
  };
  ASSERT_TRUE(copy(Lane::kToDevice).ok());
  const Moment before = device->Mark(Lane::kToDevice);
  ASSERT_TRUE(device->Wait(before).ok());
  ASSERT_TRUE(copy(Lane::kToDevice).ok());
  const Moment after = device->Mark(Lane::kToDevice);
  FailLazyCuda(cudaErrorIllegalAddress);
  EXPECT_FALSE(device->HasPassed(after));
  const absl::Status status = device->Wait(after);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("cudaErrorIllegalAddress"));
  EXPECT_EQ(copy(Lane::kToDevice), status);
  EXPECT_TRUE(device->HasPassed(before));
  EXPECT_TRUE(device->Wait(before).ok());
  // A lane that would have to wait for it never does its work.
  device->Await(Lane::kToHost, after);
  EXPECT_EQ(copy(Lane::kToHost), status);
  const Moment never = device->Mark(Lane::kToHost);
  EXPECT_FALSE(device->HasPassed(never));
  EXPECT_EQ(device->Wait(never), status);
  FailLazyCuda(cudaSuccess);
  EXPECT_FALSE(device->HasPassed(after)) << "the driver may say so, the bytes are still unknown";
}

// CUDA keeps what a poll of unfinished work says as the thread's last error, which launches return.
TEST(CudaFailureTest, AMomentThatHasNotPassedIsNoErrorOfTheNextLaunch) {
  const auto host = *HostArena::Reserve(kBytes);
  const auto device = *CudaDevice::Open({});
  const DeviceBytes pinned = *device->Register(host->bytes());
  const DeviceBytes own = *device->Reserve(kBytes);
  ASSERT_TRUE(device->Copy(Lane::kToDevice, {{own.bytes().data(), host->bytes().data(), 64}}).ok());
  const Moment copied = device->Mark(Lane::kToDevice);
  ASSERT_FALSE(device->HasPassed(copied));
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_TRUE(device->Wait(copied).ok());
}

// A launcher cannot tell it from what became of its own launch.
TEST(CudaFailureTest, ACopyThatFailedIsNoErrorOfTheNextLaunch) {
  const auto host = *HostArena::Reserve(kBytes);
  const auto device = *CudaDevice::Open({.to_device = {.kernel_below_bytes = kBytes}});
  const DeviceBytes pinned = *device->Register(host->bytes());
  const DeviceBytes own = *device->Reserve(kBytes);
  const auto copy = [&](size_t bytes) {
    return device->Copy(Lane::kToDevice, {{own.bytes().data(), host->bytes().data(), bytes}});
  };
  FailLazyCuda(cudaErrorInvalidValue);
  EXPECT_EQ(copy(7).code(), absl::StatusCode::kInternal) << "no kernel copies it";
  FailLazyCuda(cudaSuccess);
  EXPECT_EQ(copy(64), absl::OkStatus()) << "a kernel does";
  EXPECT_TRUE(device->Wait(device->Mark(Lane::kToDevice)).ok());
}

// A step that is recorded must not do what waits: the graph is refused, the next one is not.
TEST(CudaFailureTest, AThreadThatCapturesMayNotReserve) {
  const auto device = *CudaDevice::Open({});
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0), cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_FALSE(device->Reserve(kBytes).ok());
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  cudaGetLastError();
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  std::thread([&] { EXPECT_TRUE(device->Reserve(kBytes).ok()); }).join();
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

// More than one piece can hold; the pages are not there until they are touched.
TEST(CudaPinningTest, CopiesDoNotCrossThePiecesInWhichMemoryWasPinned) {
  constexpr size_t kPiece = size_t{64} << 30;
  constexpr size_t kHostBytes = kPiece + 4096;
  void* const place = mmap(nullptr, kHostBytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(place, MAP_FAILED);
  auto* const host = static_cast<std::byte*>(place);
  {
    const auto device = *CudaDevice::Open({});
    auto pinned = device->Register({host, kHostBytes});
    ASSERT_TRUE(pinned.ok()) << pinned.status();
    EXPECT_EQ(NumLazyCudaPinned(), 2);
    const DeviceBytes own = *device->Reserve(kBytes);
    std::memset(host + kPiece - 64, 1, 64);
    std::memset(host + kPiece, 2, 64);
    ASSERT_TRUE(
        device->Copy(Lane::kToDevice, {{own.bytes().data(), host + kPiece - 64, 128}}).ok());
    ASSERT_TRUE(device->Wait(device->Mark(Lane::kToDevice)).ok());
    EXPECT_EQ(own.bytes()[63], std::byte{1});
    EXPECT_EQ(own.bytes()[64], std::byte{2});
    *pinned = DeviceBytes();
    EXPECT_EQ(NumLazyCudaPinned(), 0);
  }
  munmap(place, kHostBytes);
}

}  // namespace
}  // namespace reprise::cachestore
