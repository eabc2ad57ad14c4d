#include "bench/hitrate/cells_csv.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/hitrate/score.h"

namespace reprise::bench {
namespace {

constexpr char kHeader[] =
    "trace,policy,percent,capacity_blocks,requests,blocks,hit_blocks,block_ratio,tokens,"
    "hit_tokens,token_ratio,cost_ratio,cost_bound,gap_closed,lru_memory,seconds\n";

void AppendLine(const Sweep& sweep, const std::string& policy, size_t c, const SweepCell& cell,
                std::string& out) {
  const auto number = [](std::optional<double> value) {
    return value.has_value() ? absl::StrFormat("%.6g", *value) : std::string();
  };
  const Tally& tally = cell.tally;
  absl::StrAppendFormat(&out, "%s,%s,%g,%d,%d,%d,%d,%.6f,%d,%d,%.6f,%.6f,%.6f,%s,%s,%.3f\n",
                        sweep.trace, policy, sweep.percents[c], sweep.capacities[c], tally.requests,
                        tally.blocks, tally.hit_blocks, tally.block_ratio(), tally.tokens,
                        tally.hit_tokens, tally.token_ratio(), tally.cost_ratio(),
                        sweep.cost_bound[c], number(GapClosedIn(sweep, cell, c)),
                        number(cell.lru_memory), cell.seconds);
}

}  // namespace

std::string CellsCsv(const std::vector<Sweep>& sweeps) {
  std::string out = kHeader;
  for (const Sweep& sweep : sweeps) {
    for (size_t c = 0; c < sweep.percents.size(); ++c) {
      for (const Sweep::Line& line : sweep.lines) {
        AppendLine(sweep, line.policy, c, line.cells[c], out);
      }
      AppendLine(sweep, "optimum", c, {.tally = sweep.optimum[c]}, out);
      AppendLine(sweep, "infinite", c, {.tally = sweep.infinite}, out);
    }
  }
  return out;
}

absl::Status WriteText(const std::string& text, const std::string& path) {
  std::ofstream file(path, std::ios::trunc | std::ios::binary);
  file << text;
  file.flush();
  if (!file) {
    return absl::InternalError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace reprise::bench
