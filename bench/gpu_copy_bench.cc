#include "bench/gpu_copy_bench.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/gpu_copy_interference.h"
#include "bench/rounds.h"
#include "bench/row_groups.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using cachestore::CopyCrossover;
using cachestore::Lane;

// Of one Copy call: so the next list is planned while one is copied.
constexpr size_t kPiecesACall = 1024;

// Which lanes copy.
struct Way {
  std::string name;
  std::vector<Lane> lanes;
};
const Way kToDevice = {"to_device", {Lane::kToDevice}};
const Way kToHost = {"to_host", {Lane::kToHost}};
const Way kBoth = {"both", {Lane::kToDevice, Lane::kToHost}};

Arm MakeArm(const std::string& name, CopyBed& bed, const Way& way, size_t piece_bytes,
            size_t pieces_a_call) {
  std::vector<LanePieces> lists;
  for (const Lane lane : way.lanes) lists.push_back(bed.Pieces(lane, piece_bytes));
  return {name, [&bed, lists = std::move(lists), pieces_a_call] {
            return bed.Rate(lists, pieces_a_call);
          }};
}

size_t BedBytes(Extent extent) {
  return ByExtent<size_t>(extent, size_t{4} << 20, size_t{1} << 30);
}

// Pieces of `piece_bytes` beside one of all bytes.
absl::StatusOr<Result> MeasurePieces(CopyBed& bed, const std::string& metric, const Way& way,
                                     size_t piece_bytes, double goal, Extent extent) {
  const std::vector<Arm> arms = {MakeArm(metric, bed, way, piece_bytes, kPiecesACall),
                                 MakeArm(metric + ", in one piece", bed, way, BedBytes(extent), 1)};
  ASSIGN_OR_RETURN(const std::vector<double> rates,
                   MedianOfRounds(metric, ByExtent(extent, 1, 9), arms));
  Result row{.metric = metric, .unit = "GB/s", .ours = rates[0], .limit = rates[1]};
  row.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, goal};
  row.context = {{"limit", "one pinned copy of the same bytes"},
                 {"bytes a lane", absl::StrCat(BedBytes(extent))}};
  return row;
}

absl::StatusOr<std::vector<Result>> MeasureBlocks(const DeviceOpener& open, Extent extent) {
  ASSIGN_OR_RETURN(const auto bed, CopyBed::Create(open, {}, BedBytes(extent)));
  std::vector<Result> rows;
  for (const Way& way : {kToDevice, kToHost, kBoth}) {
    ASSIGN_OR_RETURN(Result row, MeasurePieces(*bed, absl::StrCat("gpu.copy_2mib_", way.name), way,
                                               size_t{2} << 20, 0.95, extent));
    rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<std::vector<Result>> MeasureScattered(const DeviceOpener& open, Extent extent) {
  ASSIGN_OR_RETURN(const auto bed, CopyBed::Create(open, {}, BedBytes(extent)));
  std::vector<Result> rows;
  for (const size_t kib : {16, 64}) {
    for (const Way& way : {kToDevice, kToHost}) {
      ASSIGN_OR_RETURN(
          Result row,
          MeasurePieces(*bed, absl::StrCat("gpu.copy_scattered_", kib, "kib_", way.name), way,
                        kib << 10, 0.85, extent));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

// The kernel alone, and as its peer the batched call alone.
absl::StatusOr<std::vector<Result>> MeasureCrossover(const DeviceOpener& open, Extent extent) {
  constexpr size_t kPiecesOfABatch = 64;
  const size_t bytes = BedBytes(extent) / 4;
  const CopyCrossover always = {std::numeric_limits<size_t>::max(), 0};
  const CopyCrossover never = {};
  ASSIGN_OR_RETURN(const auto kernel, CopyBed::Create(open, {always, always, always}, bytes));
  ASSIGN_OR_RETURN(const auto batched, CopyBed::Create(open, {never, never, never}, bytes));
  std::vector<Result> rows;
  for (const size_t kib : {4, 8, 16, 32, 64, 128}) {
    for (const Way& way : {kToDevice, kToHost}) {
      const std::string metric = absl::StrCat("gpu.copy_crossover_", kib, "kib_", way.name);
      const std::vector<Arm> arms = {MakeArm("kernel", *kernel, way, kib << 10, kPiecesOfABatch),
                                     MakeArm("batched", *batched, way, kib << 10, kPiecesOfABatch)};
      ASSIGN_OR_RETURN(const std::vector<double> rates,
                       MedianOfRounds(metric, ByExtent(extent, 1, 5), arms));
      Result row{.metric = metric, .unit = "GB/s", .ours = rates[0], .peer = rates[1]};
      row.context = {{"ours", "the kernel for small pieces"},
                     {"peer", "cudaMemcpyBatchAsync"},
                     {"pieces a call", absl::StrCat(kPiecesOfABatch)}};
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Result>> RunGpuCopyBench(const GpuCopyBenchOptions& options,
                                                    const DeviceOpener& open,
                                                    const ProductsOpener& open_products) {
  // Without a device, before anything takes time.
  RETURN_IF_ERROR(open({}).status());
  return RunGroups(
      {{"blocks", [&] { return MeasureBlocks(open, options.extent); }},
       {"scattered", [&] { return MeasureScattered(open, options.extent); }},
       {"interference", [&] { return MeasureInterference(open, open_products, options.extent); }},
       {"crossover", [&] { return MeasureCrossover(open, options.extent); }}},
      options.groups, options.extent);
}

}  // namespace reprise::bench
