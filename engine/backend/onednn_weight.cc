#include "engine/backend/onednn_weight.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/internal/raw_logging.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cpu_parallel.h"
#include "engine/backend/product_plan.h"
#include "engine/backend/weight_memory.h"

namespace reprise::engine {
namespace {

using dnnl::memory;

// The height of the next tile when `rows` are left: the largest, or the one that pads least.
int64_t NextHeight(absl::Span<const int64_t> heights, int64_t rows) {
  if (rows >= heights.back()) return heights.back();
  return *std::lower_bound(heights.begin(), heights.end(), rows);
}

// Buffers that the products of one backend share.
struct Workspace {
  std::vector<uint16_t> narrowed;  // x as bf16
  std::vector<float> padded_x;     // a padded tile's rows
  std::vector<float> padded_out;   // and its result
  std::vector<float> zero_bias;
};

// Returns `size` elements or more; contents are kept only while it does not grow.
template <typename T>
T* Reserve(std::vector<T>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(size);
  return buffer.data();
}

class OneDnnWeight final : public CpuWeight {
 public:
  OneDnnWeight(std::shared_ptr<ProductPlan> plan, std::shared_ptr<Workspace> workspace,
               WeightMemory packed)
      : CpuWeight(plan->in(), plan->out()),
        plan_(std::move(plan)),
        workspace_(std::move(workspace)),
        packed_(std::move(packed)),
        slabs_(plan_->Slice(packed_.get())) {}

  absl::string_view arithmetic() const override {
    return narrows() ? "bf16-activations oneDNN" : "f32 oneDNN";
  }

  void Multiply(const float* x, int64_t rows, const float* bias, float* out) const override {
    const float* added = bias != nullptr ? bias : Reserve(workspace_->zero_bias, out_features());
    try {
      MultiplyTiles(x, rows, added, out);
    } catch (const std::exception& error) {
      ABSL_RAW_LOG(FATAL, "matrix product %lld x %lld x %lld: %s", static_cast<long long>(rows),
                   static_cast<long long>(in_features()), static_cast<long long>(out_features()),
                   error.what());
    }
  }

 private:
  bool narrows() const { return plan_->type() == memory::data_type::bf16; }

  void MultiplyTiles(const float* x, int64_t rows, const float* bias, float* out) const {
    const SlabInputs inputs = narrows() ? Narrow(x, rows) : SlabInputs{x, rows};
    for (int64_t row = 0; row < rows;) {
      const int64_t height = NextHeight(plan_->heights(), rows - row);
      float* tile_out = out + row * out_features();
      if (height <= rows - row) {
        plan_->Multiply(height, inputs, row, slabs_, bias, tile_out);
      } else {
        float* padded_out = Reserve(workspace_->padded_out, height * out_features());
        if (narrows()) {
          plan_->Multiply(height, inputs, row, slabs_, bias, padded_out);
        } else {
          const SlabInputs padded = Pad(x + row * in_features(), rows - row, height);
          plan_->Multiply(height, padded, 0, slabs_, bias, padded_out);
        }
        std::copy(padded_out, padded_out + (rows - row) * out_features(), tile_out);
      }
      row += height;
    }
  }

  // x as bf16 slabs, with rows of zeros up to the end of the last tile.
  SlabInputs Narrow(const float* x, int64_t rows) const {
    int64_t total = 0;
    while (total < rows) total += NextHeight(plan_->heights(), rows - total);
    uint16_t* narrowed = Reserve(workspace_->narrowed, total * in_features());
    for (const Slab& slab : plan_->slabs()) {
      uint16_t* to = narrowed + slab.begin * total;
      ParallelRanges(rows, slab.depth, 32 * 1024, [&](int, int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          NarrowToBF16(x + r * in_features() + slab.begin, slab.depth, to + r * slab.depth);
        }
      });
      std::fill(to + rows * slab.depth, to + total * slab.depth, uint16_t{0});
    }
    return {narrowed, total};
  }

  // A copy of `rows` rows with rows of zeros up to `height`.
  SlabInputs Pad(const float* x, int64_t rows, int64_t height) const {
    float* padded = Reserve(workspace_->padded_x, height * in_features());
    std::copy(x, x + rows * in_features(), padded);
    std::fill(padded + rows * in_features(), padded + height * in_features(), 0.0f);
    return {padded, height};
  }

  const std::shared_ptr<ProductPlan> plan_;
  const std::shared_ptr<Workspace> workspace_;
  const WeightMemory packed_;
  const std::vector<memory> slabs_;  // views of packed_
};

class OneDnnProductsImpl final : public OneDnnProducts {
 public:
  explicit OneDnnProductsImpl(bool multiplies_bf16)
      : multiplies_bf16_(multiplies_bf16), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {}

  absl::StatusOr<std::unique_ptr<CpuWeight>> Pack(TensorView weight, WeightOrder order) override {
    try {
      return PackOrThrow(weight, order);
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(Refusal(weight, "no memory"));
    } catch (const dnnl::error& error) {
      if (error.status == dnnl_out_of_memory) {
        return absl::ResourceExhaustedError(Refusal(weight, error.what()));
      }
      return absl::InternalError(Refusal(weight, error.what()));
    }
  }

 private:
  static std::string Refusal(TensorView weight, const char* reason) {
    return absl::StrCat("cannot pack a weight of ", weight.rows, " x ", weight.cols, ": ", reason);
  }

  absl::StatusOr<std::unique_ptr<CpuWeight>> PackOrThrow(TensorView weight, WeightOrder order) {
    if (weight.type == ElementType::kBF16 && !multiplies_bf16_) return nullptr;
    std::vector<float> widened;
    if (weight.type == ElementType::kF16) {
      widened.resize(weight.rows * weight.cols);
      Widen(weight.data, weight.type, weight.rows * weight.cols, widened.data());
      weight.data = widened.data();
      weight.type = ElementType::kF32;
    }
    const bool out_in = order == WeightOrder::kOutIn;
    const int64_t in = out_in ? weight.cols : weight.rows;
    const int64_t out = out_in ? weight.rows : weight.cols;
    const auto type =
        weight.type == ElementType::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
    std::shared_ptr<ProductPlan> plan = plans_[{in, out, type}];
    const bool is_new = plan == nullptr;
    if (is_new) plan = std::make_shared<ProductPlan>(engine_, in, out, type);
    ASSIGN_OR_RETURN(WeightMemory packed, AllocateWeightMemory(plan->packed_bytes()));
    if (is_new) {
      plan->KeepHeightsThatAgree(packed.get());
      plans_[{in, out, type}] = plan;
    }
    if (plan->heights().empty()) return nullptr;
    Fill(*plan, weight, order, packed.get());
    return std::make_unique<OneDnnWeight>(std::move(plan), workspace_, std::move(packed));
  }

  // Reorders the checkpoint's weight into the slabs of `packed`.
  void Fill(const ProductPlan& plan, TensorView weight, WeightOrder order, std::byte* packed) {
    const bool out_in = order == WeightOrder::kOutIn;
    auto* source = const_cast<std::byte*>(static_cast<const std::byte*>(weight.data));
    std::vector<memory> to = plan.Slice(packed);
    for (size_t i = 0; i < to.size(); ++i) {
      const Slab& slab = plan.slabs()[i];
      const memory::dims strides =
          out_in ? memory::dims{1, plan.in()} : memory::dims{plan.out(), 1};
      const int64_t skipped = slab.begin * (out_in ? 1 : plan.out()) * ElementBytes(weight.type);
      memory from({{slab.depth, plan.out()}, plan.type(), strides}, engine_, source + skipped);
      dnnl::reorder(from, to[i]).execute(stream_, from, to[i]);
    }
    stream_.wait();
  }

  const bool multiplies_bf16_;
  const dnnl::engine engine_;
  dnnl::stream stream_;
  const std::shared_ptr<Workspace> workspace_ = std::make_shared<Workspace>();
  std::map<std::tuple<int64_t, int64_t, memory::data_type>, std::shared_ptr<ProductPlan>> plans_;
};

bool IsaAtLeast(dnnl::cpu_isa wanted) {
  // The values are sets of instruction bits: a superset supports all that a subset does.
  const auto has = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto bits = static_cast<unsigned>(wanted);
  return (has & bits) == bits;
}

}  // namespace

std::string OneDnnArithmetic() {
  const dnnl::version_t* version = dnnl::version();
  return absl::StrCat("oneDNN ", version->major, ".", version->minor, ".", version->patch,
                      ", instructions ",
                      absl::Hex(static_cast<unsigned>(dnnl::get_effective_cpu_isa())));
}

std::unique_ptr<OneDnnProducts> OneDnnProducts::Create(BF16Products bf16) {
  try {
    if (!IsaAtLeast(dnnl::cpu_isa::avx512_core)) return nullptr;
    return std::make_unique<OneDnnProductsImpl>(bf16 == BF16Products::kNarrowed &&
                                                IsaAtLeast(dnnl::cpu_isa::avx512_core_bf16));
  } catch (const std::exception& error) {
    ABSL_RAW_LOG(WARNING, "oneDNN is not used: %s", error.what());
    return nullptr;
  }
}

}  // namespace reprise::engine
