#include "api/http/json_fields.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/http/openai_error.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

const nlohmann::json* JsonFields::Take(const char* name) {
  taken_.insert(name);
  const auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

absl::Status JsonFields::Error(const char* name, absl::string_view message) const {
  const std::string param = absl::StrCat(path_, name);
  return ParamError(param, absl::StrCat(param, " ", message));
}

absl::Status JsonFields::TypeError(const char* name, const char* expected) const {
  return Error(name, absl::StrCat("must be ", expected, ", not ", object_->at(name).type_name()));
}

absl::StatusOr<std::optional<bool>> JsonFields::Bool(const char* name) {
  const nlohmann::json* value = Take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return TypeError(name, "a boolean");
  return value->get<bool>();
}

absl::StatusOr<std::optional<int64_t>> JsonFields::Int64(const char* name) {
  const nlohmann::json* value = Take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) return TypeError(name, "an integer");
  if (value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return Error(name, "has more than 63 bits");
  }
  return value->get<int64_t>();
}

absl::StatusOr<std::optional<int32_t>> JsonFields::Int32(const char* name) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> value, Int64(name));
  if (!value.has_value()) return std::nullopt;
  if (*value < std::numeric_limits<int32_t>::min() ||
      *value > std::numeric_limits<int32_t>::max()) {
    return Error(name, "has more than 31 bits");
  }
  return static_cast<int32_t>(*value);
}

absl::StatusOr<std::optional<float>> JsonFields::Float(const char* name) {
  const nlohmann::json* value = Take(name);
  if (value == nullptr) return std::nullopt;
  ASSIGN_OR_RETURN(const float number, FloatOf(*value, absl::StrCat(path_, name)));
  return number;
}

absl::StatusOr<std::optional<std::string>> JsonFields::String(const char* name) {
  const nlohmann::json* value = Take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return TypeError(name, "a string");
  return value->get<std::string>();
}

absl::Status JsonFields::CheckAllTaken() const {
  for (const auto& [name, value] : object_->items()) {
    if (value.is_null() || taken_.contains(name)) continue;
    const std::string param = absl::StrCat(path_, name.substr(0, kMaxEchoBytes));
    return ParamError(
        param, absl::StrCat(param, " is not supported by this server, and may not be ignored"),
        "unsupported_parameter");
  }
  return absl::OkStatus();
}

absl::StatusOr<float> FloatOf(const nlohmann::json& value, absl::string_view param) {
  if (!value.is_number()) {
    return ParamError(param, absl::StrCat(param, " must be a number, not ", value.type_name()));
  }
  const double number = value.get<double>();
  // So that every value that is let through is a finite float.
  constexpr double kMost = std::numeric_limits<float>::max();
  if (!(number >= -kMost && number <= kMost)) {
    return ParamError(param, absl::StrCat(param, " is out of range"));
  }
  return static_cast<float>(number);
}

}  // namespace reprise::api
