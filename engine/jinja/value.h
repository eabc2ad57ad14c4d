// Value: what expressions of a template are about: Python's values, as far as templates use them.
// Copies share strings, lists and maps, none of which ever changes, and namespaces, which do and
// which the Interpreter owns. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/text/marked_text.h"

namespace reprise::engine::jinja {

struct MacroDefinition;
class Value;

// What a name or key that does not exist gives; `name` is for complaints.
struct Undefined {
  std::string name;
};
struct None {};
// Functions that every template has.
enum class Function { kNamespace, kRaiseException, kRange };

using List = std::vector<Value>;
using Map = std::vector<std::pair<std::string, Value>>;  // in order of insertion, keys apart

class Value {
 public:
  // A map whose members `set` may change; it must outlive the value.
  struct Namespace {
    Map* members;
  };

  Value() : data_(None{}) {}
  explicit Value(Undefined undefined) : data_(std::move(undefined)) {}
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(MarkedText text) : data_(std::make_shared<const MarkedText>(std::move(text))) {}
  explicit Value(List list);
  explicit Value(Map map);
  explicit Value(Namespace space) : data_(space) {}
  explicit Value(Function function) : data_(function) {}
  // `macro` must outlive the value.
  explicit Value(const MacroDefinition* macro) : data_(macro) {}
  // Text of the template's or the caller's own.
  static Value Own(absl::string_view text) { return Value(MarkedText(std::string(text))); }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }

  // Null when this is of another kind. Of maps and namespaces alike.
  const MarkedText* string() const;
  const List* list() const;
  const Map* map() const;
  // Null when this is no namespace.
  Map* members() const;
  const MacroDefinition* macro() const;
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const Function* function() const { return std::get_if<Function>(&data_); }
  const Undefined* undefined() const { return std::get_if<Undefined>(&data_); }

  // Lists and maps inside of each other, this one included; 0 for others.
  int depth() const { return depth_; }

  // As Python's bool().
  bool IsTrue() const;
  // "a string", "a list", ...: for complaints.
  std::string KindName() const;

 private:
  std::variant<Undefined, None, bool, int64_t, std::shared_ptr<const MarkedText>,
               std::shared_ptr<const List>, std::shared_ptr<const Map>, Namespace, Function,
               const MacroDefinition*>
      data_;
  int depth_ = 0;
};

// The member `key`; null when there is none.
const Value* FindMember(const Map& map, absl::string_view key);
// Sets member `key`, which need not exist.
void SetMember(Map* map, absl::string_view key, Value value);

}  // namespace reprise::engine::jinja
