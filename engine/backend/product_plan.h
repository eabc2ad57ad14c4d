// ProductPlan: how oneDNN multiplies by weights of one shape and type; see onednn_weight.h. Holds
// the primitives of every tile height that keeps the row contract. Shared by all weights of the
// shape. Engine-thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace reprise::engine {

// A run [begin, begin + depth) of the inputs, and where its weights lie in the packed ones.
struct Slab {
  int64_t begin = 0;
  int64_t depth = 0;
  size_t offset = 0;          // bytes
  dnnl::memory::desc layout;  // [depth, out]
};

// The rows that are multiplied: for each slab [rows, depth], of the plan's type, one slab after
// another. With one slab that is [rows, in]. (oneDNN is half as fast on rows with gaps between.)
struct SlabInputs {
  const void* data = nullptr;
  int64_t rows = 0;
};

class ProductPlan {
 public:
  using DataType = dnnl::memory::data_type;

  // Weights [in, out] of `type` (f32 or bf16). Throws dnnl::error.
  ProductPlan(const dnnl::engine& engine, int64_t in, int64_t out, DataType type);

  // Tries every height with random weights written to `packed` (packed_bytes() long; left
  // undefined) and keeps those whose rows agree bit for bit. Throws dnnl::error or std::bad_alloc.
  void KeepHeightsThatAgree(std::byte* packed);

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  DataType type() const { return type_; }
  const dnnl::engine& engine() const { return engine_; }
  size_t packed_bytes() const { return packed_bytes_; }
  absl::Span<const Slab> slabs() const { return slabs_; }
  // Ascending. Empty when not even the reference height agrees with itself.
  absl::Span<const int64_t> heights() const { return heights_; }

  // The slabs of a weight at `packed` (packed_bytes() long, aligned to 64 bytes), not owned; their
  // padding is set to zero. Throws dnnl::error.
  std::vector<dnnl::memory> Slice(std::byte* packed) const;

  // out[0, height) = x[row, row + height) W + bias. weights: from Slice(); bias: [out] f32;
  // out: [height, out] f32. REQUIRES: height is one of heights(). Throws dnnl::error.
  void Multiply(int64_t height, const SlabInputs& x, int64_t row,
                absl::Span<const dnnl::memory> weights, const float* bias, float* out);

 private:
  // One slab's product at one height. The first slab adds the bias, a later one what is in out.
  struct Step {
    dnnl::matmul primitive;
    dnnl::memory x;
    dnnl::memory bias;  // empty for a later slab
    dnnl::memory out;
  };

  Step MakeStep(int64_t height, const Slab& slab) const;
  std::vector<Step>& StepsOf(int64_t height);

  const dnnl::engine engine_;
  dnnl::stream stream_;
  const int64_t in_;
  const int64_t out_;
  const DataType type_;
  std::vector<Slab> slabs_;
  size_t packed_bytes_ = 0;
  std::vector<int64_t> heights_;
  std::map<int64_t, std::vector<Step>> steps_;  // by height
};

}  // namespace reprise::engine
