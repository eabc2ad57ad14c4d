#include "engine/backend/cuda/rope_mirror.h"

#include <iterator>
#include <utility>

#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/kernels/row_params.h"

namespace reprise::engine::cuda {

static_assert(kRopePagePositions == RopeTable::kPagePositions);

absl::StatusOr<const float* const*> RopeMirror::Pages(const RopeTable& table) {
  CHECK(IsOf(table));
  const int64_t num_pages = table.num_positions() / RopeTable::kPagePositions;
  while (std::ssize(pages_) < num_pages) {
    // A page begins with the cosines of its first position.
    const float* page = table.cosines(std::ssize(pages_) * RopeTable::kPagePositions);
    const int64_t bytes = RopeTable::kPagePositions * rotary_dim_ * sizeof(float);
    ASSIGN_OR_RETURN(cachestore::DeviceBytes copy, copy_->Keep(page, bytes));
    pages_.push_back(std::move(copy));
  }
  if (num_listed_ < num_pages) {
    std::vector<const std::byte*> addresses;
    for (const cachestore::DeviceBytes& page : pages_) addresses.push_back(page.bytes().data());
    ASSIGN_OR_RETURN(list_, copy_->Keep(addresses.data(), addresses.size() * sizeof(void*)));
    num_listed_ = std::ssize(pages_);
  }
  return reinterpret_cast<const float* const*>(list_.bytes().data());
}

}  // namespace reprise::engine::cuda
