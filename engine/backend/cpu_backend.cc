#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu_activation.h"
#include "engine/backend/cpu_attention.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cpu_parallel.h"
#include "engine/backend/cpu_weight.h"
#include "engine/backend/kv_rows.h"
#include "engine/backend/onednn_weight.h"
#include "engine/backend/portable_weight.h"
#include "engine/backend/rope_table.h"

namespace reprise::engine {
namespace {

// Row `row` of `table` as f32.
void WidenRow(TensorView table, int64_t row, float* out) {
  const auto* bytes = static_cast<const std::byte*>(table.data);
  Widen(bytes + row * table.cols * ElementBytes(table.type), table.type, table.cols, out);
}

// To be raised whenever a change of this folder gives KV other bits.
constexpr int kKernelVersion = 1;

class CpuBackend final : public Backend {
 public:
  CpuBackend(int num_threads, BF16Products bf16)
      : num_threads_(num_threads > 0 ? num_threads : omp_get_num_procs()),
        onednn_(OneDnnProducts::Create(bf16)) {}

  std::string arithmetic() const override {
    return absl::StrCat("kernels ", kKernelVersion, ", ", VectorArithmetic(), ", ",
                        OneDnnArithmetic());
  }

  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight,
                                                     WeightOrder order) override {
    UseThreads();
    if (onednn_ != nullptr) {
      ASSIGN_OR_RETURN(std::unique_ptr<CpuWeight> packed, onednn_->Pack(weight, order));
      if (packed != nullptr) return packed;
    }
    return PackPortableWeight(weight, order);
  }

  absl::StatusOr<cachestore::DeviceBytes> Reserve(size_t bytes) override {
    CHECK(bytes > 0);
    const size_t whole = (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
    auto* const data = static_cast<std::byte*>(std::aligned_alloc(kMemoryAlignment, whole));
    if (data == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat("no memory for ", bytes, " bytes"));
    }
    return cachestore::DeviceBytes({data, bytes}, [data] { std::free(data); });
  }

  absl::StatusOr<KeptTensor> Keep(TensorView tensor) override {
    const size_t bytes = tensor.rows * tensor.cols * ElementBytes(tensor.type);
    ASSIGN_OR_RETURN(cachestore::DeviceBytes memory, Reserve(bytes));
    std::memcpy(memory.bytes().data(), tensor.data, bytes);
    tensor.data = memory.bytes().data();
    return KeptTensor{std::move(memory), tensor};
  }

  absl::Status BeginStep(const StepInput& step) override {
    step_ = step;
    ListPositions(step.sequences, &positions_);
    ListKeptRows(step.sequences, step.kept_rows, &kept_);
    return absl::OkStatus();
  }
  absl::Status EndStep() override { return absl::OkStatus(); }
  absl::Status Health() override { return absl::OkStatus(); }
  absl::StatusOr<absl::Span<float>> HostRows(Activations x) override {
    return absl::MakeSpan(x.data, x.rows * x.cols);
  }

  absl::Status Draw(Activations, absl::Span<const DrawRow>, absl::Span<int32_t> tokens) override {
    std::fill(tokens.begin(), tokens.end(), -1);
    return absl::OkStatus();
  }

  void Embed(TensorView table, float scale, Activations out) override {
    UseThreads();
    const absl::Span<const uint32_t> ids = step_.ids;
    CHECK(out.rows == step_.num_rows() && out.cols == table.cols);
    ParallelRanges(out.rows, table.cols, kParallelElements, [&](int, int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        CHECK(ids[r] < table.rows);
        WidenRow(table, ids[r], out.row(r));
      }
    });
    if (scale != 1) ScaleInPlace(out.data, scale, out.rows * out.cols);
  }

  void AddPositions(TensorView table, Activations x) override {
    UseThreads();
    CHECK(x.rows == std::ssize(positions_) && x.cols == table.cols);
    widened_.resize(table.cols);
    for (int64_t r = 0; r < x.rows; ++r) {
      CHECK(positions_[r] >= 0 && positions_[r] < table.rows);
      WidenRow(table, positions_[r], widened_.data());
      AddInPlace(x.row(r), widened_.data(), x.cols);
    }
  }

  void RmsNorm(Activations x, TensorView weight, float epsilon, Activations out) override {
    UseThreads();
    CHECK(weight.cols == x.cols && out.rows == x.rows && out.cols == x.cols);
    widened_.resize(x.cols);
    WidenRow(weight, 0, widened_.data());
    RmsNormRows(x, widened_.data(), epsilon, out);
  }

  void LayerNorm(Activations x, TensorView weight, TensorView bias, float epsilon,
                 Activations out) override {
    UseThreads();
    CHECK(weight.cols == x.cols && bias.cols == x.cols);
    CHECK(out.rows == x.rows && out.cols == x.cols);
    widened_.resize(2 * x.cols);
    WidenRow(weight, 0, widened_.data());
    WidenRow(bias, 0, widened_.data() + x.cols);
    LayerNormRows(x, widened_.data(), widened_.data() + x.cols, epsilon, out);
  }

  void MatMul(Activations x, const PackedWeight& weight, TensorView bias,
              Activations out) override {
    UseThreads();
    CHECK(x.cols == weight.in_features() && out.cols == weight.out_features());
    CHECK(x.rows == out.rows);
    const float* added = nullptr;
    if (bias.data != nullptr) {
      CHECK(bias.cols == out.cols);
      widened_.resize(out.cols);
      WidenRow(bias, 0, widened_.data());
      added = widened_.data();
    }
    static_cast<const CpuWeight&>(weight).Multiply(x.data, x.rows, added, out.data);
  }

  void MatMulAdd(Activations x, const PackedWeight& weight, TensorView bias,
                 Activations out) override {
    const Activations product = Room(&product_, out.rows, out.cols);
    MatMul(x, weight, bias, product);
    Add(out, product);
  }

  void PrepareAttention(Activations qkv, const HeadScheme& scheme, int32_t layer,
                        Activations q) override {
    UseThreads();
    const int64_t head_dim = step_.layout.head_dim;
    const Activations k = Room(&keys_, qkv.rows, step_.layout.num_kv_heads * head_dim);
    const Activations v = Room(&values_, k.rows, k.cols);
    CHECK(qkv.rows == step_.num_rows() && q.rows == qkv.rows && qkv.cols == q.cols + 2 * k.cols);
    for (int64_t r = 0; r < qkv.rows; ++r) {
      const float* from = qkv.row(r);
      for (const Activations& part : {q, k, v}) {
        std::memcpy(part.row(r), from, part.cols * sizeof(float));
        from += part.cols;
      }
    }
    PrepareHeads(q, scheme.query_norm, scheme);
    PrepareHeads(k, scheme.key_norm, scheme);
    AppendKvRows(k, v, step_.sequences, step_.layout, layer);
  }

  void Attention(Activations q, StepRows rows, int32_t layer, const AttentionScheme& scheme,
                 Activations out) override {
    UseThreads();
    AttendRows(q, rows == StepRows::kAll ? step_.sequences : absl::MakeConstSpan(kept_),
               step_.layout, layer, scheme, &attention_scratch_, out);
  }

  void Activate(Activation activation, Activations x, Activations out) override {
    UseThreads();
    ActivateRows(activation, x, out);
  }

  void SoftCap(Activations x, float cap) override {
    UseThreads();
    SoftCapInPlace(x, cap);
  }

  void Add(Activations x, Activations y) override {
    UseThreads();
    CHECK(x.rows == y.rows && x.cols == y.cols);
    AddInPlace(x.data, y.data, x.rows * x.cols);
  }

  void GatherRows(Activations x, absl::Span<const int64_t> rows, Activations out) override {
    UseThreads();
    CHECK(out.rows == static_cast<int64_t>(rows.size()) && out.cols == x.cols);
    ParallelRanges(out.rows, out.cols, kParallelElements, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        CHECK(rows[i] >= 0 && rows[i] < x.rows);
        std::copy(x.row(rows[i]), x.row(rows[i]) + x.cols, out.row(i));
      }
    });
  }

  void AddScaledRows(Activations y, absl::Span<const int64_t> rows, absl::Span<const float> scales,
                     Activations x) override {
    UseThreads();
    AddScaledTo(y, rows, scales, x);
  }

 private:
  static constexpr int64_t kParallelElements = 32 * 1024;
  static constexpr size_t kMemoryAlignment = 64;  // one cache line

  // [rows, cols] in `memory`, which grows to the largest asked for.
  static Activations Room(std::vector<float>* memory, int64_t rows, int64_t cols) {
    if (std::ssize(*memory) < rows * cols) memory->resize(rows * cols);
    return {memory->data(), rows, cols};
  }

  void PrepareHeads(Activations x, TensorView norm, const HeadScheme& scheme) {
    const int64_t head_dim = step_.layout.head_dim;
    CHECK(x.cols % head_dim == 0);
    CHECK(scheme.rope == nullptr || scheme.rope->rotary_dim() <= head_dim);
    if (norm.data != nullptr) {
      const Activations heads = {x.data, x.rows * (x.cols / head_dim), head_dim};
      RmsNorm(heads, norm, scheme.norm_epsilon, heads);
    }
    if (scheme.rope != nullptr) RotateRows(x, head_dim, *scheme.rope, positions_);
  }

  // OpenMP keeps the number of threads per calling thread, and the engine's thread need not be the
  // one that made the backend.
  void UseThreads() const {
    if (omp_get_max_threads() != num_threads_) omp_set_num_threads(num_threads_);
  }

  const int num_threads_;
  const std::unique_ptr<OneDnnProducts> onednn_;  // may be null
  StepInput step_;
  std::vector<int32_t> positions_;  // of its rows
  std::vector<SequenceRows> kept_;  // its kept rows
  // Room that is kept only to not ask for it again.
  AttentionScratch attention_scratch_;
  std::vector<float> widened_;  // norm weights, a bias or a position as f32
  std::vector<float> keys_;     // [rows, key]: a layer's, before they are in their blocks
  std::vector<float> values_;   // likewise
  std::vector<float> product_;  // what is added
};

}  // namespace

std::unique_ptr<Backend> NewCpuBackend(int num_threads, BF16Products bf16) {
  return std::make_unique<CpuBackend>(num_threads, bf16);
}

}  // namespace reprise::engine
