// AlignedBytes: memory that direct I/O may use. Move-only; contents start undefined.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

#include "absl/types/span.h"
#include "cachestore/base/check.h"
#include "cachestore/tier/block_file.h"

namespace reprise::cachestore {

class AlignedBytes {
 public:
  // `size` bytes at a multiple of kIoAlignment. REQUIRES: size is a multiple of kIoAlignment.
  explicit AlignedBytes(size_t size)
      : data_(static_cast<std::byte*>(std::aligned_alloc(kIoAlignment, size))), size_(size) {
    CHECK(data_ != nullptr || size == 0);
  }

  absl::Span<std::byte> span() { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_;
};

}  // namespace reprise::cachestore
