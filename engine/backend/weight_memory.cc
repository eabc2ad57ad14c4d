#include "engine/backend/weight_memory.h"

#include <sys/mman.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace reprise::engine {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

void FreeWeightMemory::operator()(std::byte* bytes) const { std::free(bytes); }

absl::StatusOr<WeightMemory> AllocateWeightMemory(size_t size) {
  const size_t alignment = size >= kHugePage ? kHugePage : kCacheLine;
  const size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* bytes = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (bytes == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a packed weight of ", size, " bytes"));
  }
  // A hint: without huge pages everything still works.
  if (alignment == kHugePage) (void)madvise(bytes, rounded, MADV_HUGEPAGE);
  return WeightMemory(static_cast<std::byte*>(bytes));
}

}  // namespace reprise::engine
