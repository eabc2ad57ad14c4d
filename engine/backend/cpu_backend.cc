#include <omp.h>

#include <algorithm>
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

  void Embed(TensorView table, absl::Span<const uint32_t> ids, Activations out) override {
    UseThreads();
    const auto rows = static_cast<int64_t>(ids.size());
    CHECK(out.rows == rows && out.cols == table.cols);
    ParallelRanges(rows, table.cols, kParallelElements, [&](int, int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        CHECK(ids[r] < table.rows);
        WidenRow(table, ids[r], out.row(r));
      }
    });
  }

  void AddPositions(TensorView table, absl::Span<const int32_t> positions, Activations x) override {
    UseThreads();
    CHECK(x.rows == static_cast<int64_t>(positions.size()) && x.cols == table.cols);
    widened_.resize(table.cols);
    for (int64_t r = 0; r < x.rows; ++r) {
      CHECK(positions[r] >= 0 && positions[r] < table.rows);
      WidenRow(table, positions[r], widened_.data());
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

  void Rope(Activations q, Activations k, int64_t head_dim, const RopeTable& table,
            absl::Span<const int32_t> positions) override {
    UseThreads();
    CHECK(table.rotary_dim() <= head_dim && q.cols % head_dim == 0 && k.cols % head_dim == 0);
    CHECK(q.rows == static_cast<int64_t>(positions.size()) && k.rows == q.rows);
    RotateRows(q, head_dim, table, positions);
    RotateRows(k, head_dim, table, positions);
  }

  void AppendKv(Activations k, Activations v, absl::Span<const SequenceRows> sequences,
                const cachestore::KvLayout& layout, int32_t layer) override {
    UseThreads();
    AppendKvRows(k, v, sequences, layout, layer);
  }

  void Attention(Activations q, absl::Span<const SequenceRows> sequences,
                 const cachestore::KvLayout& layout, int32_t layer, const AttentionScheme& scheme,
                 Activations out) override {
    UseThreads();
    AttendRows(q, sequences, layout, layer, scheme, &attention_scratch_, out);
  }

  void Activate(Activation activation, Activations x, Activations out) override {
    UseThreads();
    ActivateRows(activation, x, out);
  }

  void Scale(Activations x, float factor) override {
    UseThreads();
    ScaleInPlace(x.data, factor, x.rows * x.cols);
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

  // OpenMP keeps the number of threads per calling thread, and the engine's thread need not be the
  // one that made the backend.
  void UseThreads() const {
    if (omp_get_max_threads() != num_threads_) omp_set_num_threads(num_threads_);
  }

  const int num_threads_;
  const std::unique_ptr<OneDnnProducts> onednn_;  // may be null
  AttentionScratch attention_scratch_;
  std::vector<float> widened_;  // norm weights, a bias or a position as f32
};

}  // namespace

std::unique_ptr<Backend> NewCpuBackend(int num_threads, BF16Products bf16) {
  return std::make_unique<CpuBackend>(num_threads, bf16);
}

}  // namespace reprise::engine
