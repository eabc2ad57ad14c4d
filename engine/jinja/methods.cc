#include "engine/jinja/methods.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/jinja/operators.h"
#include "engine/jinja/python_text.h"

namespace reprise::engine::jinja {
namespace {

using Result = absl::StatusOr<Value>;

Result StripBy(const MarkedText& text, const CallArguments& arguments, Ends ends) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"chars"}));
  if (bound[0] == nullptr || bound[0]->is_none()) return Value(Strip(text, std::nullopt, ends));
  ASSIGN_OR_RETURN(const MarkedText set, StringArgument(bound[0], "what is stripped"));
  return Value(Strip(text, set.text(), ends));
}

List ToList(std::vector<MarkedText> texts) {
  List list;
  for (MarkedText& text : texts) list.push_back(Value(std::move(text)));
  return list;
}

Result SplitBy(const MarkedText& text, const CallArguments& arguments, Ends from, Budget* budget) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"sep", "maxsplit"}));
  ASSIGN_OR_RETURN(const int64_t most, IntegerArgument(bound[1], "the number of splits", -1));
  const bool is_by_space = bound[0] == nullptr || bound[0]->is_none();
  // At worst every byte is a part of its own.
  RETURN_IF_ERROR(budget->Spend(text.size() * 2));
  if (is_by_space && most < 0) {
    std::vector<MarkedText> words = SplitWords(text);
    RETURN_IF_ERROR(budget->Spend(words.size() * sizeof(MarkedText)));
    return Value(ToList(std::move(words)));
  }
  if (is_by_space) return absl::FailedPreconditionError("split by white space with a limit");
  ASSIGN_OR_RETURN(const MarkedText separator, StringArgument(bound[0], "what is split by"));
  if (separator.empty()) return absl::FailedPreconditionError("split by an empty string");
  const size_t most_cuts = most < 0 ? text.size() : static_cast<size_t>(most);
  std::vector<MarkedText> parts = from == Ends::kRight
                                      ? SplitFromRight(text, separator.text(), most_cuts)
                                      : Split(text, separator.text(), most_cuts);
  RETURN_IF_ERROR(budget->Spend(parts.size() * sizeof(MarkedText)));
  return Value(ToList(std::move(parts)));
}

Result ReplaceIn(const MarkedText& text, const CallArguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"old", "new"}));
  ASSIGN_OR_RETURN(const MarkedText from, StringArgument(bound[0], "what is replaced"));
  ASSIGN_OR_RETURN(const MarkedText to, StringArgument(bound[1], "the replacement"));
  // At worst there is a replacement for every byte.
  if (to.size() > 1) RETURN_IF_ERROR(budget->Spend(text.size()));
  RETURN_IF_ERROR(budget->Spend((text.size() / std::max<size_t>(from.size(), 1) + 1) * to.size()));
  return Value(Replace(text, from.text(), to));
}

// startswith, endswith, of one text or of any of a list.
Result HasEnd(const MarkedText& text, const CallArguments& arguments, Ends end) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"prefix"}));
  List options;
  if (bound[0] != nullptr && bound[0]->list() != nullptr) {
    options = *bound[0]->list();
  } else if (bound[0] != nullptr) {
    options = {*bound[0]};
  }
  if (options.empty()) return absl::FailedPreconditionError("nothing to look for");
  bool found = false;
  for (const Value& option : options) {
    ASSIGN_OR_RETURN(const MarkedText affix, StringArgument(&option, "what is looked for"));
    found = found || (end == Ends::kLeft ? absl::StartsWith(text.text(), affix.text())
                                         : absl::EndsWith(text.text(), affix.text()));
  }
  return Value(found);
}

Result InCase(const MarkedText& text, const CallArguments& arguments, Case to) {
  RETURN_IF_ERROR(Bind(arguments, {}).status());
  ASSIGN_OR_RETURN(MarkedText changed, ChangeCase(text, to));
  return Value(std::move(changed));
}

Result JoinBy(const MarkedText& separator, const CallArguments& arguments, Budget* budget) {
  ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"iterable"}));
  if (bound[0] == nullptr) return absl::FailedPreconditionError("nothing to join");
  ASSIGN_OR_RETURN(const List elements, ElementsOf(*bound[0], budget));
  MarkedText joined;
  for (size_t i = 0; i < elements.size(); ++i) {
    if (i > 0) joined.Append(separator);
    ASSIGN_OR_RETURN(const MarkedText text, StringArgument(&elements[i], "what is joined"));
    RETURN_IF_ERROR(budget->Spend(text.size() + separator.size() + kStep));
    joined.Append(text);
  }
  return Value(std::move(joined));
}

Result StringMethod(const MarkedText& text, absl::string_view name, const CallArguments& arguments,
                    Budget* budget) {
  RETURN_IF_ERROR(budget->Spend(text.size()));
  if (name == "strip") return StripBy(text, arguments, Ends::kBoth);
  if (name == "lstrip") return StripBy(text, arguments, Ends::kLeft);
  if (name == "rstrip") return StripBy(text, arguments, Ends::kRight);
  if (name == "split") return SplitBy(text, arguments, Ends::kLeft, budget);
  if (name == "rsplit") return SplitBy(text, arguments, Ends::kRight, budget);
  if (name == "startswith") return HasEnd(text, arguments, Ends::kLeft);
  if (name == "endswith") return HasEnd(text, arguments, Ends::kRight);
  if (name == "replace") return ReplaceIn(text, arguments, budget);
  if (name == "upper") return InCase(text, arguments, Case::kUpper);
  if (name == "lower") return InCase(text, arguments, Case::kLower);
  if (name == "title") return InCase(text, arguments, Case::kTitle);
  if (name == "capitalize") return InCase(text, arguments, Case::kCapitalize);
  if (name == "join") return JoinBy(text, arguments, budget);
  return absl::FailedPreconditionError(
      absl::StrCat("method \"", name, "\" of a string is not supported"));
}

Result MapMethod(const Map& map, absl::string_view name, const CallArguments& arguments,
                 Budget* budget) {
  RETURN_IF_ERROR(budget->Spend(map.size() * 4 * sizeof(Value)));
  if (name == "get") {
    ASSIGN_OR_RETURN(const auto bound, Bind(arguments, {"key", "default"}));
    ASSIGN_OR_RETURN(const MarkedText key, StringArgument(bound[0], "the key"));
    const Value* member = FindMember(map, key.text());
    if (member != nullptr) return *member;
    return bound[1] == nullptr ? Value() : *bound[1];
  }
  RETURN_IF_ERROR(Bind(arguments, {}).status());
  if (name == "items") return Value(ItemsOf(map));
  List list;
  for (const auto& [key, value] : map) {
    if (name == "keys") list.push_back(Value::Own(key));
    if (name == "values") list.push_back(value);
  }
  if (name == "keys" || name == "values") return Value(std::move(list));
  return absl::FailedPreconditionError(
      absl::StrCat("method \"", name, "\" of a mapping is not supported"));
}

}  // namespace

List ItemsOf(const Map& map) {
  List items;
  for (const auto& [key, value] : map) items.push_back(Value(List{Value::Own(key), value}));
  return items;
}

absl::StatusOr<Value> CallMethod(const Value& object, absl::string_view name,
                                 const CallArguments& arguments, Budget* budget) {
  if (object.string() != nullptr) return StringMethod(*object.string(), name, arguments, budget);
  if (object.map() != nullptr && object.members() == nullptr) {
    return MapMethod(*object.map(), name, arguments, budget);
  }
  return absl::FailedPreconditionError(
      absl::StrCat("method \"", name, "\" of ", object.KindName(), " is not supported"));
}

}  // namespace reprise::engine::jinja
