#include "api/http/raw_member.h"

#include <cstddef>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"

namespace reprise::api {
namespace {

// The place behind the string that begins at `at`, at its quote.
size_t EndOfString(absl::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

// The place of the comma or bracket that ends the value which begins at `at`.
size_t EndOfValue(absl::string_view text, size_t at) {
  int depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (depth == 0 && (c == ',' || c == '}')) return at;
    if (c == '"') {
      at = EndOfString(text, at);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
  }
  return at;
}

}  // namespace

std::string RawMember(absl::string_view object, absl::string_view name) {
  absl::string_view found;
  size_t at = object.find('{') + 1;
  while (at < object.size()) {
    const size_t key = object.find('"', at);
    if (key == absl::string_view::npos) break;
    const size_t key_end = EndOfString(object, key);
    const size_t colon = object.find(':', key_end);
    if (colon == absl::string_view::npos) break;
    const size_t end = EndOfValue(object, colon + 1);
    const absl::string_view quoted = object.substr(key, key_end - key);
    // A name may be written with escapes.
    if (nlohmann::json::parse(quoted.begin(), quoted.end()).get<std::string>() == name) {
      found = object.substr(colon + 1, end - colon - 1);
    }
    at = end + 1;
  }
  return std::string(absl::StripAsciiWhitespace(found));
}

}  // namespace reprise::api
