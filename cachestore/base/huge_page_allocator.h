// HugePageAllocator: memory for large arrays that are read at random. A vector of two MiB or more
// lies in huge pages where the system has them, so that an access costs one cache miss and not a
// walk through page tables as well; smaller ones start on a cache line. Stateless; thread-safe.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

template <typename T>
class HugePageAllocator {
 public:
  using value_type = T;

  HugePageAllocator() = default;
  template <typename U>
  explicit HugePageAllocator(const HugePageAllocator<U>& /*other*/) {}

  T* allocate(size_t count) {
    const size_t alignment = count * sizeof(T) < kHugePage ? kCacheLine : kHugePage;
    const size_t bytes = (count * sizeof(T) + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, bytes);
    CHECK(memory != nullptr);
    // Only a wish: with small pages everything is slower and as right.
    if (alignment == kHugePage) (void)madvise(memory, bytes, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t /*count*/) { std::free(memory); }

  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }

 private:
  static constexpr size_t kCacheLine = 64;
  static constexpr size_t kHugePage = size_t{2} << 20;
};

}  // namespace reprise::cachestore
