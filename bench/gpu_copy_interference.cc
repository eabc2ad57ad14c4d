#include "bench/gpu_copy_interference.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/rounds.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using cachestore::Device;
using cachestore::Lane;

constexpr size_t kPiecesACall = 1024;

// Copies `list` again and again on a thread of its own.
class Copier {
 public:
  Copier(CopyBed& bed, const LanePieces& list)
      : bed_(bed), list_(list), thread_([this] { Run(); }) {}
  ~Copier() { Stop().IgnoreError(); }

  // GB/s so far, once the copy that is under way has ended. BLOCKS.
  absl::StatusOr<double> Stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    RETURN_IF_ERROR(result_);
    return static_cast<double>(bytes_) / seconds_ / 1e9;
  }

 private:
  void Run() {
    const absl::Time begin = absl::Now();
    while (result_.ok() && !(stopping_ && bytes_ > 0)) {
      result_ = bed_.Rate({list_}, kPiecesACall).status();
      bytes_ += bed_.bytes();
    }
    seconds_ = absl::ToDoubleSeconds(absl::Now() - begin);
  }

  CopyBed& bed_;
  const LanePieces& list_;
  std::atomic<bool> stopping_ = false;
  // The thread's until it is joined.
  absl::Status result_;
  size_t bytes_ = 0;
  double seconds_ = 0;
  std::thread thread_;
};

// Seconds that `count` products take.
absl::StatusOr<double> SecondsOfProducts(Device& device, ProductLoop& products, int count) {
  const absl::Time begin = absl::Now();
  RETURN_IF_ERROR(products.Enqueue(count));
  RETURN_IF_ERROR(device.Wait(device.Mark(Lane::kCompute)));
  return absl::ToDoubleSeconds(absl::Now() - begin);
}

absl::StatusOr<std::vector<Result>> MeasureSize(CopyBed& bed, ProductLoop& products, size_t kib,
                                                Extent extent) {
  const int count = ByExtent(extent, 2, 200);
  const LanePieces list = bed.Pieces(Lane::kToDevice, kib << 10);
  std::vector<double> copy_rates;
  const std::vector<Arm> arms = {
      {"products alone", [&] { return SecondsOfProducts(bed.device(), products, count); }},
      {"products beside copies",
       [&]() -> absl::StatusOr<double> {
         Copier copier(bed, list);
         ASSIGN_OR_RETURN(const double seconds, SecondsOfProducts(bed.device(), products, count));
         ASSIGN_OR_RETURN(const double rate, copier.Stop());
         copy_rates.push_back(rate);
         return seconds;
       }},
      {"copies alone", [&] { return bed.Rate({list}, kPiecesACall); }}};
  const std::string name = kib >= 1024 ? absl::StrCat(kib / 1024, "mib") : absl::StrCat(kib, "kib");
  ASSIGN_OR_RETURN(const std::vector<double> figures,
                   MedianOfRounds("interference " + name, ByExtent(extent, 1, 7), arms));
  Result slowed{.metric = "gpu.copy_interference_" + name, .unit = "ms"};
  slowed.ours = figures[1] * 1e3 / count;
  slowed.limit = figures[0] * 1e3 / count;
  slowed.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 1.03};
  slowed.context = {{"ours", "a product while copies to the device run"},
                    {"limit", "a product alone"},
                    {"product", products.name()}};
  Result copies{.metric = "gpu.copy_beside_products_" + name, .unit = "GB/s"};
  copies.ours = Median(copy_rates);
  copies.limit = figures[2];
  copies.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.8};
  copies.context = {{"limit", "the same copies alone"}, {"product", products.name()}};
  return std::vector<Result>{std::move(slowed), std::move(copies)};
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureInterference(const DeviceOpener& open,
                                                        const ProductsOpener& open_products,
                                                        Extent extent) {
  const size_t bytes = ByExtent<size_t>(extent, size_t{4} << 20, size_t{256} << 20);
  ASSIGN_OR_RETURN(const auto bed, CopyBed::Create(open, {}, bytes));
  ASSIGN_OR_RETURN(const auto products, open_products(&bed->device()));
  std::vector<Result> rows;
  for (const size_t kib : {2048, 16}) {
    ASSIGN_OR_RETURN(std::vector<Result> of_size, MeasureSize(*bed, *products, kib, extent));
    for (Result& row : of_size) rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace reprise::bench
