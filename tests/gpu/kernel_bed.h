// KernelBed: a device and arrays in its memory, to try launchers on. Which device is decided at
// link time: the card (card_device.cc), or LazyDevice with launchers that emulate
// (emulated_device.cc), so that what holds kernels to their results is tested without a card.
//
// Arrays stay until the bed goes. Behind each lies poison to the end of its memory: a kernel that
// writes there is reported by Get. Thread-compatible.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/host_arena.h"
#include "gtest/gtest.h"

namespace reprise::engine::cuda {

// The device that the launchers of this program are for. kNotFound: there is none.
absl::StatusOr<std::unique_ptr<cachestore::Device>> OpenKernelDevice();
// Whether kernels are emulated, so that only small shapes can be computed.
bool KernelsAreEmulated();
// Why the device, which there is, does not run kernels of sm_90a, in words that stages.sh knows;
// empty: it does.
std::string WhyNotHopper();

class KernelBed {
 public:
  template <typename T>
  struct Array {
    T* data = nullptr;  // in the device's memory
    size_t size = 0;
  };

  // NaN in every float format, -1 in integers.
  static constexpr std::byte kPoison{0xFF};

  // Errors are OpenKernelDevice's.
  static absl::StatusOr<std::unique_ptr<KernelBed>> Open() {
    auto device = OpenKernelDevice();
    if (!device.ok()) return device.status();
    return std::unique_ptr<KernelBed>(new KernelBed(*std::move(device)));
  }

  cudaStream_t stream() {
    return static_cast<cudaStream_t>(device_->Stream(cachestore::Lane::kCompute));
  }

  // A copy of `values`.
  template <typename T>
  Array<T> Put(const std::vector<T>& values) {
    const Array<T> array = Poisoned<T>(values.size());
    Send(absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                             values.size() * sizeof(T)),
         reinterpret_cast<std::byte*>(array.data));
    return array;
  }
  // `size` elements of poison.
  template <typename T>
  Array<T> Poisoned(size_t size) {
    const size_t bytes = RoundUp(size * sizeof(T) + kGuardBytes);
    own_.push_back(*device_->Reserve(bytes));
    std::byte* const data = own_.back().bytes().data();
    Send(std::vector<std::byte>(bytes, kPoison), data);
    return {reinterpret_cast<T*>(data), size};
  }

  // What all work given so far left in `array`. BLOCKS.
  template <typename T>
  std::vector<T> Get(const Array<T>& array) {
    const size_t used = array.size * sizeof(T);
    const std::vector<std::byte> bytes =
        Fetch(reinterpret_cast<const std::byte*>(array.data), RoundUp(used + kGuardBytes));
    EXPECT_TRUE(std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(used), bytes.end(),
                            [](std::byte b) { return b == kPoison; }))
        << "written behind the end of " << array.size << " elements";
    std::vector<T> values(array.size);
    if (used > 0) std::memcpy(values.data(), bytes.data(), used);
    return values;
  }

 private:
  static constexpr size_t kGuardBytes = 256;
  static constexpr size_t kStagingBytes = size_t{4} << 20;

  explicit KernelBed(std::unique_ptr<cachestore::Device> device)
      : device_(std::move(device)),
        staging_(*cachestore::HostArena::Reserve(kStagingBytes)),
        pinned_(*device_->Register(staging_->bytes())) {}

  static size_t RoundUp(size_t bytes) {
    constexpr size_t kUnit = cachestore::Device::kAlignment;
    return (bytes + kUnit - 1) / kUnit * kUnit;
  }

  void Send(absl::Span<const std::byte> from, std::byte* to) {
    for (size_t at = 0; at < from.size(); at += kStagingBytes) {
      const size_t bytes = std::min(kStagingBytes, from.size() - at);
      std::memcpy(staging_->bytes().data(), from.data() + at, bytes);
      Move(to + at, staging_->bytes().data(), bytes);
    }
  }

  std::vector<std::byte> Fetch(const std::byte* from, size_t size) {
    std::vector<std::byte> bytes(size);
    for (size_t at = 0; at < size; at += kStagingBytes) {
      const size_t part = std::min(kStagingBytes, size - at);
      Move(staging_->bytes().data(), from + at, part);
      std::memcpy(bytes.data() + at, staging_->bytes().data(), part);
    }
    return bytes;
  }

  // On the lane of the kernels, so behind them. BLOCKS.
  void Move(std::byte* to, const std::byte* from, size_t bytes) {
    const absl::Status given = device_->Copy(cachestore::Lane::kCompute, {{to, from, bytes}});
    ASSERT_TRUE(given.ok()) << given;
    const absl::Status ended = device_->Wait(device_->Mark(cachestore::Lane::kCompute));
    ASSERT_TRUE(ended.ok()) << ended;
  }

  const std::unique_ptr<cachestore::Device> device_;
  const std::unique_ptr<cachestore::HostArena> staging_;
  const cachestore::DeviceBytes pinned_;
  std::vector<cachestore::DeviceBytes> own_;
};

// A test of kernels: skipped, with the cause, where there is no device; with a device it has a bed.
class KernelTest : public testing::Test {
 protected:
  void SetUp() override {
    auto bed = KernelBed::Open();
    if (bed.status().code() == absl::StatusCode::kNotFound) GTEST_SKIP() << bed.status();
    ASSERT_TRUE(bed.ok()) << bed.status();
    bed_ = *std::move(bed);
  }

  KernelBed& bed() { return *bed_; }

 private:
  std::unique_ptr<KernelBed> bed_;
};

}  // namespace reprise::engine::cuda
