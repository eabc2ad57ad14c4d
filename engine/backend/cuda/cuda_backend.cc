#include "engine/backend/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/attention_work.h"
#include "engine/backend/cuda/device_memory.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/launch_status.h"
#include "engine/backend/cuda/rope_mirror.h"
#include "engine/backend/cuda/step_launches.h"
#include "engine/backend/cuda/step_upload.h"
#include "engine/backend/cuda/upload_buffer.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::Lane;

static_assert(kNoToken == -1);
static_assert(static_cast<int>(WeightType::kF32) == static_cast<int>(ElementType::kF32) &&
              static_cast<int>(WeightType::kBF16) == static_cast<int>(ElementType::kBF16) &&
              static_cast<int>(WeightType::kF16) == static_cast<int>(ElementType::kF16));
static_assert(
    static_cast<int>(ActivationKind::kSiluMul) == static_cast<int>(Activation::kSiluMul) &&
    static_cast<int>(ActivationKind::kGeluTanhMul) == static_cast<int>(Activation::kGeluTanhMul) &&
    static_cast<int>(ActivationKind::kGeluTanh) == static_cast<int>(Activation::kGeluTanh) &&
    static_cast<int>(ActivationKind::kGeluErf) == static_cast<int>(Activation::kGeluErf) &&
    static_cast<int>(ActivationKind::kRelu) == static_cast<int>(Activation::kRelu));

// To be raised whenever a change of this folder gives KV other bits.
constexpr int kKernelVersion = 1;

// Rows of a step that goes to the card as a graph, at most: with more, the card is busy for longer
// than the host needs to launch.
constexpr int64_t kMostGraphRows = 64;

// The numbers of a kept row of f32; null: none.
const float* FloatsOf(TensorView view, int64_t cols) {
  if (view.data == nullptr) return nullptr;
  CHECK(view.type == ElementType::kF32 && view.rows == 1 && view.cols == cols);
  return static_cast<const float*>(view.data);
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::unique_ptr<MemoryCopy> memory, std::unique_ptr<CudaProducts> products,
              std::unique_ptr<GraphRecorder> recorder, PrefillKernel prefill)
      : device_(memory->device()),
        prefill_(prefill),
        copy_(std::move(memory)),
        products_(std::move(products)),
        launches_(device_, products_.get(), std::move(recorder)),
        step_(device_),
        operands_(device_) {}

  std::string arithmetic() const override {
    return absl::StrCat("CUDA kernels ", kKernelVersion,
                        prefill_ == PrefillKernel::kSm90 ? ", prefill of sm_90a" : "");
  }

  absl::StatusOr<DeviceBytes> Reserve(size_t bytes) override {
    CHECK(bytes > 0);
    return ReserveForCompute(device_, bytes);
  }

  absl::StatusOr<KeptTensor> Keep(TensorView tensor) override {
    const size_t bytes = tensor.rows * tensor.cols * ElementBytes(tensor.type);
    ASSIGN_OR_RETURN(DeviceBytes memory, copy_->Keep(tensor.data, bytes));
    tensor.data = memory.bytes().data();
    return KeptTensor{std::move(memory), tensor};
  }

  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight,
                                                     WeightOrder order) override {
    launches_.ForgetGraphs();
    return products_->Pack(weight, order);
  }

  absl::Status BeginStep(const StepInput& step) override {
    first_error_ = absl::OkStatus();
    narrowed_of_ = nullptr;
    for (auto& [key, work] : attention_) work.Forget();
    launches_.Begin(std::nullopt);
    RETURN_IF_ERROR(step_.Begin(step));
    launches_.Begin(GraphShapeOf(step_, step));
    return absl::OkStatus();
  }

  absl::Status EndStep() override {
    if (first_error_.ok()) first_error_ = launches_.End();
    return first_error_;
  }

  // A lane that has failed is never of use again.
  absl::Status Health() override { return device_->Wait(device_->Mark(Lane::kCompute)); }

  absl::StatusOr<absl::Span<float>> HostRows(Activations x) override {
    GiveAll();
    RETURN_IF_ERROR(first_error_);
    const int64_t count = x.rows * x.cols;
    ASSIGN_OR_RETURN(const absl::Span<std::byte> bytes, copy_->Show(x.data, count * sizeof(float)));
    return absl::MakeSpan(reinterpret_cast<float*>(bytes.data()), count);
  }

  absl::Status Draw(Activations logits, absl::Span<const DrawRow> rows,
                    absl::Span<int32_t> tokens) override {
    GiveAll();
    RETURN_IF_ERROR(first_error_);
    CHECK(rows.size() == tokens.size());
    if (rows.empty()) return absl::OkStatus();
    if (logits.cols > kMostVocab) {
      std::fill(tokens.begin(), tokens.end(), -1);
      return absl::OkStatus();
    }
    std::vector<SampleRow> asked;
    for (const DrawRow& row : rows) {
      asked.push_back({static_cast<int32_t>(row.row), row.temperature, row.top_k, row.top_p,
                       row.min_p, row.uniform});
    }
    RETURN_IF_ERROR(operands_.Begin(UploadBuffer::RoomFor<SampleRow>(asked.size())));
    SampleParams params;
    params.logits = logits.data;
    params.rows = operands_.Put(absl::MakeConstSpan(asked));
    RETURN_IF_ERROR(operands_.Send());
    RETURN_IF_ERROR(Grow(device_, tokens.size() * sizeof(int32_t), &drawn_));
    params.tokens = reinterpret_cast<int32_t*>(drawn_.bytes().data());
    params.vocab = static_cast<int32_t>(logits.cols);
    RETURN_IF_ERROR(LaunchStatus(LaunchSample(params, static_cast<int>(rows.size()), stream()),
                                 "drawing tokens"));
    ASSIGN_OR_RETURN(const absl::Span<std::byte> shown,
                     copy_->Show(params.tokens, tokens.size() * sizeof(int32_t)));
    std::memcpy(tokens.data(), shown.data(), shown.size());
    return absl::OkStatus();
  }

  void Embed(TensorView table, float scale, Activations out) override {
    EmbedParams params = Lookup(table, step_.ids(), out);
    params.scale = scale;
    Give(KernelOp<EmbedParams>{params, RowsOf(out)});
  }

  void AddPositions(TensorView table, Activations x) override {
    EmbedParams params = Lookup(table, step_.positions(), x);
    params.add = true;
    Give(KernelOp<EmbedParams>{params, RowsOf(x)});
  }

  void RmsNorm(Activations x, TensorView weight, float epsilon, Activations out) override {
    Normalize(x, weight, {}, epsilon, out);
  }

  void LayerNorm(Activations x, TensorView weight, TensorView bias, float epsilon,
                 Activations out) override {
    CHECK(bias.data != nullptr);
    Normalize(x, weight, bias, epsilon, out);
  }

  void MatMul(Activations x, const PackedWeight& weight, TensorView bias,
              Activations out) override {
    Multiply(x, weight, bias, out, /*adds=*/false);
  }

  void MatMulAdd(Activations x, const PackedWeight& weight, TensorView bias,
                 Activations out) override {
    Multiply(x, weight, bias, out, /*adds=*/true);
  }

  void PrepareAttention(Activations qkv, const HeadScheme& scheme, int32_t layer,
                        Activations q) override {
    RopeAppendParams params;
    params.qkv = qkv.data;
    params.q = q.data;
    params.kv = step_.kv(layer);
    params.rows = step_.rows(StepRows::kAll).on_device;
    const int64_t head_dim = params.kv.head_dim;
    params.heads = static_cast<int32_t>(q.cols / head_dim);
    CHECK(qkv.cols == q.cols + 2 * params.kv.kv_heads * head_dim);
    params.q_norm = FloatsOf(scheme.query_norm, head_dim);
    params.k_norm = FloatsOf(scheme.key_norm, head_dim);
    params.epsilon = scheme.norm_epsilon;
    if (scheme.rope != nullptr) {
      CHECK(scheme.rope->rotary_dim() <= head_dim);
      params.rotary_dim = static_cast<int32_t>(scheme.rope->rotary_dim());
      const absl::StatusOr<const float* const*> pages = MirrorOf(*scheme.rope).Pages(*scheme.rope);
      first_error_.Update(pages.status());
      if (!first_error_.ok()) return;
      params.rope_pages = *pages;
    }
    Wrote(q);
    Give(KernelOp<RopeAppendParams>{params, RowsOf(qkv)});
  }

  void Attention(Activations q, StepRows rows, int32_t layer, const AttentionScheme& scheme,
                 Activations out) override {
    if (!first_error_.ok() || q.rows == 0) return;
    // Then they are the same rows, and have a plan.
    if (q.rows == std::ssize(step_.rows(StepRows::kAll).rows)) rows = StepRows::kAll;
    AttentionWork& work =
        attention_.try_emplace({rows, scheme.window}, device_, prefill_).first->second;
    Wrote(out);
    first_error_.Update(work.Attend(step_, rows, layer, scheme, q, out, launches_));
  }

  void Activate(Activation activation, Activations x, Activations out) override {
    ActivationParams params;
    params.kind = static_cast<ActivationKind>(activation);
    params.x = x.data;
    params.out = out.data;
    params.narrowed = RoomForNarrowed(out);
    params.cols = static_cast<int32_t>(out.cols);
    Give(KernelOp<ActivationParams>{params, RowsOf(out)});
  }

  void SoftCap(Activations x, float cap) override {
    Wrote(x);
    Give(KernelOp<SoftCapParams>{{x.data, cap, static_cast<int32_t>(x.cols)}, RowsOf(x)});
  }

  void Add(Activations x, Activations y) override {
    CHECK(x.rows == y.rows && x.cols == y.cols);
    Wrote(x);
    AddRowsParams params;
    params.y = y.data;
    params.x = x.data;
    params.cols = static_cast<int32_t>(x.cols);
    Give(KernelOp<AddRowsParams>{params, RowsOf(y)});
  }

  void GatherRows(Activations x, absl::Span<const int64_t> rows, Activations out) override {
    CHECK(out.rows == std::ssize(rows) && out.cols == x.cols);
    const int32_t* const picked = Pick(rows, {}).rows;
    if (!first_error_.ok()) return;
    Wrote(out);
    Give(KernelOp<GatherRowsParams>{{x.data, picked, out.data, static_cast<int32_t>(x.cols)},
                                    RowsOf(out)});
  }

  void AddScaledRows(Activations y, absl::Span<const int64_t> rows, absl::Span<const float> scales,
                     Activations x) override {
    CHECK(y.rows == std::ssize(rows) && scales.size() == rows.size() && x.cols == y.cols);
    const Picked picked = Pick(rows, scales);
    if (!first_error_.ok()) return;
    Wrote(x);
    Give(KernelOp<AddRowsParams>{
        {y.data, picked.rows, picked.scales, x.data, static_cast<int32_t>(x.cols)}, RowsOf(y)});
  }

 private:
  struct Picked {
    const int32_t* rows = nullptr;
    const float* scales = nullptr;
  };

  static int RowsOf(Activations x) { return static_cast<int>(x.rows); }
  cudaStream_t stream() { return static_cast<cudaStream_t>(device_->Stream(Lane::kCompute)); }
  // Both keep the first error of the step, after which nothing is given.
  void Give(const StepOp& op) {
    if (first_error_.ok()) first_error_ = launches_.Give(op);
  }
  void GiveAll() {
    const absl::Status given = launches_.GiveAll();
    first_error_.Update(given);
  }

  // What makes `step` a decode step whose operations may be the same again; none of others. KV that
  // arrives layer by layer is for operations that are given one by one.
  static std::optional<StepShape> GraphShapeOf(const StepUpload& step, const StepInput& input) {
    const int64_t rows = input.num_rows();
    const bool decodes = rows <= kMostGraphRows && std::ssize(input.sequences) == rows &&
                         std::ssize(input.kept_rows) == rows && !input.arrives;
    if (!decodes) return std::nullopt;
    return StepShape{rows, step.table_stride()};
  }

  RopeMirror& MirrorOf(const RopeTable& table) {
    for (RopeMirror& mirror : ropes_) {
      if (mirror.IsOf(table)) return mirror;
    }
    return ropes_.emplace_back(table, copy_.get());
  }

  EmbedParams Lookup(TensorView table, const int32_t* ids, Activations out) {
    CHECK(table.cols == out.cols && out.rows == std::ssize(step_.rows(StepRows::kAll).rows));
    Wrote(out);
    EmbedParams params;
    params.table = table.data;
    params.type = static_cast<WeightType>(table.type);
    params.ids = ids;
    params.out = out.data;
    params.cols = static_cast<int32_t>(out.cols);
    return params;
  }

  void Normalize(Activations x, TensorView weight, TensorView bias, float epsilon,
                 Activations out) {
    CHECK(out.rows == x.rows && out.cols == x.cols);
    NormParams params;
    params.x = x.data;
    params.weight = FloatsOf(weight, x.cols);
    params.bias = FloatsOf(bias, x.cols);
    params.epsilon = epsilon;
    params.out = out.data;
    params.narrowed = RoomForNarrowed(out);
    params.cols = static_cast<int32_t>(x.cols);
    Give(KernelOp<NormParams>{params, RowsOf(x)});
  }

  void Multiply(Activations x, const PackedWeight& weight, TensorView bias, Activations out,
                bool adds) {
    CHECK(x.cols == weight.in_features() && out.cols == weight.out_features());
    CHECK(x.rows == out.rows);
    if (!first_error_.ok() || x.rows == 0) return;
    Product product;
    product.weight = &weight;
    product.x = x.data;
    product.rows = x.rows;
    product.bias = FloatsOf(bias, out.cols);
    product.out = out.data;
    product.adds = adds;
    if (products_->TakesNarrowed(weight)) product.narrowed = Narrowed(x);
    Wrote(out);
    Give(product);
  }

  // The rounded copy of what was there before is of no use any more.
  void Wrote(Activations out) {
    if (narrowed_of_ == out.data) narrowed_of_ = nullptr;
  }
  // Where the operation that is about to write `out` leaves it rounded to bf16 as well, for the
  // product that comes next; null: there is no memory for it, which is the product's error.
  uint16_t* RoomForNarrowed(Activations out) {
    narrowed_of_ = nullptr;
    const size_t bytes = out.rows * out.cols * sizeof(uint16_t);
    if (bytes > narrowed_.bytes().size()) GiveAll();  // it moves
    if (out.rows == 0 || !Grow(device_, bytes, &narrowed_).ok()) return nullptr;
    narrowed_of_ = out.data;
    return reinterpret_cast<uint16_t*>(narrowed_.bytes().data());
  }
  // x rounded to bf16, as it was left behind or by an operation of its own.
  const uint16_t* Narrowed(Activations x) {
    if (x.data == narrowed_of_) return reinterpret_cast<uint16_t*>(narrowed_.bytes().data());
    uint16_t* const narrowed = RoomForNarrowed(x);
    if (narrowed == nullptr) {
      first_error_.Update(absl::ResourceExhaustedError(
          absl::StrCat("no memory of the device for ", x.rows * x.cols, " rounded activations")));
      return nullptr;
    }
    Give(NarrowParams{x.data, narrowed, x.rows * x.cols});
    return narrowed;
  }

  // Rows, and numbers that belong to them, for the operation that comes next.
  Picked Pick(absl::Span<const int64_t> rows, absl::Span<const float> scales) {
    GiveAll();  // the next such operation puts others at the same place
    if (!first_error_.ok() || rows.empty()) return {};
    const std::vector<int32_t> narrow(rows.begin(), rows.end());
    first_error_.Update(operands_.Begin(UploadBuffer::RoomFor<int32_t>(rows.size()) +
                                        UploadBuffer::RoomFor<float>(scales.size())));
    if (!first_error_.ok()) return {};
    const Picked picked = {operands_.Put(absl::MakeConstSpan(narrow)), operands_.Put(scales)};
    first_error_.Update(operands_.Send());
    return picked;
  }

  Device* const device_;
  const PrefillKernel prefill_;
  const std::unique_ptr<MemoryCopy> copy_;
  const std::unique_ptr<CudaProducts> products_;  // may use it
  StepLaunches launches_;
  StepUpload step_;
  UploadBuffer operands_;  // of single operations
  DeviceBytes drawn_;      // tokens
  // By rows and window. Few: a model has one window or two.
  std::map<std::pair<StepRows, int64_t>, AttentionWork> attention_;
  std::deque<RopeMirror> ropes_;  // few, for the same reason
  // A bf16 copy of the activations at narrowed_of_ (null: of none), as the last operation that
  // wrote them left it.
  DeviceBytes narrowed_;
  const float* narrowed_of_ = nullptr;
  absl::Status first_error_;  // of the step
};

}  // namespace

std::unique_ptr<Backend> NewCudaBackend(std::unique_ptr<MemoryCopy> memory,
                                        std::unique_ptr<CudaProducts> products,
                                        std::unique_ptr<GraphRecorder> recorder,
                                        PrefillKernel prefill) {
  return std::make_unique<CudaBackend>(std::move(memory), std::move(products), std::move(recorder),
                                       prefill);
}

}  // namespace reprise::engine::cuda
