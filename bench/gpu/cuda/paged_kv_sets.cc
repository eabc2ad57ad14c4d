#include "bench/gpu/cuda/paged_kv_sets.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "absl/strings/str_cat.h"
#include "bench/gpu/cuda/device_fill.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/kv_description.h"

namespace reprise::bench {
namespace {

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
  cudaError_t error = cudaGetDevice(&card);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, card);
  if (error == cudaSuccess) return static_cast<size_t>(bytes);
  return absl::InternalError(absl::StrCat("cudaDeviceGetAttribute: ", cudaGetErrorString(error)));
}

}  // namespace

absl::StatusOr<PagedKvSets> PagedKvSets::Create(Device& device, const AttentionShape& shape,
                                                absl::Span<const int32_t> lengths) {
  KvLayout layout;
  layout.num_layers = 1;
  layout.num_kv_heads = shape.kv_heads;
  layout.head_dim = shape.head_dim;
  layout.block_tokens = shape.block_tokens;
  layout.dtype = shape.dtype;
  ASSIGN_OR_RETURN(const std::vector<std::byte> pattern, RandomKv(shape.dtype));
  ASSIGN_OR_RETURN(const size_t cache_bytes, CacheBytes());
  const size_t units = DeviceSize(layout.BytesPerBlock()) / kBlockUnit;
  const int32_t longest = *std::max_element(lengths.begin(), lengths.end());
  const size_t stride = (longest + shape.block_tokens - 1) / shape.block_tokens;
  size_t num_blocks = 0;
  for (const int32_t length : lengths) {
    num_blocks += (length + shape.block_tokens - 1) / shape.block_tokens;
  }
  const size_t set_bytes = num_blocks * units * kBlockUnit;
  const size_t num_sets = std::max<size_t>(1, (3 * cache_bytes + set_bytes - 1) / set_bytes);

  // Each set's blocks in random places of its own part of the arena.
  std::mt19937 random(1);
  std::vector<uint32_t> tables(num_sets * lengths.size() * stride);
  for (size_t set = 0; set < num_sets; ++set) {
    std::vector<size_t> places(num_blocks);
    std::iota(places.begin(), places.end(), size_t{0});
    std::shuffle(places.begin(), places.end(), random);
    for (size_t i = 0, next = 0; i < lengths.size(); ++i) {
      for (int32_t at = 0; at < lengths[i]; at += shape.block_tokens, ++next) {
        tables[(set * lengths.size() + i) * stride + at / shape.block_tokens] =
            static_cast<uint32_t>(places[next] * units);
      }
    }
  }
  ASSIGN_OR_RETURN(DeviceBytes arena, device.Reserve(num_sets * set_bytes));
  RETURN_IF_ERROR(FillDevice(device, arena.bytes(), pattern));
  ASSIGN_OR_RETURN(DeviceBytes on_device, PutOnDevice(device, tables));
  PagedKvSets sets(std::move(arena), std::move(on_device), set_bytes);
  const auto* table = reinterpret_cast<const uint32_t*>(sets.tables_.bytes().data());
  for (size_t set = 0; set < num_sets; ++set) {
    sets.sets_.push_back(engine::cuda::DescribeKv(
        layout, 0, reinterpret_cast<uint8_t*>(sets.arena_.bytes().data()) + set * set_bytes,
        table + set * lengths.size() * stride, static_cast<int32_t>(stride)));
  }
  return sets;
}

}  // namespace reprise::bench
