#include "engine/model/json_object.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/json/json_text.h"

namespace reprise::engine {

absl::StatusOr<JsonObject> JsonObject::Parse(absl::string_view text, const std::string& origin) {
  ASSIGN_OR_RETURN(nlohmann::json value, ParseJson(text, origin));
  if (!value.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": is a JSON ", value.type_name(), ", not an object"));
  }
  return JsonObject(std::move(value), origin);
}

absl::StatusOr<JsonObject> JsonObject::ReadFile(const std::string& path, int64_t max_bytes) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, max_bytes));
  return Parse(text, path);
}

bool JsonObject::Has(const char* field) const {
  const auto it = value_.find(field);
  return it != value_.end() && !it->is_null();
}

absl::StatusOr<JsonObject> JsonObject::Object(const char* field) const {
  if (!Has(field)) return Error(field, "is missing");
  const nlohmann::json& inner = value_.at(field);
  if (!inner.is_object()) return TypeError(field, "an object");
  return JsonObject(inner, absl::StrCat(origin_, ": ", field));
}

absl::StatusOr<int64_t> JsonObject::Int(const char* field, Range range) const {
  if (!Has(field)) return Error(field, "is missing");
  return IntOr(field, range, 0);
}

absl::StatusOr<int64_t> JsonObject::IntOr(const char* field, Range range, int64_t fallback) const {
  if (!Has(field)) return fallback;
  const nlohmann::json& value = value_.at(field);
  if (!value.is_number_integer()) return TypeError(field, "an integer");
  const bool too_large =
      value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (too_large || value.get<int64_t>() < range.least || value.get<int64_t>() > range.most) {
    return Error(field, absl::StrCat("is ", ShortDump(value), "; it must be from ", range.least,
                                     " to ", range.most));
  }
  return value.get<int64_t>();
}

absl::StatusOr<double> JsonObject::Positive(const char* field) const {
  if (!Has(field)) return Error(field, "is missing");
  return PositiveOr(field, 1);
}

absl::StatusOr<double> JsonObject::PositiveOr(const char* field, double fallback) const {
  if (!Has(field)) return fallback;
  const nlohmann::json& value = value_.at(field);
  if (!value.is_number()) return TypeError(field, "a number");
  const double number = value.get<double>();
  if (!std::isfinite(number) || number <= 0) {
    return Error(field, absl::StrCat("is ", ShortDump(value), "; it must be above 0"));
  }
  return number;
}

absl::StatusOr<bool> JsonObject::BoolOr(const char* field, bool fallback) const {
  if (!Has(field)) return fallback;
  const nlohmann::json& value = value_.at(field);
  if (!value.is_boolean()) return TypeError(field, "true or false");
  return value.get<bool>();
}

absl::StatusOr<std::string> JsonObject::StringOr(const char* field,
                                                 const std::string& fallback) const {
  if (!Has(field)) return fallback;
  const nlohmann::json& value = value_.at(field);
  if (!value.is_string()) return TypeError(field, "a string");
  return value.get<std::string>();
}

absl::Status JsonObject::Error(const char* field, const std::string& reason) const {
  return absl::InvalidArgumentError(absl::StrCat(origin_, ": field \"", field, "\" ", reason));
}

absl::Status JsonObject::TypeError(const char* field, const char* expected) const {
  return Error(field, absl::StrCat("is ", ShortDump(value_.at(field)), "; it must be ", expected));
}

std::string ShortDump(const nlohmann::json& value) {
  constexpr size_t kMost = 80;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMost) text = absl::StrCat(text.substr(0, kMost), "...");
  return text;
}

}  // namespace reprise::engine
