// HostProducts: CudaProducts for a LazyDevice, by plain loops on the host when the device gets to
// them. With bf16 weights it takes the rounded x, as a card does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cuda/cuda_products.h"
#include "tests/fakes/emulated_stream.h"

namespace reprise::engine::cuda {

class HostProducts : public CudaProducts {
 public:
  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(TensorView weight,
                                                     WeightOrder order) override {
    std::vector<float> stored(weight.rows * weight.cols);
    Widen(weight.data, weight.type, std::ssize(stored), stored.data());
    auto packed = std::make_unique<HostWeight>();
    packed->narrows = weight.type == ElementType::kBF16;
    packed->in = order == WeightOrder::kOutIn ? weight.cols : weight.rows;
    packed->out = order == WeightOrder::kOutIn ? weight.rows : weight.cols;
    packed->numbers.resize(stored.size());
    for (int64_t o = 0; o < packed->out; ++o) {
      for (int64_t i = 0; i < packed->in; ++i) {
        packed->numbers[o * packed->in + i] =
            order == WeightOrder::kOutIn ? stored[o * packed->in + i] : stored[i * packed->out + o];
      }
    }
    return packed;
  }

  bool TakesNarrowed(const PackedWeight& weight) const override {
    return static_cast<const HostWeight&>(weight).narrows;
  }

  absl::Status Multiply(const Product& product, cudaStream_t stream) override {
    EnqueueOn(stream, [product] { Compute(product); });
    return absl::OkStatus();
  }

 private:
  struct HostWeight : PackedWeight {
    int64_t in_features() const override { return in; }
    int64_t out_features() const override { return out; }
    absl::string_view arithmetic() const override { return "f32 loops"; }

    bool narrows = false;
    int64_t in = 0;
    int64_t out = 0;
    std::vector<float> numbers;  // [out, in]
  };

  static void Compute(const Product& product) {
    const auto& weight = static_cast<const HostWeight&>(*product.weight);
    std::vector<float> x(weight.in);
    for (int64_t r = 0; r < product.rows; ++r) {
      if (weight.narrows) {
        Widen(product.narrowed + r * weight.in, ElementType::kBF16, weight.in, x.data());
      } else {
        std::copy_n(product.x + r * weight.in, weight.in, x.data());
      }
      for (int64_t o = 0; o < weight.out; ++o) {
        float sum = 0;
        for (int64_t i = 0; i < weight.in; ++i) sum += x[i] * weight.numbers[o * weight.in + i];
        if (product.bias != nullptr) sum += product.bias[o];
        float& to = product.out[r * weight.out + o];
        to = product.adds ? to + sum : sum;
      }
    }
  }
};

}  // namespace reprise::engine::cuda
