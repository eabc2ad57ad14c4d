// What cuBLASLt is asked for, held against products by plain loops: over one that answers on the
// host.
#include "engine/backend/cuda/cublaslt/cublaslt_products.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "engine/backend/cpu_elementwise.h"
#include "tests/engine/backend/cuda/cublaslt/fake_cublaslt.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DeviceBytes;
using cachestore::Lane;
using cachestore::LazyDevice;
using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pointwise;

std::vector<float> Random(size_t count, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

// Numbers of `type`, and what they are.
struct Stored {
  std::vector<uint16_t> narrow;
  std::vector<float> wide;
  ElementType type;

  const void* data() const {
    return type == ElementType::kF32 ? static_cast<const void*>(wide.data()) : narrow.data();
  }
};

Stored Store(std::vector<float> numbers, ElementType type) {
  Stored stored = {{}, std::move(numbers), type};
  if (type == ElementType::kF32) return stored;
  const auto count = static_cast<int64_t>(stored.wide.size());
  stored.narrow.resize(count);
  (type == ElementType::kBF16 ? NarrowToBF16 : NarrowToF16)(stored.wide.data(), count,
                                                            stored.narrow.data());
  Widen(stored.narrow.data(), type, count, stored.wide.data());
  return stored;
}

class CublasLtProductsTest : public testing::Test {
 protected:
  explicit CublasLtProductsTest(uint64_t seed = 0) : device_(seed, size_t{128} << 20) {}

  void SetUp() override {
    auto memory = MemoryCopy::Create(&device_);
    ASSERT_TRUE(memory.ok()) << memory.status();
    memory_ = *std::move(memory);
    auto products = CublasLtProducts::Create(memory_.get(), FakeCublasLt::Library());
    ASSERT_TRUE(products.ok()) << products.status();
    products_ = *std::move(products);
  }

  template <typename T>
  T* Keep(const std::vector<T>& numbers) {
    auto kept = memory_->Keep(numbers.data(), numbers.size() * sizeof(T));
    CHECK(kept.ok());
    kept_.push_back(*std::move(kept));
    return reinterpret_cast<T*>(kept_.back().bytes().data());
  }

  std::unique_ptr<PackedWeight> Pack(const Stored& stored, int64_t in, int64_t out,
                                     WeightOrder order) {
    const bool is_out_in = order == WeightOrder::kOutIn;
    auto weight = products_->Pack(
        {stored.data(), stored.type, is_out_in ? out : in, is_out_in ? in : out}, order);
    CHECK(weight.ok());
    return *std::move(weight);
  }

  cudaStream_t stream() { return static_cast<cudaStream_t>(device_.Stream(Lane::kCompute)); }

  std::vector<float> Show(const float* from, size_t count) {
    const auto shown = memory_->Show(from, count * sizeof(float));
    CHECK(shown.ok());
    std::vector<float> numbers(count);
    std::memcpy(numbers.data(), shown->data(), shown->size());
    return numbers;
  }

  FakeCublasLt cublaslt_;
  LazyDevice device_;
  std::unique_ptr<MemoryCopy> memory_;
  std::unique_ptr<CudaProducts> products_;
  std::vector<DeviceBytes> kept_;
};

struct Asked {
  ElementType type;
  WeightOrder order;
  int64_t rows;
  bool has_bias;
  bool adds;
};

class CublasLtProductTest : public CublasLtProductsTest,
                            public testing::WithParamInterface<Asked> {};

TEST_P(CublasLtProductTest, IsThatOfPlainLoops) {
  const Asked& asked = GetParam();
  constexpr int64_t kIn = 11;
  constexpr int64_t kOut = 5;
  const Stored weight = Store(Random(kIn * kOut, 1), asked.type);
  const bool narrows = asked.type == ElementType::kBF16;
  const Stored x =
      Store(Random(asked.rows * kIn, 2), narrows ? ElementType::kBF16 : ElementType::kF32);
  const std::vector<float> bias = Random(kOut, 3);
  const std::vector<float> before = Random(asked.rows * kOut, 4);
  std::vector<float> expected(before.size());
  for (int64_t r = 0; r < asked.rows; ++r) {
    for (int64_t o = 0; o < kOut; ++o) {
      double sum = asked.adds ? before[r * kOut + o] : 0;
      if (asked.has_bias) sum += bias[o];
      for (int64_t i = 0; i < kIn; ++i) {
        const int64_t place = asked.order == WeightOrder::kOutIn ? o * kIn + i : i * kOut + o;
        sum += double{x.wide[r * kIn + i]} * weight.wide[place];
      }
      expected[r * kOut + o] = static_cast<float>(sum);
    }
  }

  const auto packed = Pack(weight, kIn, kOut, asked.order);
  EXPECT_EQ(packed->in_features(), kIn);
  EXPECT_EQ(packed->out_features(), kOut);
  Product product;
  product.weight = packed.get();
  product.x = Keep(x.wide);
  if (narrows) product.narrowed = Keep(x.narrow);
  product.rows = asked.rows;
  if (asked.has_bias) product.bias = Keep(bias);
  product.out = Keep(before);
  product.adds = asked.adds;
  ASSERT_TRUE(products_->Multiply(product, stream()).ok());
  EXPECT_THAT(Show(product.out, expected.size()), Pointwise(FloatNear(1e-5f), expected));
}

std::vector<Asked> AllAsked() {
  std::vector<Asked> all;
  for (const auto type : {ElementType::kF32, ElementType::kBF16, ElementType::kF16}) {
    for (const auto order : {WeightOrder::kOutIn, WeightOrder::kInOut}) {
      all.push_back({type, order, 1, false, false});
      all.push_back({type, order, 7, true, false});
      all.push_back({type, order, 8, false, true});
      all.push_back({type, order, 3, true, true});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, CublasLtProductTest, testing::ValuesIn(AllAsked()));

class CublasLtPlansTest : public CublasLtProductsTest {
 protected:
  void SetUp() override {
    CublasLtProductsTest::SetUp();
    weight_ = Pack(Store(Random(64, 1), ElementType::kF32), 8, 8, WeightOrder::kOutIn);
    product_.weight = weight_.get();
    product_.x = Keep(Random(40 * 8, 2));
    product_.out = Keep(Random(40 * 8, 3));
  }

  absl::Status Multiply(int64_t rows) {
    product_.rows = rows;
    return products_->Multiply(product_, stream());
  }

  std::unique_ptr<PackedWeight> weight_;
  Product product_;
};

TEST_F(CublasLtPlansTest, APlanIsForAllRowsUpToAPowerOfTwo) {
  for (const int64_t rows : {1, 5, 7, 8, 6, 1, 9, 40, 33}) ASSERT_TRUE(Multiply(rows).ok());
  EXPECT_THAT(cublaslt_.chosen_rows, ElementsAre(1, 8, 16, 64));
  // Another weight of the same shape has the same plan, a bias has another.
  const auto same = Pack(Store(Random(64, 5), ElementType::kF32), 8, 8, WeightOrder::kOutIn);
  product_.weight = same.get();
  ASSERT_TRUE(Multiply(7).ok());
  EXPECT_EQ(cublaslt_.chosen_rows.size(), 4u);
  product_.bias = product_.x;
  ASSERT_TRUE(Multiply(7).ok());
  EXPECT_EQ(cublaslt_.chosen_rows.size(), 5u);
  EXPECT_EQ(cublaslt_.num_products, 11);
}

TEST_F(CublasLtPlansTest, RowsThatAnAlgorithmDoesNotTakeHaveTheirOwn) {
  cublaslt_.refused_rows = {6};
  ASSERT_TRUE(Multiply(7).ok());
  ASSERT_TRUE(Multiply(6).ok());
  EXPECT_THAT(cublaslt_.chosen_rows, ElementsAre(8, 6));
  // For these rows alone, and for good.
  ASSERT_TRUE(Multiply(7).ok());
  ASSERT_TRUE(Multiply(6).ok());
  EXPECT_THAT(cublaslt_.chosen_rows, ElementsAre(8, 6));
}

TEST_F(CublasLtPlansTest, WithoutAnAlgorithmThereIsAnErrorAndThenAnotherTry) {
  cublaslt_.knows_algorithms = false;
  const absl::Status status = Multiply(3);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4 rows"));
  cublaslt_.knows_algorithms = true;
  EXPECT_TRUE(Multiply(3).ok());
  // Also where one is to be replaced; the rows that it takes go on.
  cublaslt_.refused_rows = {3};
  ASSERT_TRUE(Multiply(4).ok());
  cublaslt_.knows_algorithms = false;
  EXPECT_FALSE(Multiply(3).ok());
  EXPECT_TRUE(Multiply(4).ok());
  cublaslt_.knows_algorithms = true;
  EXPECT_TRUE(Multiply(3).ok());
}

// Seconds by the algorithm that was used last.
class FakeTimer : public WorkTimer {
 public:
  FakeTimer(const FakeCublasLt* cublaslt, int* num_timed)
      : cublaslt_(*cublaslt), num_timed_(num_timed) {}
  absl::StatusOr<double> Seconds(cudaStream_t, absl::FunctionRef<absl::Status()> give) override {
    if (const absl::Status given = give(); !given.ok()) return given;
    // The fourth is the fastest, but for the first time that it is tried, and now and then.
    const double noise = ++*num_timed_ % 7 == 0 ? 5 : 1;
    return noise * (cublaslt_.used_algorithm == 3 ? 1e-6 : 2e-6);
  }

 private:
  const FakeCublasLt& cublaslt_;
  int* const num_timed_;
};

class TimedProductsTest : public CublasLtPlansTest {
 protected:
  void SetUp() override {
    CublasLtProductsTest::SetUp();
    weight_.reset();
    products_ = *CublasLtProducts::Create(memory_.get(), FakeCublasLt::Library(),
                                          std::make_unique<FakeTimer>(&cublaslt_, &num_timed_));
    cublaslt_.num_algorithms = 6;
    weight_ = Pack(Store(Random(64, 1), ElementType::kF32), 8, 8, WeightOrder::kOutIn);
    product_.weight = weight_.get();
    product_.x = Keep(Random(8, 2));
    product_.out = Keep(std::vector<float>(8));
  }

  int num_timed_ = 0;
};

TEST_F(TimedProductsTest, TheFastestAlgorithmForOneRowIsKept) {
  ASSERT_TRUE(Multiply(1).ok());
  EXPECT_EQ(cublaslt_.used_algorithm, 3u);
  const int timed = num_timed_;
  EXPECT_GE(timed, 6 * 2);
  // Another weight of the same shape has the same one.
  const auto same = Pack(Store(Random(64, 5), ElementType::kF32), 8, 8, WeightOrder::kOutIn);
  product_.weight = same.get();
  ASSERT_TRUE(Multiply(1).ok());
  EXPECT_EQ(cublaslt_.used_algorithm, 3u);
  EXPECT_EQ(num_timed_, timed);
  // More rows have the expected one.
  product_.x = Keep(Random(40 * 8, 2));
  product_.out = Keep(Random(40 * 8, 3));
  ASSERT_TRUE(Multiply(5).ok());
  EXPECT_EQ(cublaslt_.used_algorithm, 0u);
  EXPECT_EQ(num_timed_, timed);
  // Another shape is timed by itself.
  product_.bias = product_.x;
  ASSERT_TRUE(Multiply(1).ok());
  EXPECT_EQ(num_timed_, 2 * timed);
}

TEST_F(TimedProductsTest, TimingGoesOverAllWeightsAndLeavesNothingBehind) {
  const auto other = Pack(Store(Random(64, 5), ElementType::kF32), 8, 8, WeightOrder::kOutIn);
  auto gone = Pack(Store(Random(64, 6), ElementType::kF32), 8, 8, WeightOrder::kOutIn);
  gone.reset();
  const auto wider = Pack(Store(Random(128, 7), ElementType::kF32), 8, 16, WeightOrder::kOutIn);
  product_.adds = true;  // to zeros
  ASSERT_TRUE(Multiply(1).ok());
  const std::set<const void*> timed(cublaslt_.used_weights.begin(), cublaslt_.used_weights.end());
  EXPECT_EQ(timed.size(), 2u);
  const std::vector<float> once = Show(product_.out, 8);
  product_.adds = false;
  ASSERT_TRUE(Multiply(1).ok());
  EXPECT_EQ(Show(product_.out, 8), once);
}

TEST_F(TimedProductsTest, WhatIsNoAlgorithmIsNotTimed) {
  cublaslt_.bad_algorithm = 3;
  ASSERT_TRUE(Multiply(1).ok());
  EXPECT_EQ(cublaslt_.used_algorithm, 0u) << "the first of equals";
}

TEST_F(TimedProductsTest, OneAlgorithmIsNotTimed) {
  cublaslt_.num_algorithms = 1;
  ASSERT_TRUE(Multiply(1).ok());
  EXPECT_EQ(num_timed_, 0);
}

TEST_F(TimedProductsTest, AnAlgorithmWhoseProductsFailIsNotTaken) {
  cublaslt_.failing_algorithm = 3;
  ASSERT_TRUE(Multiply(1).ok());
  EXPECT_EQ(cublaslt_.used_algorithm, 0u);
  EXPECT_GT(num_timed_, 0);
}

TEST(FastestOfTest, MediansAreCompared) {
  int calls = 0;
  EXPECT_EQ(FastestOf(3,
                      [&](size_t way) {
                        const double times[] = {2, 1.5, 3};
                        return ++calls == 5 ? 100 : times[way];  // an outlier of way 1
                      }),
            1u);
  EXPECT_EQ(FastestOf(2, [](size_t) { return INFINITY; }), 0u);
}

TEST_F(CublasLtProductsTest, XIsNarrowedForNarrowWeightsAlone) {
  for (const auto type : {ElementType::kF32, ElementType::kBF16, ElementType::kF16}) {
    const auto packed = Pack(Store(Random(8 * 4, 1), type), 8, 4, WeightOrder::kOutIn);
    EXPECT_EQ(products_->TakesNarrowed(*packed), type == ElementType::kBF16);
  }
}

TEST_F(CublasLtProductsTest, BytesOfAWeightAreThoseOfItsType) {
  for (const auto& [type, text] :
       {std::pair(ElementType::kF32, "f32"), std::pair(ElementType::kF16, "f32"),
        std::pair(ElementType::kBF16, "bf16-activations")}) {
    const auto weight = Pack(Store(Random(6, 1), type), 3, 2, WeightOrder::kOutIn);
    EXPECT_THAT(std::string(weight->arithmetic()), HasSubstr(text));
    EXPECT_THAT(std::string(weight->arithmetic()), HasSubstr("fast"));
  }
}

TEST(CublasLtProductsErrorsTest, WithoutACardOrMemoryThereAreNone) {
  FakeCublasLt cublaslt;
  LazyDevice small(0, size_t{1} << 20);
  const auto memory = MemoryCopy::Create(&small);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(CublasLtProducts::Create(memory->get(), FakeCublasLt::Library()).status().code(),
            absl::StatusCode::kResourceExhausted);
  cublaslt.create_status = CUBLAS_STATUS_NOT_INITIALIZED;
  EXPECT_EQ(CublasLtProducts::Create(memory->get(), FakeCublasLt::Library()).status().message(),
            "cublasLtCreate: CUBLAS_STATUS_NOT_INITIALIZED");
}

}  // namespace
}  // namespace reprise::engine::cuda
