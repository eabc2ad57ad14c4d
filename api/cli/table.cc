#include "api/cli/table.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "cachestore/base/check.h"

namespace reprise::api {
namespace {

bool ReadsAsNumber(const std::string& cell) {
  return !cell.empty() &&
         (std::isdigit(static_cast<unsigned char>(cell[0])) != 0 ||
          ((cell[0] == '-' || cell[0] == '+') &&
           (cell.size() == 1 || std::isdigit(static_cast<unsigned char>(cell[1])))));
}

// With what is not printable ASCII as \xHH: a terminal obeys what others have put into a name.
std::string Printable(const std::string& cell) {
  std::string text;
  for (const char c : cell) {
    if (absl::ascii_isprint(static_cast<unsigned char>(c))) {
      text.push_back(c);
    } else {
      absl::StrAppendFormat(&text, "\\x%02x", static_cast<unsigned char>(c));
    }
  }
  return text;
}

}  // namespace

Table::Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

void Table::AddRow(std::vector<std::string> cells) {
  CHECK(cells.size() == rows_[0].size());
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

void Table::Print(std::ostream& out) const {
  const size_t num_columns = rows_[0].size();
  std::vector<size_t> widths(num_columns, 0);
  // A column of numbers has its header on the right as well.
  std::vector<char> right(num_columns, rows_.size() > 1 ? 1 : 0);
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t c = 0; c < num_columns; ++c) {
      widths[c] = std::max(widths[c], rows_[r][c].size());
      if (r > 0 && !rows_[r][c].empty() && !ReadsAsNumber(rows_[r][c])) right[c] = 0;
    }
  }
  const auto print_row = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t c = 0; c < num_columns; ++c) {
      if (c > 0) line += "  ";
      const std::string padding(widths[c] - row[c].size(), ' ');
      line += right[c] ? padding + row[c] : row[c] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  };
  print_row(rows_[0]);
  size_t rule = 2 * (num_columns - 1);
  for (const size_t width : widths) rule += width;
  out << std::string(rule, '-') << '\n';
  for (size_t r = 1; r < rows_.size(); ++r) print_row(rows_[r]);
}

std::string WithThousands(int64_t value) {
  std::string digits = absl::StrFormat("%d", value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, ",");
  }
  return digits;
}

std::string BytesText(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrFormat("%d B", bytes)
                   : absl::StrFormat("%.2f %s", value, kUnits[unit]);
}

}  // namespace reprise::api
