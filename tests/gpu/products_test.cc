// Products by cuBLASLt on a card, against the host's in double precision: fresh random numbers,
// poisoned outputs. Skipped where there is no card.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/memory/device.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cuda/cublaslt/cublaslt_library.h"
#include "engine/backend/cuda/cublaslt/cublaslt_products.h"
#include "engine/backend/cuda/memory_copy.h"
#include "tests/fakes/test_seed.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::Device;
using cachestore::DeviceBytes;

struct ProductCase {
  int64_t in;
  int64_t out;
  ElementType type;
  WeightOrder order;

  std::string Name() const {
    return absl::StrCat(in, " to ", out, type == ElementType::kBF16 ? " bf16" : " f32",
                        order == WeightOrder::kOutIn ? "" : " transposed");
  }
};

class ProductsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = cachestore::OpenDevice();
    if (device.status().code() == absl::StatusCode::kNotFound) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    memory_ = *MemoryCopy::Create(device_.get());
    const auto library = LoadCublasLt();
    ASSERT_TRUE(library.ok()) << library.status();
    auto products = CublasLtProducts::Create(memory_.get(), *library);
    ASSERT_TRUE(products.ok()) << products.status();
    products_ = *std::move(products);
  }

  std::vector<float> Random(int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> numbers(count);
    for (float& x : numbers) x = normal(random_);
    return numbers;
  }
  template <typename T>
  T* Keep(const std::vector<T>& numbers) {
    kept_.push_back(*memory_->Keep(numbers.data(), numbers.size() * sizeof(T)));
    return reinterpret_cast<T*>(kept_.back().bytes().data());
  }
  cudaStream_t stream() {
    return static_cast<cudaStream_t>(device_->Stream(cachestore::Lane::kCompute));
  }
  std::vector<float> Show(const float* from, size_t count) {
    const auto shown = memory_->Show(from, count * sizeof(float));
    EXPECT_TRUE(shown.ok()) << shown.status();
    std::vector<float> numbers(count, std::numeric_limits<float>::quiet_NaN());
    if (shown.ok()) std::memcpy(numbers.data(), shown->data(), count * sizeof(float));
    return numbers;
  }

  void ExpectAgrees(const ProductCase& c, int64_t rows);

  std::mt19937 random_{TestSeed()};
  std::unique_ptr<Device> device_;
  std::unique_ptr<MemoryCopy> memory_;
  std::unique_ptr<CudaProducts> products_;
  std::vector<DeviceBytes> kept_;
};

// The numbers as they are after rounding to bf16.
std::vector<float> Rounded(std::vector<float> numbers, std::vector<uint16_t>* narrow) {
  narrow->resize(numbers.size());
  NarrowToBF16(numbers.data(), std::ssize(numbers), narrow->data());
  Widen(narrow->data(), ElementType::kBF16, std::ssize(numbers), numbers.data());
  return numbers;
}

// Of a product with a bias that is added to what was there, and of one without either.
void ProductsTest::ExpectAgrees(const ProductCase& c, int64_t rows) {
  const bool is_narrow = c.type == ElementType::kBF16;
  std::vector<uint16_t> narrow_weight;
  std::vector<uint16_t> narrow_x;
  std::vector<float> weight = Random(c.in * c.out);
  const std::vector<float> x = Random(rows * c.in);
  std::vector<float> exact_x = x;
  if (is_narrow) {
    weight = Rounded(std::move(weight), &narrow_weight);
    exact_x = Rounded(std::move(exact_x), &narrow_x);
  }
  const bool is_out_in = c.order == WeightOrder::kOutIn;
  const void* const data =
      is_narrow ? static_cast<const void*>(narrow_weight.data()) : weight.data();
  const auto packed =
      products_->Pack({data, c.type, is_out_in ? c.out : c.in, is_out_in ? c.in : c.out}, c.order);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const std::vector<float> bias = Random(c.out);
  const std::vector<float> before = Random(rows * c.out);
  for (const bool adds : {false, true}) {
    Product product;
    product.weight = packed->get();
    product.x = Keep(x);
    if (is_narrow) product.narrowed = Keep(narrow_x);
    product.rows = rows;
    product.bias = adds ? Keep(bias) : nullptr;
    product.out = Keep(
        adds ? before : std::vector<float>(before.size(), std::numeric_limits<float>::quiet_NaN()));
    product.adds = adds;
    const absl::Status given = products_->Multiply(product, stream());
    ASSERT_TRUE(given.ok()) << given << " " << c.Name() << " rows " << rows;
    const std::vector<float> out = Show(product.out, before.size());
    double difference = 0;
    double size = 0;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t o = 0; o < c.out; ++o) {
        double sum = adds ? double{before[r * c.out + o]} + bias[o] : 0;
        for (int64_t i = 0; i < c.in; ++i) {
          sum += double{exact_x[r * c.in + i]} * weight[is_out_in ? o * c.in + i : i * c.out + o];
        }
        difference += (out[r * c.out + o] - sum) * (out[r * c.out + o] - sum);
        size += sum * sum;
      }
    }
    // Tensor cores cut their f32 sums off, every 16 terms, where others round them: of 14,336 terms
    // that is 2e-5. What is rounded to bf16 by mistake is 2e-3 away, TF32 3e-4.
    EXPECT_LE(std::sqrt(difference / size), is_narrow ? 1e-4 : 1e-5)
        << c.Name() << " rows " << rows << (adds ? " adds" : "");
  }
  kept_.clear();
}

std::vector<ProductCase> Cases() {
  std::vector<ProductCase> cases;
  for (const auto type : {ElementType::kF32, ElementType::kBF16}) {
    for (const auto order : {WeightOrder::kOutIn, WeightOrder::kInOut}) {
      cases.push_back({256, 768, type, order});
      cases.push_back({1000, 333, type, order});
      cases.push_back({2048, 128, type, order});
    }
  }
  return cases;
}

// Rows on both sides of where plans change, and of one plan. Not for the checkers of memory and
// races: they would instrument cuBLASLt's kernels, for minutes, and find what is NVIDIA's.
TEST_F(ProductsTest, OddOnesAreTheHosts) {
  for (const ProductCase& c : Cases()) {
    for (const int64_t rows : {1, 2, 7, 8, 33, 100}) ExpectAgrees(c, rows);
  }
}

TEST_F(ProductsTest, LargeOnesAreTheHosts) {
  for (const auto type : {ElementType::kF32, ElementType::kBF16}) {
    ExpectAgrees({4096, 6144, type, WeightOrder::kOutIn}, 1);
    ExpectAgrees({14336, 4096, type, WeightOrder::kOutIn}, 3);
  }
}

TEST_F(ProductsTest, TheSameProductHasTheSameBits) {
  const std::vector<float> weight = Random(4096 * 512);
  std::vector<uint16_t> narrow;
  Rounded(weight, &narrow);
  const auto packed =
      products_->Pack({narrow.data(), ElementType::kBF16, 512, 4096}, WeightOrder::kOutIn);
  ASSERT_TRUE(packed.ok()) << packed.status();
  for (const int64_t rows : {1, 5, 64}) {
    Product product;
    product.weight = packed->get();
    std::vector<uint16_t> narrow_x;
    product.x = Keep(Rounded(Random(rows * 4096), &narrow_x));
    product.narrowed = Keep(narrow_x);
    product.rows = rows;
    product.out = Keep(Random(rows * 512));
    std::vector<std::vector<float>> outputs;
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(products_->Multiply(product, stream()).ok());
      outputs.push_back(Show(product.out, rows * 512));
    }
    EXPECT_THAT(outputs, testing::Each(outputs[0])) << rows;
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
