#include "bench/hitrate_table.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/cli/table.h"
#include "bench/hitrate/score.h"

namespace reprise::bench {
namespace {

std::vector<std::string> Row(const std::string& name, size_t num_cells,
                             const std::function<double(size_t capacity)>& ratio_at) {
  std::vector<std::string> row = {name};
  for (size_t c = 0; c < num_cells; ++c) row.push_back(absl::StrFormat("%.1f", 100 * ratio_at(c)));
  return row;
}

const char* NameOf(Figure figure) {
  return figure == Figure::kBlocks   ? "block hits"
         : figure == Figure::kTokens ? "tokens of prefill saved"
                                     : "cost of prefill saved";
}

}  // namespace

void PrintSweep(const Sweep& sweep, Figure figure, std::ostream& out) {
  // Answers add blocks that no request may ever look up.
  out << sweep.trace << ": " << api::WithThousands(sweep.infinite.requests)
      << " requests look up blocks " << api::WithThousands(sweep.infinite.blocks)
      << " times; with answers there are " << api::WithThousands(sweep.num_blocks)
      << " different ones; " << NameOf(figure) << " in % by capacity in % of those\n";
  std::vector<std::string> header = {"policy"};
  for (const double percent : sweep.percents) header.push_back(absl::StrFormat("%g", percent));
  const size_t num_cells = sweep.percents.size();
  api::Table table(std::move(header));
  for (const Sweep::Line& line : sweep.lines) {
    table.AddRow(
        Row(line.policy, num_cells, [&](size_t c) { return line.cells[c].tally.ratio(figure); }));
  }
  table.AddRow(Row("optimum", num_cells, [&](size_t c) { return sweep.optimum[c].ratio(figure); }));
  if (figure == Figure::kCost) {
    table.AddRow(Row("cost bound", num_cells, [&](size_t c) { return sweep.cost_bound[c]; }));
  }
  table.AddRow(Row("infinite", num_cells, [&](size_t) { return sweep.infinite.ratio(figure); }));
  table.Print(out);
  out << "\n";
}

void PrintTiers(const TierSweep& sweep, std::ostream& out) {
  out << sweep.trace << ": block hits in % by tier; GPU "
      << api::WithThousands(sweep.capacities.gpu) << ", RAM "
      << api::WithThousands(sweep.capacities.ram) << ", disk "
      << api::WithThousands(sweep.capacities.disk) << " blocks\n";
  api::Table table({"policy", "admission", "gpu", "ram", "disk", "all", "tokens", "cost saved",
                    "disk writes", "blocks"});
  for (const TierSweep::Line& line : sweep.lines) {
    const auto percent = [](double ratio) { return absl::StrFormat("%.1f", 100 * ratio); };
    const auto of_blocks = [&](int64_t hits) {
      return percent(static_cast<double>(hits) / static_cast<double>(line.tally.blocks));
    };
    table.AddRow({line.policy, line.admission, of_blocks(line.tiers.gpu_hits),
                  of_blocks(line.tiers.ram_hits), of_blocks(line.tiers.disk_hits),
                  percent(line.tally.block_ratio()), percent(line.tally.token_ratio()),
                  percent(line.tally.cost_ratio()), api::WithThousands(line.tiers.disk_writes),
                  api::WithThousands(line.tally.blocks)});
  }
  table.Print(out);
  out << "\n";
}

}  // namespace reprise::bench
