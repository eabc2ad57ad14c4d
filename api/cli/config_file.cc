#include "api/cli/config_file.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

bool IsBlankOrComment(absl::string_view text) { return text.empty() || text.front() == '#'; }

absl::Status Trailing(absl::string_view what, absl::string_view rest) {
  return absl::InvalidArgumentError(absl::StrCat("\"", rest, "\" stands behind ", what));
}

// The value that begins `text` with a quote.
absl::StatusOr<std::string> ParseQuoted(absl::string_view text) {
  const char quote = text.front();
  std::string value;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote) {
      const absl::string_view rest = absl::StripAsciiWhitespace(text.substr(i + 1));
      if (!IsBlankOrComment(rest)) return Trailing("the closing quote", rest);
      return value;
    }
    if (quote == '"' && text[i] == '\\') {
      ++i;
      if (i == text.size() || (text[i] != '"' && text[i] != '\\')) {
        return absl::InvalidArgumentError(
            "in double quotes, \\ must be followed by \" or \\; single quotes take it as it is");
      }
    }
    value.push_back(text[i]);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the quote ", text.substr(0, 1), " does not close"));
}

absl::StatusOr<std::string> ParseValue(absl::string_view text) {
  if (absl::StartsWith(text, "\"") || absl::StartsWith(text, "'")) return ParseQuoted(text);
  const absl::string_view bare = absl::StripAsciiWhitespace(text.substr(0, text.find('#')));
  if (bare.empty()) return absl::InvalidArgumentError("the value is missing");
  if (bare.find_first_of("\"'") != absl::string_view::npos) {
    return absl::InvalidArgumentError("a quote must stand around the whole value");
  }
  return std::string(bare);
}

absl::StatusOr<std::string> ParseSection(absl::string_view line) {
  const size_t end = line.find(']');
  if (end == absl::string_view::npos) {
    return absl::InvalidArgumentError("the section's ] is missing");
  }
  const absl::string_view rest = absl::StripAsciiWhitespace(line.substr(end + 1));
  if (!IsBlankOrComment(rest)) return Trailing("the section", rest);
  return std::string(absl::StripAsciiWhitespace(line.substr(1, end - 1)));
}

// Reads one line that is neither blank nor a comment.
absl::Status ParseLine(absl::string_view line, std::string* section,
                       std::vector<ConfigSetting>* settings) {
  if (line.front() == '[') {
    ASSIGN_OR_RETURN(*section, ParseSection(line));
    return absl::OkStatus();
  }
  const size_t equals = line.find('=');
  const absl::string_view name = absl::StripAsciiWhitespace(line.substr(0, equals));
  if (equals == absl::string_view::npos || name.empty()) {
    return absl::InvalidArgumentError("it is not of the form `name = value`");
  }
  ASSIGN_OR_RETURN(std::string value,
                   ParseValue(absl::StripAsciiWhitespace(line.substr(equals + 1))));
  settings->push_back({*section, std::string(name), std::move(value)});
  return absl::OkStatus();
}

}  // namespace

std::string ConfigSetting::FullName() const {
  return section.empty() ? name : absl::StrCat(section, ".", name);
}

absl::StatusOr<std::vector<ConfigSetting>> ParseConfig(absl::string_view text) {
  std::vector<ConfigSetting> settings;
  std::string section;
  int64_t number = 0;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (IsBlankOrComment(line)) continue;
    const absl::Status status = ParseLine(line, &section, &settings);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", status.message()));
    }
  }
  return settings;
}

}  // namespace reprise::api
