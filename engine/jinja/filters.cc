#include "engine/jinja/filters.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cachestore/base/status_macros.h"
#include "engine/jinja/json_writer.h"
#include "engine/jinja/methods.h"
#include "engine/jinja/operators.h"
#include "engine/jinja/python_text.h"
#include "engine/jinja/value_tests.h"

namespace reprise::engine::jinja {
namespace {

using Result = absl::StatusOr<Value>;
using Arguments = CallArguments;

// Filters that are the methods of that name, of the value as text.
Result TextFilter(absl::string_view method, const Value& value, const Arguments& arguments,
                  Budget* budget) {
  ASSIGN_OR_RETURN(MarkedText text, ToText(value));
  return CallMethod(Value(std::move(text)), method, arguments, budget);
}

Result Trim(const Value& value, const Arguments& arguments, Budget* budget) {
  return TextFilter("strip", value, arguments, budget);
}
Result Upper(const Value& value, const Arguments& arguments, Budget* budget) {
  return TextFilter("upper", value, arguments, budget);
}
Result Lower(const Value& value, const Arguments& arguments, Budget* budget) {
  return TextFilter("lower", value, arguments, budget);
}
Result Title(const Value& value, const Arguments& arguments, Budget* budget) {
  return TextFilter("title", value, arguments, budget);
}
Result Capitalize(const Value& value, const Arguments& arguments, Budget* budget) {
  return TextFilter("capitalize", value, arguments, budget);
}
Result ReplaceFilter(const Value& value, const Arguments& arguments, Budget* budget) {
  return TextFilter("replace", value, arguments, budget);
}

Result Length(const Value& value, const Arguments& arguments, Budget* budget) {
  RETURN_IF_ERROR(Bind(arguments, {}).status());
  size_t length = 0;
  if (value.string() != nullptr) {
    RETURN_IF_ERROR(budget->Spend(value.string()->size()));
    length = CharactersOf(value.string()->text()).size();
  } else if (value.list() != nullptr) {
    length = value.list()->size();
  } else if (value.map() != nullptr && value.members() == nullptr) {
    length = value.map()->size();
  } else if (!value.is_undefined()) {
    return absl::FailedPreconditionError(absl::StrCat("length of ", value.KindName()));
  }
  return Value(static_cast<int64_t>(length));
}

// The attribute of an element that a dotted path names.
Result AttributeOf(Value value, absl::string_view path) {
  for (const absl::string_view name : absl::StrSplit(path, '.')) {
    ASSIGN_OR_RETURN(value, MemberOf(value, Value::Own(name)));
  }
  return value;
}

Result Join(const Value& value, const Arguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"d", "attribute"}));
  MarkedText separator;
  if (bound[0] != nullptr) {
    ASSIGN_OR_RETURN(separator, ToText(*bound[0]));
  }
  ASSIGN_OR_RETURN(const List elements, ElementsOf(value, budget));
  MarkedText joined;
  for (size_t i = 0; i < elements.size(); ++i) {
    Value element = elements[i];
    if (bound[1] != nullptr) {
      ASSIGN_OR_RETURN(const MarkedText path, StringArgument(bound[1], "the attribute"));
      ASSIGN_OR_RETURN(element, AttributeOf(element, path.text()));
    }
    ASSIGN_OR_RETURN(const MarkedText text, ToText(element));
    RETURN_IF_ERROR(budget->Spend(text.size() + separator.size() + kStep));
    if (i > 0) joined.Append(separator);
    joined.Append(text);
  }
  return Value(std::move(joined));
}

Result ToJsonFilter(const Value& value, const Arguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"indent"}));
  ASSIGN_OR_RETURN(const int64_t indent, IntegerArgument(bound[0], "indent", -1));
  const bool has_indent = bound[0] != nullptr && !bound[0]->is_none();
  ASSIGN_OR_RETURN(MarkedText text,
                   ToJson(value, has_indent ? std::optional(indent) : std::nullopt, budget));
  return Value(std::move(text));
}

Result Default(const Value& value, const Arguments& arguments, Budget*) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"default_value", "boolean"}));
  const bool also_if_false = bound[1] != nullptr && bound[1]->IsTrue();
  if (!value.is_undefined() && !(also_if_false && !value.IsTrue())) return value;
  return bound[0] == nullptr ? Value::Own("") : *bound[0];
}

Result ListFilter(const Value& value, const Arguments& arguments, Budget* budget) {
  RETURN_IF_ERROR(Bind(arguments, {}).status());
  ASSIGN_OR_RETURN(List elements, ElementsOf(value, budget));
  return Value(std::move(elements));
}

Result First(const Value& value, const Arguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const Value elements, ListFilter(value, arguments, budget));
  return elements.list()->empty() ? Value(Undefined{"first"}) : elements.list()->front();
}

Result Last(const Value& value, const Arguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const Value elements, ListFilter(value, arguments, budget));
  return elements.list()->empty() ? Value(Undefined{"last"}) : elements.list()->back();
}

Result Reverse(const Value& value, const Arguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const Value elements, ListFilter(value, arguments, budget));
  List reversed(elements.list()->rbegin(), elements.list()->rend());
  if (value.string() == nullptr) return Value(std::move(reversed));
  MarkedText text;
  for (const Value& character : reversed) text.Append(*character.string());
  return Value(std::move(text));
}

Result Items(const Value& value, const Arguments& arguments, Budget* budget) {
  if (value.is_undefined()) return Value(List());
  return CallMethod(value, "items", arguments, budget);
}

Result StringFilter(const Value& value, const Arguments& arguments, Budget*) {
  RETURN_IF_ERROR(Bind(arguments, {}).status());
  ASSIGN_OR_RETURN(MarkedText text, ToText(value));
  return Value(std::move(text));
}

Result Int(const Value& value, const Arguments& arguments, Budget*) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"default"}));
  ASSIGN_OR_RETURN(const int64_t fallback, IntegerArgument(bound[0], "the default", 0));
  if (value.integer() != nullptr) return value;
  if (value.boolean() != nullptr) return Value(int64_t{*value.boolean()});
  int64_t number = 0;
  const bool is_number =
      value.string() != nullptr && absl::SimpleAtoi(value.string()->text(), &number);
  return Value(is_number ? number : fallback);
}

// The arguments behind the first `count`, which a filter passes on.
Arguments Behind(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + count);
  return rest;
}

enum class Kept { kPassing, kFailing };

// The elements that a test keeps: the test's name is the argument at `name_at`, its own arguments
// are behind it; what is tested is `tested_of` an element.
template <typename TestedOf>
Result Filtered(const Value& value, const Arguments& arguments, size_t name_at, Kept kept,
                TestedOf tested_of, Budget* budget) {
  ASSIGN_OR_RETURN(const List elements, ElementsOf(value, budget));
  const bool has_test = arguments.positional.size() > name_at;
  Arguments own;
  MarkedText name;
  if (has_test) {
    ASSIGN_OR_RETURN(name, StringArgument(&arguments.positional[name_at], "the test"));
    own = Behind(arguments, name_at + 1);
  }
  List list;
  for (const Value& element : elements) {
    RETURN_IF_ERROR(budget->Spend(kStep));
    ASSIGN_OR_RETURN(const Value tested, tested_of(element));
    bool passes = tested.IsTrue();
    if (has_test) {
      ASSIGN_OR_RETURN(passes, PassesTest(name.text(), tested, own, budget));
    }
    if (passes == (kept == Kept::kPassing)) list.push_back(element);
  }
  return Value(std::move(list));
}

Result SelectBy(const Value& value, const Arguments& arguments, Kept kept, Budget* budget) {
  return Filtered(
      value, arguments, 0, kept, [](const Value& element) -> Result { return element; }, budget);
}

Result SelectByAttribute(const Value& value, const Arguments& arguments, Kept kept,
                         Budget* budget) {
  if (arguments.positional.empty()) return absl::FailedPreconditionError("no attribute is named");
  ASSIGN_OR_RETURN(const MarkedText path,
                   StringArgument(&arguments.positional[0], "the attribute"));
  return Filtered(
      value, arguments, 1, kept,
      [&path](const Value& element) { return AttributeOf(element, path.text()); }, budget);
}

Result Select(const Value& value, const Arguments& arguments, Budget* budget) {
  return SelectBy(value, arguments, Kept::kPassing, budget);
}
Result Reject(const Value& value, const Arguments& arguments, Budget* budget) {
  return SelectBy(value, arguments, Kept::kFailing, budget);
}
Result SelectAttr(const Value& value, const Arguments& arguments, Budget* budget) {
  return SelectByAttribute(value, arguments, Kept::kPassing, budget);
}
Result RejectAttr(const Value& value, const Arguments& arguments, Budget* budget) {
  return SelectByAttribute(value, arguments, Kept::kFailing, budget);
}

// map('filter', arguments) or map(attribute='path', default=value).
Result MapFilter(const Value& value, const Arguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const List elements, ElementsOf(value, budget));
  List mapped;
  if (!arguments.positional.empty()) {
    ASSIGN_OR_RETURN(const MarkedText name, StringArgument(&arguments.positional[0], "the filter"));
    if (name.text() == "map") return absl::FailedPreconditionError("map of map");
    const Arguments own = Behind(arguments, 1);
    for (const Value& element : elements) {
      ASSIGN_OR_RETURN(Value result, ApplyFilter(name.text(), element, own, budget));
      mapped.push_back(std::move(result));
    }
    return Value(std::move(mapped));
  }
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"attribute", "default"}));
  ASSIGN_OR_RETURN(const MarkedText path, StringArgument(bound[0], "the attribute"));
  for (const Value& element : elements) {
    RETURN_IF_ERROR(budget->Spend(kStep));
    ASSIGN_OR_RETURN(Value result, AttributeOf(element, path.text()));
    mapped.push_back(result.is_undefined() && bound[1] != nullptr ? *bound[1] : std::move(result));
  }
  return Value(std::move(mapped));
}

struct NamedFilter {
  const char* name;
  Result (*apply)(const Value& value, const Arguments& arguments, Budget* budget);
};

// Nothing is escaped, so "safe" changes nothing.
constexpr NamedFilter kFilters[] = {
    {"capitalize", Capitalize},
    {"count", Length},
    {"d", Default},
    {"default", Default},
    {"first", First},
    {"int", Int},
    {"items", Items},
    {"join", Join},
    {"last", Last},
    {"length", Length},
    {"list", ListFilter},
    {"lower", Lower},
    {"map", MapFilter},
    {"reject", Reject},
    {"rejectattr", RejectAttr},
    {"replace", ReplaceFilter},
    {"reverse", Reverse},
    {"safe", StringFilter},
    {"select", Select},
    {"selectattr", SelectAttr},
    {"string", StringFilter},
    {"title", Title},
    {"tojson", ToJsonFilter},
    {"trim", Trim},
    {"upper", Upper},
};

}  // namespace

absl::StatusOr<Value> ApplyFilter(absl::string_view name, const Value& value,
                                  const CallArguments& arguments, Budget* budget) {
  RETURN_IF_ERROR(budget->Spend(kStep));
  for (const NamedFilter& filter : kFilters) {
    if (name == filter.name) return filter.apply(value, arguments, budget);
  }
  return absl::FailedPreconditionError(absl::StrCat("filter \"", name, "\" is not supported"));
}

}  // namespace reprise::engine::jinja
