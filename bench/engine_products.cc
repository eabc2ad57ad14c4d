#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/engine_rows.h"
#include "bench/plain_products.h"
#include "bench/rounds.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using engine::Activations;
using engine::ElementBytes;
using engine::ElementType;
using engine::PackedWeight;
using engine::TensorView;

// The products of a decoder's layers as the model computes them. Owns its weights.
class OurProducts {
 public:
  // As PlainProducts, by `backend`, which must outlive this.
  static absl::StatusOr<std::unique_ptr<OurProducts>> Pack(engine::Backend* backend,
                                                           const std::vector<ProductShape>& shapes,
                                                           int layers, ElementType type) {
    std::unique_ptr<OurProducts> products(new OurProducts(backend));
    for (int layer = 0; layer < layers; ++layer) {
      for (const ProductShape& shape : shapes) {
        const std::vector<std::byte> bytes(shape.in * shape.out * ElementBytes(type),
                                           std::byte{0x3C});
        const TensorView weight{bytes.data(), type, shape.out, shape.in};
        ASSIGN_OR_RETURN(products->weights_.emplace_back(),
                         backend->Pack(weight, engine::WeightOrder::kOutIn));
      }
    }
    return products;
  }

  // Multiplies `rows` rows by all layers once.
  void Run(int64_t rows) {
    for (const std::unique_ptr<PackedWeight>& weight : weights_) {
      const auto room = [rows](std::vector<float>& buffer, int64_t cols) {
        if (buffer.size() < static_cast<size_t>(rows * cols)) buffer.resize(rows * cols, 0.01f);
        return Activations{buffer.data(), rows, cols};
      };
      backend_->MatMul(room(x_, weight->in_features()), *weight, TensorView(),
                       room(out_, weight->out_features()));
    }
  }

 private:
  explicit OurProducts(engine::Backend* backend) : backend_(backend) {}

  engine::Backend* const backend_;
  std::vector<std::unique_ptr<PackedWeight>> weights_;
  std::vector<float> x_;
  std::vector<float> out_;
};

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureProducts(EngineContest& contest, Extent extent) {
  const int layers = ByExtent(extent, 2, 8);
  const ElementType type = contest.bench_model.options.dtype;
  const std::vector<ProductShape> shapes = LayerProducts(contest.model->config());
  double flops_per_row = 0;
  for (const ProductShape& shape : shapes) {
    flops_per_row += 2.0 * static_cast<double>(shape.in * shape.out) * layers;
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<OurProducts> ours,
                   OurProducts::Pack(contest.backend.get(), shapes, layers, type));
  std::vector<Result> rows;
  for (const int64_t height : {512, 8, 1}) {
    PlainProducts plain(shapes, layers, type, height, contest.num_threads);
    const Arm arms[] = {{"ours", [&] { return SecondsOf([&] { ours->Run(height); }); }},
                        {"oneDNN", [&] { return SecondsOf([&] { plain.Run(); }); }}};
    ASSIGN_OR_RETURN(const std::vector<double> seconds,
                     MedianOfRounds(absl::StrCat("products ", contest.bench_model.name),
                                    ByExtent(extent, 1, 15), arms));
    const auto gigaflops = [&](double s) {
      return flops_per_row * static_cast<double>(height) / s / 1e9;
    };
    const bool prefill = height == 512;
    Result row = EngineRow(
        contest, prefill ? "prefill.gemm_fraction" : absl::StrCat("decode.gemm_batch_", height),
        "Gflop/s");
    row.ours = gigaflops(seconds[0]);
    row.limit = gigaflops(seconds[1]);
    row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, prefill ? 0.85 : 0.90};
    row.context["rows"] = absl::StrCat(height);
    row.context["limit"] = "oneDNN alone, for the same shapes";
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace reprise::bench
