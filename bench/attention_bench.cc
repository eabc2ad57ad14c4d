#include "bench/attention_bench.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/attention_load.h"
#include "bench/fma_peak.h"
#include "bench/memory_bandwidth.h"
#include "bench/rounds.h"
#include "bench/row_groups.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using cachestore::DType;

// As many as Qwen2.5-0.5B has: a context's KV is then larger than the caches.
constexpr int32_t kLayers = 24;

class AttentionBench {
 public:
  explicit AttentionBench(const AttentionBenchOptions& options)
      : extent_(options.extent),
        num_threads_(options.num_threads),
        backend_(engine::NewCpuBackend(options.num_threads)) {}

  absl::StatusOr<std::vector<Result>> Prefill() {
    const int64_t tokens = ByExtent<int64_t>(extent_, 256, 2048);
    ASSIGN_OR_RETURN(Result whole, PrefillRow("prefill_2048", {.context = tokens, .rows = tokens}));
    ASSIGN_OR_RETURN(Result chunk,
                     PrefillRow("prefill_chunk_512_at_1536",
                                {.context = tokens, .rows = ByExtent<int64_t>(extent_, 64, 512)}));
    return std::vector<Result>{std::move(whole), std::move(chunk)};
  }

  absl::StatusOr<std::vector<Result>> Decode() {
    const int64_t context = ByExtent<int64_t>(extent_, 64, 1024);
    ASSIGN_OR_RETURN(Result short_row,
                     DecodeRow("decode_1024", {.context = context, .sequences = 8},
                               &AttentionLoad::AttendOneByOne));
    ASSIGN_OR_RETURN(Result batch_row,
                     DecodeRow("decode_1024_batch_8", {.context = context, .sequences = 8},
                               &AttentionLoad::AttendTogether));
    ASSIGN_OR_RETURN(Result long_row, DecodeRow("decode_8192", {.context = 8 * context},
                                                &AttentionLoad::AttendOneByOne));
    return std::vector<Result>{std::move(short_row), std::move(batch_row), std::move(long_row)};
  }

  absl::StatusOr<std::vector<Result>> Formats() {
    std::vector<Result> rows;
    for (const DType dtype : cachestore::kAllDTypes) {
      const std::string name(cachestore::DTypeName(dtype));
      const int64_t context = ByExtent<int64_t>(extent_, 512, 8192);
      ASSIGN_OR_RETURN(Result decode, DecodeRow(absl::StrCat("decode_8192_", name),
                                                {.context = context, .dtype = dtype},
                                                &AttentionLoad::AttendOneByOne));
      decode.goal.reset();
      rows.push_back(std::move(decode));
      const int64_t tokens = ByExtent<int64_t>(extent_, 256, 2048);
      ASSIGN_OR_RETURN(Result prefill,
                       PrefillRow(absl::StrCat("prefill_2048_", name),
                                  {.context = tokens, .rows = tokens, .dtype = dtype}));
      prefill.goal.reset();
      rows.push_back(std::move(prefill));
    }
    return rows;
  }

 private:
  // Operations a second, beside the machine's.
  absl::StatusOr<Result> PrefillRow(const std::string& name, const AttentionLoad::Shape& shape) {
    ASSIGN_OR_RETURN(const std::unique_ptr<AttentionLoad> load,
                     AttentionLoad::Make(backend_.get(), shape));
    FmaPeak peak(num_threads_);
    const Arm arms[] = {{"attention", [&] { return SecondsOf([&] { load->AttendTogether(); }); }},
                        {"multiply-adds", [&] {
                           peak.Sample();
                           return 0.0;
                         }}};
    ASSIGN_OR_RETURN(const std::vector<double> seconds,
                     MedianOfRounds(name, ByExtent(extent_, 1, 21), arms));
    Result row{.metric = absl::StrCat("attention.", name),
               .unit = "GFLOP/s",
               .ours = load->Operations() / seconds[0] * 1e-9};
    row.limit = peak.OperationsPerSecond() * 1e-9;
    row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.6};
    row.context = {{"milliseconds", absl::StrCat(seconds[0] * 1e3)},
                   {"operations", absl::StrCat(load->Operations())},
                   {"limit", "f32 multiply-adds from registers"}};
    return row;
  }

  // Bytes of KV a second, beside the machine's.
  absl::StatusOr<Result> DecodeRow(const std::string& name, AttentionLoad::Shape shape,
                                   void (AttentionLoad::*pass)()) {
    shape.layers = ByExtent(extent_, 2, kLayers);
    ASSIGN_OR_RETURN(const std::unique_ptr<AttentionLoad> load,
                     AttentionLoad::Make(backend_.get(), shape));
    MemoryBandwidth bandwidth(num_threads_);
    const Arm arms[] = {{"attention", [&] { return SecondsOf([&] { (load.get()->*pass)(); }); }},
                        {"reading memory", [&] {
                           bandwidth.Sample();
                           return 0.0;
                         }}};
    ASSIGN_OR_RETURN(const std::vector<double> seconds,
                     MedianOfRounds(name, ByExtent(extent_, 1, 21), arms));
    Result row{.metric = absl::StrCat("attention.", name),
               .unit = "GB/s",
               .ours = load->KvBytes() / seconds[0] * 1e-9};
    row.limit = bandwidth.BytesPerSecond() * 1e-9;
    row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.85};
    row.context = {
        {"microseconds_a_layer",
         absl::StrCat(seconds[0] * 1e6 / static_cast<double>(shape.layers * shape.sequences))},
        {"kv_bytes", absl::StrCat(load->KvBytes())},
        {"gflops", absl::StrCat(load->Operations() / seconds[0] * 1e-9)},
        {"limit", "reading memory once, all threads"}};
    return row;
  }

  const Extent extent_;
  const int32_t num_threads_;
  const std::unique_ptr<engine::Backend> backend_;
};

}  // namespace

absl::StatusOr<std::vector<Result>> RunAttentionBench(const AttentionBenchOptions& options) {
  AttentionBench bench(options);
  return RunGroups({{"prefill", [&] { return bench.Prefill(); }},
                    {"decode", [&] { return bench.Decode(); }},
                    {"formats", [&] { return bench.Formats(); }}},
                   options.groups, options.extent);
}

}  // namespace reprise::bench
