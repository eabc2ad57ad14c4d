// CudaAttentionWork: the operands that all attention kernels have, how their launches are timed,
// and how their results are checked.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/gpu/attention_work.h"
#include "bench/gpu/cuda/paged_kv_sets.h"
#include "cachestore/memory/device.h"
#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::bench {

// What lies on the device for every kernel.
struct AttentionOperands {
  // Random q and poisoned out of `rows`, over KV of `batch`. Errors are PagedKvSets' and the
  // device's. BLOCKS.
  static absl::StatusOr<AttentionOperands> Create(cachestore::Device& device,
                                                  const AttentionShape& shape,
                                                  const DecodeBatch& batch,
                                                  std::vector<engine::cuda::AttentionRow> rows);

  AttentionShape shape;
  std::vector<engine::cuda::AttentionRow> rows;
  PagedKvSets kv;
  cachestore::DeviceBytes q;
  cachestore::DeviceBytes out;
};

class CudaAttentionWork : public AttentionWork {
 public:
  absl::StatusOr<double> Seconds(int launches) override;
  absl::StatusOr<double> ReadSeconds(int launches) override;

  // Launches the kernel once and compares the last rows with the generic kernel's. kDataLoss: they
  // differ by more than their types' roundings. BLOCKS.
  absl::Status Check();

 protected:
  CudaAttentionWork(cachestore::Device* device, AttentionOperands operands)
      : device_(device), operands_(std::move(operands)) {}

  // Of the kernel over set `set` of KV.
  virtual cudaError_t Launch(size_t set, cudaStream_t stream) = 0;

  // What all kernels are told.
  template <typename Params>
  void Describe(size_t set, Params* params) const {
    params->q = Pointer<float>(operands_.q);
    params->out = Pointer<float>(operands_.out);
    params->kv = operands_.kv.kv(set);
    params->heads = operands_.shape.heads;
    params->scale_log2 = 1.44269504f / std::sqrt(static_cast<float>(operands_.shape.head_dim));
  }
  template <typename T>
  static T* Pointer(const cachestore::DeviceBytes& bytes) {
    return reinterpret_cast<T*>(bytes.bytes().data());
  }
  const AttentionOperands& operands() const { return operands_; }

 private:
  cudaStream_t stream() const;
  absl::StatusOr<double> SecondsOf(int launches, absl::FunctionRef<cudaError_t(size_t)> launch);

  cachestore::Device* const device_;
  const AttentionOperands operands_;
  size_t next_set_ = 0;
};

}  // namespace reprise::bench
