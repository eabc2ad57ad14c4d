// JsonField: a value inside of a JSON file together with its place, so that every complaint names
// file and place. Points into the document, which must outlive it. Immutable, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::engine {

class JsonField {
 public:
  // The root of `document`, which was read from `file`.
  JsonField(const nlohmann::json* document, std::string file);

  // All errors are kInvalidArgument and read "<file>: <place>: <cause>".
  absl::Status Error(absl::string_view cause) const;

  // Member `key`; nullopt when it is missing or null, or this is not an object.
  std::optional<JsonField> Find(absl::string_view key) const;
  // Member `key`. Error: this is not an object, or the member is missing or null.
  absl::StatusOr<JsonField> Get(absl::string_view key) const;
  // Element `index`. REQUIRES: this is an array that has it.
  JsonField At(size_t index) const;

  // Member `key` as a string; the elements of the array that it is.
  absl::StatusOr<std::string> GetString(absl::string_view key) const;
  absl::StatusOr<std::vector<JsonField>> GetElements(absl::string_view key) const;

  absl::StatusOr<std::string> AsString() const;
  // A whole number below `limit`.
  absl::StatusOr<uint32_t> AsIdBelow(uint32_t limit) const;
  // The value itself, when it is an object (array).
  absl::StatusOr<const nlohmann::json*> AsObject() const;
  absl::StatusOr<const nlohmann::json*> AsArray() const;

  // Member `key` as a string (bool), or `fallback` when it is missing or null.
  absl::StatusOr<std::string> StringOr(absl::string_view key, absl::string_view fallback) const;
  absl::StatusOr<bool> BoolOr(absl::string_view key, bool fallback) const;

 private:
  JsonField(const nlohmann::json* value, std::string file, std::string place);
  absl::Status WrongKind(absl::string_view expected) const;

  const nlohmann::json* value_;
  std::string file_;
  std::string place_;  // empty for the root
};

}  // namespace reprise::engine
