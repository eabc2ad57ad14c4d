#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/raw_tcp.h"
#include "bench/rounds.h"
#include "bench/rpc_bed.h"
#include "bench/rpc_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr int64_t kBlockBytes = 4096;  // lookup does not see how large blocks are
constexpr int64_t kResponseBytes = 16;

// A figure of how long one of many calls took, in microseconds.
double Percentile(std::vector<double> seconds, double part) {
  const auto at = static_cast<size_t>(part * static_cast<double>(seconds.size() - 1));
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<ptrdiff_t>(at), seconds.end());
  return seconds[at] * 1e6;
}

// `calls` calls of `work` and a percentile of their times.
template <typename Work>
absl::StatusOr<double> TimesOf(int calls, double part, Work work) {
  std::vector<double> seconds;
  absl::Status status;
  for (int i = 0; i < calls && status.ok(); ++i) {
    seconds.push_back(SecondsOf([&] { status = work(); }));
  }
  RETURN_IF_ERROR(status);
  return Percentile(std::move(seconds), part);
}

// The row of one length and percentile.
absl::StatusOr<Result> MeasureLength(Extent extent, RpcBed& bed, RawTcp& tcp, uint32_t ns,
                                     int64_t num_blocks, double part) {
  RETURN_IF_ERROR(bed.Put(ns, static_cast<uint64_t>(num_blocks), num_blocks, kBlockBytes));
  const std::vector<cachestore::TokenId> tokens =
      SyntheticTokens(static_cast<uint64_t>(num_blocks), num_blocks * kBlockTokens);
  api::v1::MatchRequest request;
  request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  const size_t request_bytes = request.ByteSizeLong();
  const int calls = ByExtent(extent, 20, 1000);
  const auto match = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const api::v1::MatchResponse found,
                     bed.client().Match(ns, tokens, kRpcTimeout));
    return found.ram_blocks() == num_blocks ? absl::OkStatus()
                                            : absl::DataLossError("not all blocks are there");
  };
  const Arm arms[] = {
      {"tcp",
       [&] {
         return TimesOf(calls, part, [&] { return tcp.RoundTrip(request_bytes, kResponseBytes); });
       }},
      {"match", [&] { return TimesOf(calls, part, match); }}};
  const std::string percentile = part < 0.9 ? "p50" : "p99";
  ASSIGN_OR_RETURN(
      const std::vector<double> us,
      MedianOfRounds(absl::StrCat("rpc.match ", num_blocks), ByExtent(extent, 1, 11), arms));
  Result row{.metric = absl::StrCat("rpc.match_", percentile, "_", num_blocks, "_blocks"),
             .unit = "us",
             .ours = us[1]};
  row.limit = us[0];
  row.context = {{"limit", "a round trip of as many bytes over loopback TCP"},
                 {"request_bytes", absl::StrCat(request_bytes)},
                 {"calls", absl::StrCat(calls, " a round, one after the other")}};
  if (num_blocks == 64) {
    row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, part < 0.9 ? 2.0 : 4.0};
  }
  return row;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRpcMatch(Extent extent) {
  const std::vector<int64_t> lengths = extent == Extent::kQuick
                                           ? std::vector<int64_t>{1, 64}
                                           : std::vector<int64_t>{1, 64, 512, 4096};
  const int64_t data_bytes = lengths.back() * kBlockBytes;
  ASSIGN_OR_RETURN(const std::unique_ptr<RpcBed> bed,
                   RpcBed::Start(extent, 4 * data_bytes, data_bytes));
  ASSIGN_OR_RETURN(const uint32_t ns, bed->Open(kBlockBytes));
  std::vector<std::byte> memory(size_t{1} << 20);
  ASSIGN_OR_RETURN(const std::unique_ptr<RawTcp> tcp, RawTcp::Connect(absl::MakeSpan(memory)));
  std::vector<Result> rows;
  for (const int64_t length : lengths) {
    for (const double part : {0.5, 0.99}) {
      if (part > 0.9 && length != 64) continue;
      ASSIGN_OR_RETURN(rows.emplace_back(), MeasureLength(extent, *bed, *tcp, ns, length, part));
    }
  }
  return rows;
}

}  // namespace reprise::bench
