// ProductLoop: matrix products on a device's compute lane, as the steps of a model make them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cachestore/memory/device.h"

namespace reprise::bench {

class ProductLoop {
 public:
  // REQUIRES: the lane has ended its products.
  virtual ~ProductLoop() = default;

  // Gives the lane `count` products.
  virtual absl::Status Enqueue(int count) = 0;
  // What one of them is, and how many multiplications and additions.
  virtual std::string name() const = 0;
  virtual double operations() const = 0;
};

// The device outlives the loop.
using ProductsOpener =
    std::function<absl::StatusOr<std::unique_ptr<ProductLoop>>(cachestore::Device*)>;

// Of 8,192 x 8,192 x 8,192 in bf16, by cuBLASLt. kNotFound: this build has no CUDA, or the machine
// no cuBLASLt.
absl::StatusOr<std::unique_ptr<ProductLoop>> OpenProductLoop(cachestore::Device* device);

}  // namespace reprise::bench
