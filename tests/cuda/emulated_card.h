// EmulatedCard: CudaBackend without a card. Its device is a LazyDevice, its kernels run on the
// emulation, its products are plain loops. Blocks for KV lie in the device's memory, in shuffled
// places with poison around them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "cachestore/block/kv_layout.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/kernels/launch_types.h"
#include "tests/fakes/host_products.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::engine::cuda {

class EmulatedCard {
 public:
  // `seed`: in which order the device's lanes do their work; 0: as late as may be.
  explicit EmulatedCard(uint64_t seed = 0, PrefillKernel prefill = PrefillKernel::kMma)
      : device_(seed, kMemoryBytes),
        arena_(*device_.Reserve(kArenaBytes)),
        backend_(NewCudaBackend(*MemoryCopy::Create(&device_), std::make_unique<HostProducts>(),
                                nullptr, prefill)) {}

  cachestore::LazyDevice& device() { return device_; }
  Backend* backend() { return backend_.get(); }

  // Every second place of the arena for a block of `layout`, shuffled.
  std::vector<std::byte*> Places(const cachestore::KvLayout& layout) const {
    const size_t units = (layout.BytesPerBlock() + kBlockUnit - 1) / kBlockUnit;
    std::vector<std::byte*> places;
    for (size_t at = 0; at + units * kBlockUnit <= arena_.bytes().size();
         at += 2 * units * kBlockUnit) {
      places.push_back(arena_.bytes().data() + at);
    }
    std::shuffle(places.begin(), places.end(), std::mt19937(5));
    return places;
  }

 private:
  static constexpr size_t kArenaBytes = size_t{8} << 20;
  static constexpr size_t kMemoryBytes = size_t{256} << 20;

  cachestore::LazyDevice device_;
  const cachestore::DeviceBytes arena_;
  const std::unique_ptr<Backend> backend_;
};

}  // namespace reprise::engine::cuda
