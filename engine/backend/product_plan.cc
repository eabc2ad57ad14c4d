#include "engine/backend/product_plan.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

using dnnl::matmul;
using dnnl::memory;

// Heights of tiles. The last tile of a call is padded by a fifth at most.
constexpr int64_t kHeights[] = {1,  2,  3,  4,  5,  6,  7,  8,  10,  12,  14,  16,  20,  24,
                                28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256};
constexpr int64_t kMaxHeight = 256;
constexpr int64_t kReferenceHeight = 64;
// Inputs up to which oneDNN sums bf16 products in one run at every height that it was seen to use.
constexpr int64_t kMaxSlab = 1024;
constexpr int64_t kSlabMultiple = 64;
constexpr size_t kSlabAlignment = 64;
// Elements of a trial's result; very wide weights are tried with fewer rows.
constexpr int64_t kTrialElements = int64_t{1} << 23;
// Elements that are compared at least, where there are as many: two orders of summation give the
// same bits for many a single sum.
constexpr int64_t kTrialEvidence = 2048;

// Fills `bytes` with numbers of `type` in [-1, 1).
void FillRandom(memory::data_type type, std::byte* bytes, size_t size) {
  // The upper half of an f32 is a bf16, so one source serves both.
  uint64_t state = 0x9E3779B97F4A7C15u;
  const size_t width = type == memory::data_type::bf16 ? 2 : 4;
  std::vector<std::byte> run(std::min<size_t>(size, 999983 * width));
  for (size_t i = 0; i + width <= run.size(); i += width) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const float value = static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1.0p-31f;
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    if (width == 2) bits >>= 16;
    std::memcpy(run.data() + i, &bits, width);
  }
  for (size_t i = 0; i < size; i += run.size()) {
    std::memcpy(bytes + i, run.data(), std::min(run.size(), size - i));
  }
}

}  // namespace

ProductPlan::ProductPlan(const dnnl::engine& engine, int64_t in, int64_t out, DataType type)
    : engine_(engine), stream_(engine), in_(in), out_(out), type_(type) {
  int64_t depth = in;
  if (type == DataType::bf16 && in > kMaxSlab) {
    const int64_t count = (in + kMaxSlab - 1) / kMaxSlab;
    depth = (in + count - 1) / count;
    depth = (depth + kSlabMultiple - 1) / kSlabMultiple * kSlabMultiple;
  }
  for (int64_t begin = 0; begin < in; begin += depth) {
    Slab slab;
    slab.begin = begin;
    slab.depth = std::min(depth, in - begin);
    slab.offset = packed_bytes_;
    const memory::desc x({kReferenceHeight, slab.depth}, type, {slab.depth, 1});
    const memory::desc any({slab.depth, out}, type, memory::format_tag::any);
    const memory::desc result({kReferenceHeight, out}, DataType::f32, {out, 1});
    const memory::desc bias({1, out}, DataType::f32, {out, 1});
    slab.layout = matmul::primitive_desc(matmul::desc(x, any, bias, result), engine).weights_desc();
    packed_bytes_ +=
        (slab.layout.get_size() + kSlabAlignment - 1) / kSlabAlignment * kSlabAlignment;
    slabs_.push_back(slab);
  }
}

ProductPlan::Step ProductPlan::MakeStep(int64_t height, const Slab& slab) const {
  const bool first = slab.begin == 0;
  const memory::desc x({height, slab.depth}, type_, {slab.depth, 1});
  const memory::desc out({height, out_}, DataType::f32, {out_, 1});
  const memory::desc bias({1, out_}, DataType::f32, {out_, 1});
  dnnl::primitive_attr attributes;
  if (!first) {
    dnnl::post_ops added;
    added.append_sum(1.0f);
    attributes.set_post_ops(added);
  }
  const matmul::desc operation =
      first ? matmul::desc(x, slab.layout, bias, out) : matmul::desc(x, slab.layout, out);
  Step step;
  step.primitive = matmul(matmul::primitive_desc(operation, attributes, engine_));
  step.x = memory(x, engine_, nullptr);
  if (first) step.bias = memory(bias, engine_, nullptr);
  step.out = memory(out, engine_, nullptr);
  return step;
}

std::vector<ProductPlan::Step>& ProductPlan::StepsOf(int64_t height) {
  std::vector<Step>& steps = steps_[height];
  if (steps.empty()) {
    for (const Slab& slab : slabs_) steps.push_back(MakeStep(height, slab));
  }
  return steps;
}

std::vector<memory> ProductPlan::Slice(std::byte* packed) const {
  std::vector<memory> weights;
  for (const Slab& slab : slabs_) {
    weights.emplace_back(slab.layout, engine_, packed + slab.offset);
  }
  return weights;
}

void ProductPlan::Multiply(int64_t height, const SlabInputs& x, int64_t row,
                           absl::Span<const memory> weights, const float* bias, float* out) {
  std::vector<Step>& steps = StepsOf(height);
  const int64_t width = type_ == DataType::bf16 ? 2 : 4;
  auto* inputs = const_cast<std::byte*>(static_cast<const std::byte*>(x.data));
  for (size_t i = 0; i < steps.size(); ++i) {
    Step& step = steps[i];
    step.x.set_data_handle(inputs + (slabs_[i].begin * x.rows + row * slabs_[i].depth) * width);
    step.out.set_data_handle(out);
    std::unordered_map<int, memory> operands = {
        {DNNL_ARG_SRC, step.x}, {DNNL_ARG_WEIGHTS, weights[i]}, {DNNL_ARG_DST, step.out}};
    if (step.bias) {
      step.bias.set_data_handle(const_cast<float*>(bias));
      operands.emplace(DNNL_ARG_BIAS, step.bias);
    }
    step.primitive.execute(stream_, operands);
  }
  stream_.wait();
}

void ProductPlan::KeepHeightsThatAgree(std::byte* packed) {
  const int64_t width = type_ == DataType::bf16 ? 2 : 4;
  const int64_t rows =
      std::clamp<int64_t>(kTrialElements / out_, 2 * kReferenceHeight, kMaxHeight) /
      kReferenceHeight * kReferenceHeight;
  std::vector<std::byte> x(rows * in_ * width);
  std::vector<float> bias(out_);
  FillRandom(type_, x.data(), x.size());
  FillRandom(type_, packed, packed_bytes_);
  FillRandom(DataType::f32, reinterpret_cast<std::byte*>(bias.data()), out_ * sizeof(float));
  const std::vector<memory> weights = Slice(packed);
  const SlabInputs inputs = {x.data(), rows};
  std::vector<float> reference(rows * out_);
  for (int64_t row = 0; row < rows; row += kReferenceHeight) {
    Multiply(kReferenceHeight, inputs, row, weights, bias.data(), reference.data() + row * out_);
  }
  std::vector<float> result(rows * out_);
  heights_.clear();
  for (int64_t height : kHeights) {
    if (height > rows) continue;
    bool agrees = true;
    // A start that is a multiple of nothing puts each row at another place in its tile than the
    // reference had it. Narrow results are tried in several places.
    int64_t compared = 0;
    for (int64_t start = std::min<int64_t>(37, rows - height);
         start + height <= rows && compared < kTrialEvidence; start += height) {
      Multiply(height, inputs, start, weights, bias.data(), result.data());
      agrees = agrees && std::memcmp(result.data(), reference.data() + start * out_,
                                     height * out_ * sizeof(float)) == 0;
      compared += height * out_;
    }
    if (agrees) {
      heights_.push_back(height);
    } else {
      steps_.erase(height);
    }
  }
}

}  // namespace reprise::engine
