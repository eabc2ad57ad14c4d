#include "bench/report.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/cli/table.h"

namespace reprise::bench {
namespace {

std::optional<double> Ratio(double ours, const std::optional<double>& other) {
  if (!other.has_value() || *other == 0) return std::nullopt;
  return ours / *other;
}

nlohmann::json OrNull(const std::optional<double>& value) {
  return value.has_value() ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

std::string Cell(const std::optional<double>& value) {
  return value.has_value() ? absl::StrFormat("%.4g", *value) : "-";
}

}  // namespace

std::optional<double> Result::OursOverLimit() const { return Ratio(ours, limit); }

std::optional<double> Result::OursOverPeer() const { return Ratio(ours, peer); }

std::optional<bool> Result::Pass() const {
  if (!goal.has_value()) return std::nullopt;
  std::optional<double> figure = ours;
  if (goal->of == Goal::Of::kOursOverLimit) figure = OursOverLimit();
  if (goal->of == Goal::Of::kOursOverPeer) figure = OursOverPeer();
  if (!figure.has_value()) return false;
  return goal->bound == Goal::Bound::kAtLeast ? *figure >= goal->value : *figure <= goal->value;
}

std::string ToText(const Goal& goal) {
  const char* of = goal.of == Goal::Of::kOurs            ? "ours"
                   : goal.of == Goal::Of::kOursOverLimit ? "ours/limit"
                                                         : "ours/peer";
  return absl::StrFormat("%s %s %g", of,
                         goal.bound == Goal::Bound::kAtLeast ? ">=" : "<=", goal.value);
}

std::string ToJson(const Result& result) {
  nlohmann::ordered_json json;
  json["metric"] = result.metric;
  json["unit"] = result.unit;
  json["ours"] = result.ours;
  json["limit"] = OrNull(result.limit);
  json["peer"] = OrNull(result.peer);
  json["ours_over_limit"] = OrNull(result.OursOverLimit());
  json["ours_over_peer"] = OrNull(result.OursOverPeer());
  json["goal"] = result.goal.has_value() ? nlohmann::json(ToText(*result.goal)) : nullptr;
  const std::optional<bool> pass = result.Pass();
  json["pass"] = pass.has_value() ? nlohmann::json(*pass) : nullptr;
  json["context"] = result.context;
  return json.dump();
}

void PrintTable(const std::vector<Result>& results, std::ostream& out) {
  api::Table table({"metric", "unit", "ours", "limit", "peer", "/limit", "/peer", "goal", "pass"});
  for (const Result& result : results) {
    const std::optional<bool> pass = result.Pass();
    table.AddRow({result.metric, result.unit, Cell(result.ours), Cell(result.limit),
                  Cell(result.peer), Cell(result.OursOverLimit()), Cell(result.OursOverPeer()),
                  result.goal.has_value() ? ToText(*result.goal) : "-",
                  !pass.has_value() ? "-" : (*pass ? "yes" : "NO")});
  }
  table.Print(out);
}

absl::Status AppendJsonLines(const std::vector<Result>& results, const std::string& path) {
  std::ofstream file(path, std::ios::app);
  for (const Result& result : results) file << ToJson(result) << '\n';
  file.flush();
  if (!file) {
    return absl::InternalError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace reprise::bench
