#include "engine/tokenizer/json_field.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {

using nlohmann::json;

JsonField::JsonField(const json* document, std::string file)
    : JsonField(document, std::move(file), "") {}

JsonField::JsonField(const json* value, std::string file, std::string place)
    : value_(value), file_(std::move(file)), place_(std::move(place)) {}

absl::Status JsonField::Error(absl::string_view cause) const {
  return absl::InvalidArgumentError(
      absl::StrCat(file_, ": ", place_, place_.empty() ? "" : ": ", cause));
}

absl::Status JsonField::WrongKind(absl::string_view expected) const {
  return Error(absl::StrCat("expected ", expected, ", found ", value_->type_name()));
}

std::optional<JsonField> JsonField::Find(absl::string_view key) const {
  if (!value_->is_object()) return std::nullopt;
  const auto member = value_->find(std::string(key));
  if (member == value_->end() || member->is_null()) return std::nullopt;
  return JsonField(&*member, file_, absl::StrCat(place_, place_.empty() ? "" : ".", key));
}

absl::StatusOr<JsonField> JsonField::Get(absl::string_view key) const {
  if (!value_->is_object()) return WrongKind("an object");
  std::optional<JsonField> member = Find(key);
  if (!member.has_value()) return Error(absl::StrCat("\"", key, "\" is missing"));
  return *std::move(member);
}

JsonField JsonField::At(size_t index) const {
  return JsonField(&(*value_)[index], file_, absl::StrCat(place_, "[", index, "]"));
}

absl::StatusOr<std::string> JsonField::GetString(absl::string_view key) const {
  ASSIGN_OR_RETURN(const JsonField field, Get(key));
  return field.AsString();
}

absl::StatusOr<std::vector<JsonField>> JsonField::GetElements(absl::string_view key) const {
  ASSIGN_OR_RETURN(const JsonField field, Get(key));
  ASSIGN_OR_RETURN(const json* const array, field.AsArray());
  std::vector<JsonField> elements;
  for (size_t i = 0; i < array->size(); ++i) elements.push_back(field.At(i));
  return elements;
}

absl::StatusOr<std::string> JsonField::AsString() const {
  if (!value_->is_string()) return WrongKind("a string");
  return value_->get_ref<const std::string&>();
}

absl::StatusOr<uint32_t> JsonField::AsIdBelow(uint32_t limit) const {
  if (!value_->is_number_integer()) return WrongKind("a token id");
  // Of the two integer kinds of the library only the signed one holds negative numbers.
  const bool in_range = value_->is_number_unsigned() && value_->get<uint64_t>() < limit;
  if (!in_range) {
    return Error(absl::StrCat("token id ", value_->dump(), " is out of range, 0 to ", limit - 1));
  }
  return value_->get<uint32_t>();
}

absl::StatusOr<const json*> JsonField::AsObject() const {
  if (!value_->is_object()) return WrongKind("an object");
  return value_;
}

absl::StatusOr<const json*> JsonField::AsArray() const {
  if (!value_->is_array()) return WrongKind("an array");
  return value_;
}

absl::StatusOr<std::string> JsonField::StringOr(absl::string_view key,
                                                absl::string_view fallback) const {
  const std::optional<JsonField> member = Find(key);
  if (!member.has_value()) return std::string(fallback);
  return member->AsString();
}

absl::StatusOr<bool> JsonField::BoolOr(absl::string_view key, bool fallback) const {
  const std::optional<JsonField> member = Find(key);
  if (!member.has_value()) return fallback;
  if (!member->value_->is_boolean()) return member->WrongKind("true or false");
  return member->value_->get<bool>();
}

}  // namespace reprise::engine
