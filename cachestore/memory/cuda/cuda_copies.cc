#include "cachestore/memory/cuda/cuda_copies.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/cuda/cuda_status.h"
#include "cachestore/memory/cuda/launch_gather_copy.h"

namespace reprise::cachestore {
namespace {

// Runs of one batched call; the driver takes longer than linear time over long lists.
constexpr size_t kMaxBatchRuns = 4096;

absl::Status EnqueueBatch(absl::Span<const CopyPiece> runs, cudaStream_t stream) {
  if (runs.size() == 1) {
    return CudaStatus(
        cudaMemcpyAsync(runs[0].to, runs[0].from, runs[0].bytes, cudaMemcpyDefault, stream),
        "cudaMemcpyAsync");
  }
  std::vector<void*> to;
  std::vector<const void*> from;
  std::vector<size_t> bytes;
  for (const CopyPiece& run : runs) {
    to.push_back(run.to);
    from.push_back(run.from);
    bytes.push_back(run.bytes);
  }
  cudaMemcpyAttributes attributes = {};
  // Any other order lets the copy read its source before what the stream awaits.
  attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  attributes.flags = cudaMemcpyFlagPreferOverlapWithCompute;
  size_t first_of_attributes = 0;
  return CudaStatus(cudaMemcpyBatchAsync(to.data(), from.data(), bytes.data(), runs.size(),
                                         &attributes, &first_of_attributes, 1, stream),
                    "cudaMemcpyBatchAsync");
}

absl::Status EnqueueGather(absl::Span<const CopyPiece> runs, cudaStream_t stream) {
  auto list = std::make_unique<GatherRuns>();
  list->size = static_cast<uint32_t>(runs.size());
  std::transform(runs.begin(), runs.end(), list->runs, [](const CopyPiece& run) {
    return GatherRun{reinterpret_cast<GatherWord*>(run.to),
                     reinterpret_cast<const GatherWord*>(run.from), run.bytes / sizeof(GatherWord)};
  });
  return CudaStatus(LaunchGatherCopy(*list, stream), "gather copy");
}

}  // namespace

absl::Status EnqueueCopies(const CopyPlan& plan, cudaStream_t stream) {
  const absl::Span<const CopyPiece> copied = plan.copied;
  for (size_t i = 0; i < copied.size(); i += kMaxBatchRuns) {
    RETURN_IF_ERROR(EnqueueBatch(copied.subspan(i, kMaxBatchRuns), stream));
  }
  const absl::Span<const CopyPiece> gathered = plan.gathered;
  for (size_t i = 0; i < gathered.size(); i += kMaxGatherRuns) {
    RETURN_IF_ERROR(EnqueueGather(gathered.subspan(i, kMaxGatherRuns), stream));
  }
  return absl::OkStatus();
}

}  // namespace reprise::cachestore
