#include "api/cli/byte_size.h"

#include <cmath>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace reprise::api {
namespace {

// Bytes of one `unit`; 0 when it is none.
int64_t UnitBytes(absl::string_view unit) {
  const std::string lower = absl::AsciiStrToLower(unit);
  if (lower.empty() || lower == "b") return 1;
  const size_t power = absl::string_view("kmgt").find(lower[0]);
  if (power == absl::string_view::npos) return 0;
  const absl::string_view suffix = absl::string_view(lower).substr(1);
  int64_t base = 0;
  if (suffix == "b") base = 1000;
  if (suffix.empty() || suffix == "i" || suffix == "ib") base = 1024;
  int64_t bytes = base;
  for (size_t i = 0; i < power; ++i) bytes *= base;
  return bytes;
}

}  // namespace

absl::StatusOr<int64_t> ParseByteSize(absl::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  const size_t end = trimmed.find_first_not_of("0123456789.");
  const absl::string_view digits = trimmed.substr(0, end);
  const absl::string_view unit =
      end == absl::string_view::npos ? "" : absl::StripAsciiWhitespace(trimmed.substr(end));
  const int64_t unit_bytes = UnitBytes(unit);
  int64_t whole = 0;
  double fraction = 0;
  if (unit_bytes > 0 && absl::SimpleAtoi(digits, &whole) && whole <= INT64_MAX / unit_bytes) {
    return whole * unit_bytes;
  }
  if (unit_bytes > 0 && absl::SimpleAtod(digits, &fraction) && fraction >= 0) {
    const double bytes = fraction * static_cast<double>(unit_bytes);
    if (bytes < 9.2e18 && bytes == std::floor(bytes)) return static_cast<int64_t>(bytes);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not a size in bytes, such as 4096, 512MiB or 8GB"));
}

std::string FormatByteSize(int64_t bytes) {
  static constexpr const char* kUnits[] = {"", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrCat(bytes, kUnits[unit]);
}

}  // namespace reprise::api
