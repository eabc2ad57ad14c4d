#include "engine/backend/cuda/upload_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "tests/fakes/lazy_device.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::Lane;
using cachestore::LazyDevice;

// Work of the compute lane that reads `count` numbers at `from`, as a kernel would.
void EnqueueRead(LazyDevice* device, const int32_t* from, size_t count,
                 std::vector<int32_t>* seen) {
  static_cast<LazyDevice::Queue*>(device->Stream(Lane::kCompute))->Enqueue([=] {
    seen->assign(from, from + count);
  });
}

// The host is many uploads ahead, reuses its staging buffers, and grows the place on the way.
TEST(UploadBufferTest, WorkReadsTheUploadBeforeIt) {
  for (const uint64_t seed : {0, 1, 2, 3}) {
    LazyDevice device(seed);
    std::vector<std::vector<int32_t>> seen(20);
    std::vector<std::vector<int32_t>> sent(20);
    UploadBuffer buffer(&device);
    for (size_t i = 0; i < sent.size(); ++i) {
      sent[i].resize(3 + i * i * 20);
      std::iota(sent[i].begin(), sent[i].end(), static_cast<int32_t>(i * 1000));
      std::vector<int32_t> gone = sent[i];
      ASSERT_TRUE(buffer
                      .Begin(UploadBuffer::RoomFor<uint8_t>(1) +
                             UploadBuffer::RoomFor<int32_t>(gone.size()))
                      .ok());
      const uint8_t odd = 7;
      buffer.Put(absl::MakeConstSpan(&odd, 1));
      const int32_t* place = buffer.Put(absl::MakeConstSpan(gone));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(place) % 16, 0u);
      ASSERT_TRUE(buffer.Send().ok());
      std::fill(gone.begin(), gone.end(), -1);
      EnqueueRead(&device, place, gone.size(), &seen[i]);
    }
    ASSERT_TRUE(device.Wait(device.Mark(Lane::kCompute)).ok());
    EXPECT_EQ(seen, sent) << seed;
  }
}

TEST(UploadBufferTest, NoMemoryAndAFailedDeviceAreErrors) {
  LazyDevice device(0, 8192);
  UploadBuffer buffer(&device);
  EXPECT_EQ(buffer.Begin(1 << 20).code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(buffer.Begin(16).ok());
  const int32_t number = 1;
  buffer.Put(absl::MakeConstSpan(&number, 1));
  device.Fail(absl::InternalError("gone"));
  EXPECT_EQ(buffer.Send().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace reprise::engine::cuda
