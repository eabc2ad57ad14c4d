// PlainProducts: the matrix products of a decoder's layers by plain oneDNN calls, one for each
// product, with nothing but speed in mind: the limit of the engine's own, which keep rows the same
// bits whatever their number. Owns its weights. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/backend/tensor.h"
#include "engine/model/model_config.h"

namespace reprise::bench {

struct ProductShape {
  int64_t in = 0;
  int64_t out = 0;
};

// The products of one layer, in order.
std::vector<ProductShape> LayerProducts(const engine::ModelConfig& config);

class PlainProducts {
 public:
  // `layers` layers of weights that lie apart in memory, of `type` (f32 or bf16), for `rows` rows
  // of the same type; results are f32. Runs on `num_threads` threads. CHECK-fails where oneDNN
  // cannot multiply them.
  PlainProducts(const std::vector<ProductShape>& shapes, int layers, engine::ElementType type,
                int64_t rows, int num_threads);
  ~PlainProducts();
  PlainProducts(const PlainProducts&) = delete;
  PlainProducts& operator=(const PlainProducts&) = delete;

  // Multiplies all layers once.
  void Run();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace reprise::bench
