#include "engine/backend/cuda/cublaslt/cublaslt_products.h"

#include <algorithm>
#include <bit>

#include "absl/strings/string_view.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cuda/device_memory.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DeviceBytes;

// Products of one timing: enough to be longer than what lies between two events.
constexpr size_t kTimedProducts = 8;

}  // namespace

// A weight as it was stored, in the device's memory. Known to its products while it lives.
class CublasLtProducts::Weight : public PackedWeight {
 public:
  Weight(const ProductShape& shape, DeviceBytes bytes, std::vector<const Weight*>* all)
      : shape_(shape), bytes_(std::move(bytes)), all_(all) {
    all_->push_back(this);
  }
  ~Weight() override { all_->erase(std::find(all_->begin(), all_->end(), this)); }

  int64_t in_features() const override { return shape_.in; }
  int64_t out_features() const override { return shape_.out; }
  absl::string_view arithmetic() const override {
    return is_narrow() ? "bf16-activations cuBLASLt fast" : "f32 cuBLASLt fast";
  }

  bool is_narrow() const { return shape_.type == CUDA_R_16BF; }
  const ProductShape& shape() const { return shape_; }
  const void* data() const { return bytes_.bytes().data(); }

 private:
  const ProductShape shape_;
  const DeviceBytes bytes_;
  std::vector<const Weight*>* const all_;
};

absl::StatusOr<std::unique_ptr<CudaProducts>> CublasLtProducts::Create(
    MemoryCopy* memory, const CublasLtLibrary& library, std::unique_ptr<WorkTimer> timer) {
  std::unique_ptr<CublasLtProducts> products(
      new CublasLtProducts(memory, library, std::move(timer)));
  RETURN_IF_ERROR(library.StatusOf(library.create(&products->handle_), "cublasLtCreate"));
  ASSIGN_OR_RETURN(products->workspace_,
                   ReserveForCompute(memory->device(), kProductWorkspaceBytes));
  return products;
}

CublasLtProducts::~CublasLtProducts() {
  plans_.clear();
  if (handle_ != nullptr) lt_.destroy(handle_);
}

absl::StatusOr<std::unique_ptr<PackedWeight>> CublasLtProducts::Pack(TensorView weight,
                                                                     WeightOrder order) {
  CHECK(weight.data != nullptr && weight.rows > 0 && weight.cols > 0);
  const bool is_out_in = order == WeightOrder::kOutIn;
  ProductShape shape;
  shape.in = is_out_in ? weight.cols : weight.rows;
  shape.out = is_out_in ? weight.rows : weight.cols;
  shape.type = weight.type == ElementType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
  shape.order = order;
  const int64_t count = weight.rows * weight.cols;
  std::vector<float> wide;
  if (weight.type == ElementType::kF16) {
    wide.resize(count);
    Widen(weight.data, weight.type, count, wide.data());
  }
  const int64_t bytes = count * (shape.type == CUDA_R_16BF ? 2 : 4);
  ASSIGN_OR_RETURN(DeviceBytes kept, memory_->Keep(wide.empty() ? weight.data : wide.data(),
                                                   static_cast<size_t>(bytes)));
  return std::make_unique<Weight>(shape, std::move(kept), &weights_);
}

absl::StatusOr<CublasLtPlan*> CublasLtProducts::PlanFor(const ProductShape& shape, int64_t rows,
                                                        const ProductOperands& operands,
                                                        cudaStream_t stream) {
  const auto most = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  std::unique_ptr<CublasLtPlan>& plan = plans_[{shape, most}];
  if (plan != nullptr) return plan.get();
  ASSIGN_OR_RETURN(std::unique_ptr<CublasLtPlan> made,
                   CublasLtPlan::Create(&lt_, handle_, shape, most));
  if (most == 1 && timer_ != nullptr) {
    RETURN_IF_ERROR(TimeAlgorithms(*made, shape, operands, stream));
  }
  plan = std::move(made);
  return plan.get();
}

absl::Status CublasLtProducts::TimeAlgorithms(CublasLtPlan& plan, const ProductShape& shape,
                                              ProductOperands operands, cudaStream_t stream) {
  DeviceBytes out;
  // Without memory for it the algorithm is the expected one.
  if (!Grow(memory_->device(), shape.out * sizeof(float), &out).ok()) return absl::OkStatus();
  operands.out = reinterpret_cast<float*>(out.bytes().data());
  operands.adds = false;
  std::vector<const void*> weights;
  for (const Weight* const weight : weights_) {
    ProductShape of_weight = weight->shape();
    of_weight.has_bias = shape.has_bias;
    if (of_weight == shape) weights.push_back(weight->data());
  }
  size_t next = 0;
  return plan.ChooseFastest([&] {
    return timer_->Seconds(stream, [&]() -> absl::Status {
      for (size_t i = 0; i < kTimedProducts; ++i) {
        operands.weight = weights[next++ % weights.size()];
        RETURN_IF_ERROR(plan.Multiply(1, operands, stream));
      }
      return absl::OkStatus();
    });
  });
}

bool CublasLtProducts::TakesNarrowed(const PackedWeight& weight) const {
  return static_cast<const Weight&>(weight).is_narrow();
}

absl::Status CublasLtProducts::Multiply(const Product& product, cudaStream_t stream) {
  CHECK(product.weight != nullptr && product.rows > 0);
  CHECK(product.out != nullptr);
  const auto& weight = *static_cast<const Weight*>(product.weight);
  ProductShape shape = weight.shape();
  shape.has_bias = product.bias != nullptr;
  ProductOperands operands;
  operands.weight = weight.data();
  operands.x = product.x;
  if (weight.is_narrow()) operands.x = product.narrowed;
  CHECK(operands.x != nullptr);
  operands.bias = product.bias;
  operands.out = product.out;
  operands.adds = product.adds;
  operands.workspace = workspace_.bytes().data();
  ASSIGN_OR_RETURN(CublasLtPlan * plan, PlanFor(shape, product.rows, operands, stream));
  return plan->Multiply(product.rows, operands, stream);
}

}  // namespace reprise::engine::cuda
