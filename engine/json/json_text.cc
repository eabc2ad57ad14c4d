#include "engine/json/json_text.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

// How deep arrays and objects nest in `text`, which need not be well-formed: no deeper than this if
// it parses at all.
int DepthOf(absl::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

// What the library says of malformed text, without its code ("[json.exception.parse_error.101] ")
// and without more than a readable length of the text, which it quotes.
absl::string_view CauseIn(absl::string_view what) {
  const size_t end_of_code = what.find("] ");
  if (end_of_code != absl::string_view::npos) what.remove_prefix(end_of_code + 2);
  return what.substr(0, 200);
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path, int64_t max_bytes) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  }
  if (error) return absl::ErrnoToStatus(error.value(), path);
  if (status.type() != std::filesystem::file_type::regular) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  }
  const auto size = std::filesystem::file_size(path, error);
  if (error) return absl::ErrnoToStatus(error.value(), path);
  if (size > static_cast<uint64_t>(max_bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", size, " bytes; at most ", max_bytes, " are read"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::ErrnoToStatus(errno, path);
  try {
    std::string text(size, '\0');
    in.read(text.data(), static_cast<std::streamsize>(size));
    if (in.gcount() == static_cast<std::streamsize>(size)) return text;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(path, ": no memory for ", size, " bytes"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": only ", in.gcount(), " of ", size, " bytes could be read"));
}

absl::Status CheckJsonDepth(absl::string_view text, absl::string_view origin) {
  const int depth = DepthOf(text);
  if (depth <= kMostJsonDepth) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      origin, ": nests ", depth, " arrays and objects; at most ", kMostJsonDepth, " are read"));
}

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, absl::string_view origin) {
  RETURN_IF_ERROR(CheckJsonDepth(text, origin));
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": not JSON: ", CauseIn(error.what())));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat(origin, ": no memory for the JSON of ", text.size(), " bytes"));
  }
}

}  // namespace reprise::engine
