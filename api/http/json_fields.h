// JsonFields: the members of one JSON object of a request, each taken once by name and type. What
// nobody took is unknown. A member that is null counts as absent. Thread-compatible.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::api {

class JsonFields {
 public:
  // `path` stands before names in errors: "" or "stream_options.". `object` must be an object, and
  // outlive this.
  JsonFields(const nlohmann::json* object, std::string path)
      : object_(object), path_(std::move(path)) {}

  // The value; null when it is absent.
  const nlohmann::json* Take(const char* name);

  // The same by type; empty when absent. kInvalidArgument (with the parameter): of another type, or
  // not in the range of the type.
  absl::StatusOr<std::optional<bool>> Bool(const char* name);
  absl::StatusOr<std::optional<int32_t>> Int32(const char* name);
  absl::StatusOr<std::optional<int64_t>> Int64(const char* name);
  absl::StatusOr<std::optional<float>> Float(const char* name);
  absl::StatusOr<std::optional<std::string>> String(const char* name);

  // kInvalidArgument: a member that is neither taken nor null, which is named.
  absl::Status CheckAllTaken() const;

  // kInvalidArgument for member `name`.
  absl::Status Error(const char* name, absl::string_view message) const;

 private:
  absl::Status TypeError(const char* name, const char* expected) const;

  const nlohmann::json* const object_;
  const std::string path_;
  std::set<std::string> taken_;
};

// Of nothing but a number: `value` as a float. kInvalidArgument (naming `param`): it is none, or
// too large for one.
absl::StatusOr<float> FloatOf(const nlohmann::json& value, absl::string_view param);

}  // namespace reprise::api
