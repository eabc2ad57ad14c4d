#include "engine/jinja/value.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace reprise::engine::jinja {
namespace {

template <typename T>
const T* Shared(const std::shared_ptr<T>* held) {
  return held == nullptr ? nullptr : held->get();
}

}  // namespace

Value::Value(List list) {
  for (const Value& element : list) depth_ = std::max(depth_, element.depth());
  ++depth_;
  data_ = std::make_shared<const List>(std::move(list));
}

Value::Value(Map map) {
  for (const auto& [key, member] : map) depth_ = std::max(depth_, member.depth());
  ++depth_;
  data_ = std::make_shared<const Map>(std::move(map));
}

const MarkedText* Value::string() const {
  return Shared(std::get_if<std::shared_ptr<const MarkedText>>(&data_));
}

const List* Value::list() const { return Shared(std::get_if<std::shared_ptr<const List>>(&data_)); }

const Map* Value::map() const {
  const auto* space = std::get_if<Namespace>(&data_);
  if (space != nullptr) return space->members;
  return Shared(std::get_if<std::shared_ptr<const Map>>(&data_));
}

Map* Value::members() const {
  const auto* space = std::get_if<Namespace>(&data_);
  return space == nullptr ? nullptr : space->members;
}

const MacroDefinition* Value::macro() const {
  const auto* macro = std::get_if<const MacroDefinition*>(&data_);
  return macro == nullptr ? nullptr : *macro;
}

bool Value::IsTrue() const {
  if (is_undefined() || is_none()) return false;
  if (boolean() != nullptr) return *boolean();
  if (integer() != nullptr) return *integer() != 0;
  if (string() != nullptr) return !string()->empty();
  if (list() != nullptr) return !list()->empty();
  return members() != nullptr || map() == nullptr || !map()->empty();
}

std::string Value::KindName() const {
  if (undefined() != nullptr)
    return absl::StrCat("\"", undefined()->name, "\", which is not defined");
  if (is_none()) return "none";
  if (boolean() != nullptr) return "a boolean";
  if (integer() != nullptr) return "a number";
  if (string() != nullptr) return "a string";
  if (list() != nullptr) return "a list";
  if (members() != nullptr) return "a namespace";
  return map() != nullptr ? "a mapping" : "a function";
}

const Value* FindMember(const Map& map, absl::string_view key) {
  const auto found =
      std::find_if(map.begin(), map.end(), [key](const auto& m) { return m.first == key; });
  return found == map.end() ? nullptr : &found->second;
}

void SetMember(Map* map, absl::string_view key, Value value) {
  const auto found =
      std::find_if(map->begin(), map->end(), [key](const auto& m) { return m.first == key; });
  if (found == map->end()) {
    map->emplace_back(std::string(key), std::move(value));
  } else {
    found->second = std::move(value);
  }
}

}  // namespace reprise::engine::jinja
