// HugePageAllocator: memory for large arrays that are read at random. A vector of two MiB or more
// lies in huge pages where the system has them, so that an access costs one cache miss and not a
// walk through page tables as well; smaller ones start on a cache line. Stateless; thread-safe.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
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
    const size_t bytes = count * sizeof(T);
    if (bytes < kHugePage) {
      void* memory = std::aligned_alloc(kCacheLine, RoundUp(bytes, kCacheLine));
      CHECK(memory != nullptr);
      return static_cast<T*>(memory);
    }
    // Always mapped anew: what malloc gives may have been used, in small pages, before.
    const size_t length = RoundUp(bytes, kHugePage);
    void* mapped = mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(mapped != MAP_FAILED);
    auto* const begin = static_cast<std::byte*>(mapped);
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (before > 0) munmap(begin, before);
    munmap(begin + before + length, kHugePage - before);
    // Only a wish: with small pages everything is slower and as right.
    (void)madvise(begin + before, length, MADV_HUGEPAGE);
    return reinterpret_cast<T*>(begin + before);
  }
  void deallocate(T* memory, size_t count) {
    const size_t bytes = count * sizeof(T);
    if (bytes < kHugePage) {
      std::free(memory);
    } else {
      munmap(memory, RoundUp(bytes, kHugePage));
    }
  }

  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }

 private:
  static constexpr size_t kCacheLine = 64;
  static constexpr size_t kHugePage = size_t{2} << 20;

  static size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }
};

}  // namespace reprise::cachestore
