// What `reprise bench gpu-attention` launches, with emulated kernels: operands and plans are put
// together rightly, or the results would not be the generic kernel's.
#include "bench/gpu/attention_work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "bench/gpu/cuda/cuda_attention_work.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::bench {
namespace {

using cachestore::DType;
using cachestore::LazyDevice;

constexpr AttentionShape kShape = {.heads = 4, .kv_heads = 2, .head_dim = 64};

void ExpectMeasured(const AttentionWorkOr& work) {
  ASSERT_TRUE(work.ok()) << work.status();
  for (const auto& seconds : {(*work)->Seconds(2), (*work)->ReadSeconds(3)}) {
    ASSERT_TRUE(seconds.ok()) << seconds.status();
    EXPECT_GT(*seconds, 0);
  }
}

TEST(AttentionWorkTest, DecodeIsRightAndTimed) {
  LazyDevice device;
  AttentionShape fp8 = kShape;
  fp8.dtype = DType::kF8E4M3;
  // Sets of 3 and of 24 blocks: the cache takes 64 KiB.
  ExpectMeasured(OurAttentionWorks().decode(&device, kShape, {{40}}));
  ExpectMeasured(OurAttentionWorks().decode(&device, kShape, {{1, 99, 16, 200, 17}}));
  ExpectMeasured(OurAttentionWorks().decode(&device, fp8, {{33, 64}}));
}

TEST(AttentionWorkTest, CascadeIsRightAndTimed) {
  LazyDevice device;
  ExpectMeasured(OurAttentionWorks().cascade(&device, kShape, {{600, 520, 513, 700, 640}, 512}));
  EXPECT_EQ(OurAttentionWorks().cascade(&device, kShape, {{100, 100}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(AttentionWorkTest, PrefillIsRightAndTimed) {
  LazyDevice device;
  ExpectMeasured(OurAttentionWorks().prefill(&device, kShape, 150, PrefillKernel::kMmaSync));
  ExpectMeasured(OurAttentionWorks().prefill(&device, kShape, 150, PrefillKernel::kHopper));
}

TEST(AttentionWorkTest, OtherKvIsRefused) {
  LazyDevice device;
  AttentionShape int8 = kShape;
  int8.dtype = DType::kInt8;
  EXPECT_EQ(OurAttentionWorks().decode(&device, int8, {{40}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// A kernel that writes nothing.
class IdleWork : public CudaAttentionWork {
 public:
  IdleWork(cachestore::Device* device, AttentionOperands operands)
      : CudaAttentionWork(device, std::move(operands)) {}
  cudaError_t Launch(size_t, cudaStream_t) override { return cudaSuccess; }
};

TEST(AttentionWorkTest, AWrongKernelIsNotTimed) {
  LazyDevice device;
  auto operands = AttentionOperands::Create(device, kShape, {{40}}, {{0, 40}});
  ASSERT_TRUE(operands.ok()) << operands.status();
  IdleWork idle(&device, *std::move(operands));
  EXPECT_EQ(idle.Check().code(), absl::StatusCode::kDataLoss) << idle.Check();
}

}  // namespace
}  // namespace reprise::bench
