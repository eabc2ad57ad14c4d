#include "bench/gpu_attention_bench.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/gpu_attention_peers.h"
#include "bench/rounds.h"
#include "bench/row_groups.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using cachestore::Device;
using cachestore::Lane;

constexpr double kBytesOfALaunch = 2e9;  // what an arm's launches read in a round, about

// What all groups use.
struct Bed {
  Device* device;
  const AttentionWorks& works;
  const ProductsOpener& open_products;
  GpuAttentionPeers& peers;
  Extent extent;
};

int Rounds(Extent extent) { return ByExtent(extent, 1, 9); }

std::vector<int32_t> Uniform(int batch, int32_t context) {
  return std::vector<int32_t>(batch, context);
}

// Lengths that fall as 1 / rank, at least 16, as many tokens in all as Uniform(batch, context).
std::vector<int32_t> Zipf(int batch, int32_t context) {
  const int64_t tokens = int64_t{batch} * context;
  double harmonic = 0;
  for (int rank = 1; rank <= batch; ++rank) harmonic += 1.0 / rank;
  std::vector<int32_t> lengths;
  for (int rank = 1; rank <= batch; ++rank) {
    const double share = static_cast<double>(tokens) / harmonic / rank;
    lengths.push_back(std::max(16, static_cast<int32_t>(share)));
  }
  lengths[0] +=
      static_cast<int32_t>(tokens - std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
  return lengths;
}

double KvBytes(const AttentionShape& shape, const std::vector<int32_t>& lengths) {
  const double row_bytes = shape.head_dim * cachestore::DTypeBits(shape.dtype) / 8.0;
  return 2 * shape.kv_heads * row_bytes *
         static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
}

int LaunchesFor(double bytes, Extent extent) {
  return ByExtent(extent, 2, std::clamp(static_cast<int>(kBytesOfALaunch / bytes), 3, 50));
}

Arm KernelArm(const std::string& name, AttentionWork& work, int launches) {
  return {name, [&work, launches] { return work.Seconds(launches); }};
}
Arm ReadArm(AttentionWork& work, int launches) {
  return {"reading", [&work, launches] { return work.ReadSeconds(launches); }};
}

// The fastest of the peers, whose arms' figures are those from `first` on.
std::optional<double> Fastest(const std::vector<double>& seconds, size_t first) {
  if (seconds.size() <= first) return std::nullopt;
  return *std::min_element(seconds.begin() + static_cast<std::ptrdiff_t>(first), seconds.end());
}

// Says what each peer took.
void NamePeers(const std::vector<Arm>& arms, const std::vector<double>& seconds, size_t first,
               Result* row) {
  for (size_t i = first; i < arms.size(); ++i) {
    row->context[absl::StrCat("peer ", arms[i].name)] = absl::StrCat(seconds[i] * 1e6, " us");
  }
}

absl::StatusOr<Result> MeasureDecodeCell(const Bed& bed, int batch, int32_t context) {
  const AttentionShape shape;
  const std::vector<int32_t> lengths = Uniform(batch, context);
  const double bytes = KvBytes(shape, lengths);
  const int launches = LaunchesFor(bytes, bed.extent);
  const std::string metric = absl::StrCat("gpu.decode_attention_", batch, "x", context);
  ASSIGN_OR_RETURN(const auto work, bed.works.decode(bed.device, shape, {lengths}));
  std::vector<Arm> arms = {KernelArm(metric, *work, launches), ReadArm(*work, launches)};
  for (Arm& arm : bed.peers.ArmsFor(absl::StrCat("decode ", batch, " ", context), launches)) {
    arms.push_back(std::move(arm));
  }
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds(metric, Rounds(bed.extent), arms));
  RETURN_IF_ERROR(bed.peers.Forget());
  Result row{.metric = metric, .unit = "GB/s", .ours = bytes / seconds[0] / 1e9};
  row.limit = bytes / seconds[1] / 1e9;
  if (const auto peer = Fastest(seconds, 2)) row.peer = bytes / *peer / 1e9;
  if (bytes >= 64e6) {
    row.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, bytes >= 256e6 ? 0.90 : 0.80};
  }
  row.context = {{"limit", "a kernel that reads the same bytes once, in order"},
                 {"KV", absl::StrCat(bytes / 1e6, " MB")}};
  NamePeers(arms, seconds, 2, &row);
  return row;
}

// How ours compares with the best peer, over all cells: the geometric mean.
std::optional<Result> AgainstPeers(const std::vector<Result>& rows) {
  double logarithms = 0;
  int cells = 0;
  for (const Result& row : rows) {
    if (!row.peer.has_value()) continue;
    logarithms += std::log(row.ours / *row.peer);
    ++cells;
  }
  if (cells == 0) return std::nullopt;
  Result mean{.metric = "gpu.decode_attention_vs_peers", .unit = "x"};
  mean.ours = std::exp(logarithms / cells);
  mean.peer = 1;
  mean.goal = {Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, 1.0};
  mean.context = {{"ours", absl::StrCat("geometric mean over ", cells,
                                        " cells of the rate over that of the best peer")}};
  return mean;
}

absl::StatusOr<std::vector<Result>> MeasureDecode(const Bed& bed) {
  std::vector<std::pair<int, int32_t>> cells = {{1, 4096},   {1, 16384},  {1, 32768},
                                                {8, 4096},   {64, 1024},  {64, 4096},
                                                {256, 4096}, {32, 32768}, {256, 32768}};
  if (bed.extent == Extent::kQuick) cells = {{1, 64}, {3, 100}};
  std::vector<Result> rows;
  for (const auto& [batch, context] : cells) {
    ASSIGN_OR_RETURN(Result row, MeasureDecodeCell(bed, batch, context));
    rows.push_back(std::move(row));
  }
  if (std::optional<Result> mean = AgainstPeers(rows)) rows.push_back(*std::move(mean));
  return rows;
}

absl::StatusOr<std::vector<Result>> MeasureSkew(const Bed& bed) {
  const AttentionShape shape;
  std::vector<Result> rows;
  for (const int batch : {16, 64}) {
    const int32_t context = ByExtent(bed.extent, 64, 4096);
    const double bytes = KvBytes(shape, Uniform(batch, context));
    const int launches = LaunchesFor(bytes, bed.extent);
    const std::string metric = absl::StrCat("gpu.decode_attention_skewed_", batch, "x", context);
    ASSIGN_OR_RETURN(const auto skewed,
                     bed.works.decode(bed.device, shape, {Zipf(batch, context)}));
    ASSIGN_OR_RETURN(const auto uniform,
                     bed.works.decode(bed.device, shape, {Uniform(batch, context)}));
    const std::vector<Arm> arms = {KernelArm("skewed", *skewed, launches),
                                   KernelArm("uniform", *uniform, launches)};
    ASSIGN_OR_RETURN(const std::vector<double> seconds,
                     MedianOfRounds(metric, Rounds(bed.extent), arms));
    Result row{.metric = metric, .unit = "us", .ours = seconds[0] * 1e6};
    row.limit = seconds[1] * 1e6;
    row.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 1.05};
    row.context = {{"ours", "lengths fall as 1 / rank"},
                   {"limit", "equal lengths, as many tokens in all"}};
    rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<std::vector<Result>> MeasureFp8(const Bed& bed) {
  AttentionShape fp8;
  fp8.dtype = cachestore::DType::kF8E4M3;
  std::vector<Result> rows;
  for (const int batch : {8, 64}) {
    const std::vector<int32_t> lengths = Uniform(batch, ByExtent(bed.extent, 64, 4096));
    const int launches = LaunchesFor(KvBytes(fp8, lengths), bed.extent);
    const std::string metric = absl::StrCat("gpu.decode_attention_fp8_", batch, "x", lengths[0]);
    ASSIGN_OR_RETURN(const auto narrow, bed.works.decode(bed.device, fp8, {lengths}));
    ASSIGN_OR_RETURN(const auto wide, bed.works.decode(bed.device, AttentionShape(), {lengths}));
    const std::vector<Arm> arms = {KernelArm("fp8", *narrow, launches),
                                   KernelArm("bf16", *wide, launches), ReadArm(*narrow, launches)};
    ASSIGN_OR_RETURN(const std::vector<double> seconds,
                     MedianOfRounds(metric, Rounds(bed.extent), arms));
    Result row{.metric = metric, .unit = "us", .ours = seconds[0] * 1e6};
    row.limit = seconds[1] * 1e6;
    row.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 0.58};
    row.context = {{"limit", "the same with bf16 KV"},
                   {"reading the fp8 bytes once", absl::StrCat(seconds[2] * 1e6, " us")}};
    rows.push_back(std::move(row));
  }
  return rows;
}

// Rows that share most of their context, that part read once, beside each reading all of it.
absl::StatusOr<std::vector<Result>> MeasureCascade(const Bed& bed) {
  const AttentionShape shape;
  const int32_t shared = ByExtent(bed.extent, 512, 8192);
  const int batch = ByExtent(bed.extent, 4, 64);
  const DecodeBatch rows = {Uniform(batch, shared + 128), shared};
  const int launches = LaunchesFor(KvBytes(shape, rows.lengths), bed.extent);
  const std::string metric = absl::StrCat("gpu.cascade_decode_", batch, "x", shared);
  ASSIGN_OR_RETURN(const auto cascade, bed.works.cascade(bed.device, shape, rows));
  ASSIGN_OR_RETURN(const auto plain, bed.works.decode(bed.device, shape, rows));
  const std::vector<Arm> arms = {KernelArm("cascade", *cascade, launches),
                                 KernelArm("plain", *plain, launches)};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds(metric, Rounds(bed.extent), arms));
  Result row{.metric = metric, .unit = "us", .ours = seconds[0] * 1e6};
  row.limit = seconds[1] * 1e6;
  row.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 1.0 / 3};
  row.context = {{"ours", "the shared tokens read once, and 128 more of each row"},
                 {"limit", "ours too: each row reads all of its tokens, through the cache"}};
  return std::vector<Result>{std::move(row)};
}

// The rate of bf16 products, which is the limit of prefill.
Arm ProductArm(const Bed& bed, ProductLoop& products) {
  return {"products", [&bed, &products]() -> absl::StatusOr<double> {
            const int count = ByExtent(bed.extent, 1, 10);
            const absl::Time begin = absl::Now();
            RETURN_IF_ERROR(products.Enqueue(count));
            RETURN_IF_ERROR(bed.device->Wait(bed.device->Mark(Lane::kCompute)));
            return absl::ToDoubleSeconds(absl::Now() - begin) / count;
          }};
}

struct PrefillCell {
  std::string metric;
  PrefillKernel kernel;
  int32_t tokens;
};

absl::StatusOr<std::vector<Result>> MeasurePrefillCell(const Bed& bed, ProductLoop& products,
                                                       const PrefillCell& cell) {
  const AttentionShape shape;
  // Each row sees itself and what is before it; a multiplication and an addition, twice.
  const double operations =
      4.0 * shape.head_dim * shape.heads * cell.tokens * (cell.tokens + 1.0) / 2;
  const int launches =
      ByExtent(bed.extent, 1, std::clamp(static_cast<int>(4e12 / operations), 2, 20));
  const auto work = bed.works.prefill(bed.device, shape, cell.tokens, cell.kernel);
  if (absl::IsUnimplemented(work.status())) return std::vector<Result>{};
  RETURN_IF_ERROR(work.status());
  std::vector<Arm> arms = {KernelArm(cell.metric, **work, launches), ProductArm(bed, products)};
  for (Arm& arm : bed.peers.ArmsFor(absl::StrCat("prefill ", cell.tokens), launches)) {
    arms.push_back(std::move(arm));
  }
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds(cell.metric, Rounds(bed.extent), arms));
  RETURN_IF_ERROR(bed.peers.Forget());
  Result row{.metric = cell.metric, .unit = "TFLOP/s", .ours = operations / seconds[0] / 1e12};
  row.limit = products.operations() / seconds[1] / 1e12;
  row.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.55};
  row.context = {{"limit", products.name()}};
  std::vector<Result> rows = {row};
  if (const auto peer = Fastest(seconds, 2)) {
    row.metric += "_vs_peers";
    row.limit.reset();
    row.peer = operations / *peer / 1e12;
    row.goal = {Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, 0.9};
    NamePeers(arms, seconds, 2, &row);
    rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<std::vector<Result>> MeasurePrefill(const Bed& bed, absl::string_view metric,
                                                   PrefillKernel kernel) {
  ASSIGN_OR_RETURN(const auto products, bed.open_products(bed.device));
  std::vector<int32_t> prompts = {2048, 8192, 32768};
  if (bed.extent == Extent::kQuick) prompts = {40};
  std::vector<Result> rows;
  for (const int32_t tokens : prompts) {
    ASSIGN_OR_RETURN(
        std::vector<Result> of_cell,
        MeasurePrefillCell(bed, *products, {absl::StrCat(metric, "_", tokens), kernel, tokens}));
    for (Result& row : of_cell) rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Result>> RunGpuAttentionBench(const GpuAttentionBenchOptions& options,
                                                         const DeviceOpener& open,
                                                         const AttentionWorks& works,
                                                         const ProductsOpener& open_products) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Device> device, open({}));
  ASSIGN_OR_RETURN(GpuAttentionPeers peers, GpuAttentionPeers::Start(options.peers));
  const Bed bed = {device.get(), works, open_products, peers, options.extent};
  return RunGroups(
      {{"decode", [&] { return MeasureDecode(bed); }},
       {"skew", [&] { return MeasureSkew(bed); }},
       {"fp8", [&] { return MeasureFp8(bed); }},
       {"cascade", [&] { return MeasureCascade(bed); }},
       {"prefill",
        [&] { return MeasurePrefill(bed, "gpu.prefill_attention", PrefillKernel::kMmaSync); }},
       {"prefill_hopper",
        [&] {
          return MeasurePrefill(bed, "gpu.prefill_attention_hopper", PrefillKernel::kHopper);
        }}},
      options.groups, options.extent);
}

}  // namespace reprise::bench
