// Table: the one printer of tables on the terminal. Cells that read as numbers are right-aligned.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace reprise::api {

class Table {
 public:
  explicit Table(std::vector<std::string> header);

  // REQUIRES: as many cells as the header has. What is not printable ASCII in them is escaped.
  void AddRow(std::vector<std::string> cells);

  // Prints header, a rule, and the rows; columns two spaces apart.
  void Print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;  // rows_[0] is the header
};

// 1234567 -> "1,234,567".
std::string WithThousands(int64_t value);

// Bytes with a binary unit and three digits: 2147483648 -> "2.00 GiB".
std::string BytesText(int64_t bytes);

}  // namespace reprise::api
