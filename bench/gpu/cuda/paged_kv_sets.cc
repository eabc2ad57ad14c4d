#include "bench/gpu/cuda/paged_kv_sets.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "absl/strings/str_cat.h"
#include "bench/gpu/cuda/device_contents.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/cuda/cuda_status.h"
#include "engine/backend/cuda/kv_description.h"

namespace reprise::bench {
namespace {

using cachestore::CudaStatus;
using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::DType;
using cachestore::KvLayout;
using engine::cuda::kBlockUnit;

constexpr size_t kPatternBytes = size_t{8} << 20;

absl::StatusOr<std::vector<std::byte>> RandomKv(DType dtype) {
  if (dtype == DType::kBF16) return RandomBF16(kPatternBytes);
  if (dtype == DType::kF8E4M3) return RandomE4M3(kPatternBytes);
  return absl::InvalidArgumentError(absl::StrCat("no random KV of ", cachestore::DTypeName(dtype)));
}

absl::StatusOr<size_t> CacheBytes() {
  int card = 0;
  int bytes = 0;
  RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&card), "cudaGetDevice"));
  RETURN_IF_ERROR(CudaStatus(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, card),
                             "cudaDeviceGetAttribute"));
  return static_cast<size_t>(bytes);
}

int32_t BlocksOf(const AttentionShape& shape, int32_t tokens) {
  return (tokens + shape.block_tokens - 1) / shape.block_tokens;
}

// Which of a set's blocks each sequence has, in random order: [sequences][stride].
struct Places {
  std::vector<uint32_t> table;
  size_t stride = 0;
  size_t num_blocks = 0;
};

Places PlaceBlocks(const AttentionShape& shape, const DecodeBatch& batch) {
  Places places;
  const int32_t shared = batch.shared / shape.block_tokens;
  places.num_blocks = shared;
  for (const int32_t length : batch.lengths) {
    places.num_blocks += BlocksOf(shape, length) - shared;
    places.stride = std::max<size_t>(places.stride, BlocksOf(shape, length));
  }
  std::vector<uint32_t> shuffled(places.num_blocks);
  std::iota(shuffled.begin(), shuffled.end(), 0u);
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(1));
  places.table.resize(batch.lengths.size() * places.stride);
  size_t next = shared;
  for (size_t i = 0; i < batch.lengths.size(); ++i) {
    for (int32_t b = 0; b < BlocksOf(shape, batch.lengths[i]); ++b) {
      places.table[i * places.stride + b] = b < shared ? shuffled[b] : shuffled[next++];
    }
  }
  return places;
}

}  // namespace

absl::StatusOr<PagedKvSets> PagedKvSets::Create(Device& device, const AttentionShape& shape,
                                                const DecodeBatch& batch) {
  KvLayout layout;
  layout.num_layers = 1;
  layout.num_kv_heads = shape.kv_heads;
  layout.head_dim = shape.head_dim;
  layout.block_tokens = shape.block_tokens;
  layout.dtype = shape.dtype;
  ASSIGN_OR_RETURN(const std::vector<std::byte> pattern, RandomKv(shape.dtype));
  ASSIGN_OR_RETURN(const size_t cache_bytes, CacheBytes());
  Places places = PlaceBlocks(shape, batch);
  const size_t units = DeviceSize(layout.BytesPerBlock()) / kBlockUnit;
  for (uint32_t& place : places.table) place *= static_cast<uint32_t>(units);
  const size_t set_bytes = places.num_blocks * units * kBlockUnit;
  const size_t num_sets = std::max<size_t>(1, (3 * cache_bytes + set_bytes - 1) / set_bytes);

  ASSIGN_OR_RETURN(DeviceBytes arena, device.Reserve(num_sets * set_bytes));
  RETURN_IF_ERROR(FillDevice(device, arena.bytes(), pattern));
  ASSIGN_OR_RETURN(DeviceBytes table, PutOnDevice(device, places.table));
  PagedKvSets sets(std::move(arena), std::move(table), set_bytes);
  sets.table_ = std::move(places.table);
  for (size_t set = 0; set < num_sets; ++set) {
    sets.sets_.push_back(
        engine::cuda::DescribeKv(layout, 0, reinterpret_cast<uint8_t*>(sets.bytes(set).data()),
                                 reinterpret_cast<const uint32_t*>(sets.tables_.bytes().data()),
                                 static_cast<int32_t>(places.stride)));
  }
  return sets;
}

}  // namespace reprise::bench
