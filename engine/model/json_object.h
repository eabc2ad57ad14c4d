// JsonObject: a JSON file of a model folder, with typed, range-checked access to its fields. Every
// error names the file, the field and the value. Immutable after reading, thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace reprise::engine {

class JsonObject {
 public:
  struct Range {
    int64_t least;
    int64_t most;
  };

  // Of JSON text; `origin` names it in errors. kInvalidArgument: not an object. Else as ParseJson.
  static absl::StatusOr<JsonObject> Parse(absl::string_view text, const std::string& origin);
  // Of a whole file. Errors as ReadTextFile and Parse.
  static absl::StatusOr<JsonObject> ReadFile(const std::string& path, int64_t max_bytes);

  // `origin` names the object in errors. REQUIRES: value.is_object().
  JsonObject(nlohmann::json value, std::string origin)
      : value_(std::move(value)), origin_(std::move(origin)) {}

  // True when the field is there and not null.
  bool Has(const char* field) const;
  // The object in `field`. kInvalidArgument: missing, or not an object.
  absl::StatusOr<JsonObject> Object(const char* field) const;

  // kInvalidArgument: missing or null, of another type, or out of range.
  absl::StatusOr<int64_t> Int(const char* field, Range range) const;
  // As Int; `fallback` when the field is missing or null.
  absl::StatusOr<int64_t> IntOr(const char* field, Range range, int64_t fallback) const;
  // A finite number above 0. kInvalidArgument: missing or null, of another type, or out of range.
  absl::StatusOr<double> Positive(const char* field) const;
  // As Positive; `fallback` when the field is missing or null.
  absl::StatusOr<double> PositiveOr(const char* field, double fallback) const;
  // `fallback` when missing or null. kInvalidArgument: of another type.
  absl::StatusOr<bool> BoolOr(const char* field, bool fallback) const;
  absl::StatusOr<std::string> StringOr(const char* field, const std::string& fallback) const;

  // kInvalidArgument: `ORIGIN: field "FIELD" REASON`.
  absl::Status Error(const char* field, const std::string& reason) const;

  const nlohmann::json& value() const { return value_; }
  const std::string& origin() const { return origin_; }

 private:
  absl::Status TypeError(const char* field, const char* expected) const;

  nlohmann::json value_;
  std::string origin_;
};

// `value` as it would be printed in an error, cut to a readable length.
std::string ShortDump(const nlohmann::json& value);

}  // namespace reprise::engine
