#include "engine/jinja/operators.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/jinja/python_text.h"

namespace reprise::engine::jinja {
namespace {

absl::Status Mismatch(absl::string_view what, const Value& a, const Value& b) {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot ", what, " ", a.KindName(), " and ", b.KindName()));
}

std::optional<int64_t> NumberOf(const Value& value) {
  if (value.integer() != nullptr) return *value.integer();
  if (value.boolean() != nullptr) return *value.boolean() ? 1 : 0;
  return std::nullopt;
}

absl::StatusOr<bool> EqualLists(const List& a, const List& b, Budget* budget) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSIGN_OR_RETURN(const bool equal, Equal(a[i], b[i], budget));
    if (!equal) return false;
  }
  return true;
}

absl::StatusOr<bool> EqualMaps(const Map& a, const Map& b, Budget* budget) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a) {
    const Value* other = FindMember(b, key);
    if (other == nullptr) return false;
    ASSIGN_OR_RETURN(const bool equal, Equal(value, *other, budget));
    if (!equal) return false;
  }
  return true;
}

absl::StatusOr<Value> Arithmetic(Binary::Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  if (op == Binary::Operator::kAdd) overflows = __builtin_add_overflow(a, b, &result);
  if (op == Binary::Operator::kSubtract) overflows = __builtin_sub_overflow(a, b, &result);
  if (op == Binary::Operator::kMultiply) overflows = __builtin_mul_overflow(a, b, &result);
  if (op == Binary::Operator::kFloorDivide || op == Binary::Operator::kModulo) {
    if (b == 0) return absl::FailedPreconditionError("division by zero");
    overflows = a == std::numeric_limits<int64_t>::min() && b == -1;
    if (!overflows) {
      // Python rounds down, C++ towards zero.
      const int64_t down = a % b != 0 && (a < 0) != (b < 0) ? 1 : 0;
      result = op == Binary::Operator::kModulo ? a % b + down * b : a / b - down;
    }
  }
  if (overflows) return absl::FailedPreconditionError("a number leaves the range of 64 bits");
  return Value(result);
}

absl::StatusOr<Value> Join(const MarkedText& a, const MarkedText& b, Budget* budget) {
  RETURN_IF_ERROR(budget->Spend(a.size() + b.size()));
  MarkedText joined = a;
  joined.Append(b);
  return Value(std::move(joined));
}

absl::StatusOr<Value> Add(const Value& a, const Value& b, Budget* budget) {
  if (a.string() != nullptr && b.string() != nullptr) return Join(*a.string(), *b.string(), budget);
  if (a.list() != nullptr && b.list() != nullptr) {
    RETURN_IF_ERROR(budget->Spend((a.list()->size() + b.list()->size()) * sizeof(Value)));
    List joined = *a.list();
    joined.insert(joined.end(), b.list()->begin(), b.list()->end());
    return Value(std::move(joined));
  }
  return Mismatch("add", a, b);
}

// Below 0, 0 or above for a < b, a == b, a > b.
absl::StatusOr<int> Compare(const Value& a, const Value& b) {
  const std::optional<int64_t> x = NumberOf(a);
  const std::optional<int64_t> y = NumberOf(b);
  if (x.has_value() && y.has_value()) return *x < *y ? -1 : *x > *y ? 1 : 0;
  if (a.string() != nullptr && b.string() != nullptr) {
    return a.string()->text().compare(b.string()->text());
  }
  return Mismatch("compare", a, b);
}

// Where index `at` of `length` elements is; nullopt outside.
std::optional<size_t> Place(int64_t at, size_t length) {
  if (at < 0) at += static_cast<int64_t>(length);
  if (at < 0 || at >= static_cast<int64_t>(length)) return std::nullopt;
  return static_cast<size_t>(at);
}

absl::StatusOr<std::optional<int64_t>> Bound(const Value& value) {
  if (value.is_none()) return std::nullopt;
  if (value.integer() != nullptr) return *value.integer();
  return absl::FailedPreconditionError(
      absl::StrCat("a slice needs numbers, not ", value.KindName()));
}

}  // namespace

absl::StatusOr<Value> Apply(Binary::Operator op, const Value& a, const Value& b, Budget* budget) {
  using Operator = Binary::Operator;
  switch (op) {
    case Operator::kEqual:
    case Operator::kNotEqual: {
      ASSIGN_OR_RETURN(const bool equal, Equal(a, b, budget));
      return Value(equal == (op == Operator::kEqual));
    }
    case Operator::kIn:
    case Operator::kNotIn: {
      ASSIGN_OR_RETURN(const bool contains, Contains(b, a, budget));
      return Value(contains == (op == Operator::kIn));
    }
    case Operator::kJoin: {
      ASSIGN_OR_RETURN(const MarkedText left, ToText(a));
      ASSIGN_OR_RETURN(const MarkedText right, ToText(b));
      return Join(left, right, budget);
    }
    case Operator::kLess:
    case Operator::kLessOrEqual:
    case Operator::kGreater:
    case Operator::kGreaterOrEqual: {
      ASSIGN_OR_RETURN(const int order, Compare(a, b));
      return Value(op == Operator::kLess          ? order < 0
                   : op == Operator::kLessOrEqual ? order <= 0
                   : op == Operator::kGreater     ? order > 0
                                                  : order >= 0);
    }
    default:
      break;
  }
  const std::optional<int64_t> x = NumberOf(a);
  const std::optional<int64_t> y = NumberOf(b);
  if (x.has_value() && y.has_value()) return Arithmetic(op, *x, *y);
  if (op == Operator::kAdd) return Add(a, b, budget);
  return Mismatch("calculate with", a, b);
}

absl::StatusOr<Value> Apply(Unary::Operator op, const Value& value) {
  if (op == Unary::Operator::kNot) return Value(!value.IsTrue());
  const std::optional<int64_t> number = NumberOf(value);
  if (!number.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat("a sign before ", value.KindName()));
  }
  if (op == Unary::Operator::kPlus) return Value(*number);
  return Arithmetic(Binary::Operator::kSubtract, 0, *number);
}

absl::StatusOr<bool> Equal(const Value& a, const Value& b, Budget* budget) {
  RETURN_IF_ERROR(budget->Spend(kStep));
  if (NumberOf(a).has_value()) return NumberOf(a) == NumberOf(b);
  if (a.string() != nullptr) {
    return b.string() != nullptr && a.string()->text() == b.string()->text();
  }
  if (a.list() != nullptr) {
    if (b.list() == nullptr) return false;
    return EqualLists(*a.list(), *b.list(), budget);
  }
  if (a.members() != nullptr || b.members() != nullptr) return a.members() == b.members();
  if (a.map() != nullptr) {
    if (b.map() == nullptr) return false;
    return EqualMaps(*a.map(), *b.map(), budget);
  }
  if (a.function() != nullptr) return b.function() != nullptr && *a.function() == *b.function();
  if (a.macro() != nullptr) return a.macro() == b.macro();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

absl::StatusOr<bool> Contains(const Value& container, const Value& element, Budget* budget) {
  if (container.is_undefined()) return false;
  if (container.list() != nullptr) {
    for (const Value& member : *container.list()) {
      ASSIGN_OR_RETURN(const bool equal, Equal(member, element, budget));
      if (equal) return true;
    }
    return false;
  }
  if (element.string() != nullptr && container.string() != nullptr) {
    return absl::StrContains(container.string()->text(), element.string()->text());
  }
  if (container.map() != nullptr && container.members() == nullptr) {
    return element.string() != nullptr &&
           FindMember(*container.map(), element.string()->text()) != nullptr;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("cannot look for ", element.KindName(), " in ", container.KindName()));
}

absl::StatusOr<MarkedText> ToText(const Value& value) {
  if (value.string() != nullptr) return *value.string();
  if (value.is_undefined()) return MarkedText();
  if (value.is_none()) return MarkedText("None");
  if (value.boolean() != nullptr) return MarkedText(*value.boolean() ? "True" : "False");
  if (value.integer() != nullptr) return MarkedText(absl::StrCat(*value.integer()));
  return absl::FailedPreconditionError(
      absl::StrCat("writing ", value.KindName(), " as text is not supported, only by tojson"));
}

absl::StatusOr<List> ElementsOf(const Value& value, Budget* budget) {
  List elements;
  if (value.is_undefined()) return elements;
  if (value.list() != nullptr) {
    RETURN_IF_ERROR(budget->Spend(value.list()->size() * sizeof(Value)));
    return *value.list();
  }
  if (value.string() != nullptr) {
    RETURN_IF_ERROR(budget->Spend(value.string()->size() * (sizeof(MarkedText) + sizeof(Value))));
    for (const TextRange& character : CharactersOf(value.string()->text())) {
      elements.push_back(Value(value.string()->Slice(character)));
    }
    return elements;
  }
  if (value.map() != nullptr && value.members() == nullptr) {
    RETURN_IF_ERROR(budget->Spend(value.map()->size() * (sizeof(MarkedText) + sizeof(Value))));
    for (const auto& [key, member] : *value.map()) elements.push_back(Value::Own(key));
    return elements;
  }
  return absl::FailedPreconditionError(absl::StrCat("cannot go over ", value.KindName()));
}

absl::StatusOr<Value> MemberOf(const Value& value, const Value& index) {
  if (value.is_undefined()) {
    return absl::FailedPreconditionError(absl::StrCat(value.KindName(), " but used"));
  }
  if (index.string() != nullptr) {
    const std::string& key = index.string()->text();
    const Value* member = value.map() == nullptr ? nullptr : FindMember(*value.map(), key);
    return member == nullptr ? Value(Undefined{key}) : *member;
  }
  if (index.integer() == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("an index cannot be ", index.KindName()));
  }
  const Undefined outside{absl::StrCat("[", *index.integer(), "]")};
  if (value.list() != nullptr) {
    const std::optional<size_t> place = Place(*index.integer(), value.list()->size());
    return place.has_value() ? (*value.list())[*place] : Value(outside);
  }
  if (value.string() != nullptr) {
    const std::vector<TextRange> characters = CharactersOf(value.string()->text());
    const std::optional<size_t> place = Place(*index.integer(), characters.size());
    return place.has_value() ? Value(value.string()->Slice(characters[*place])) : Value(outside);
  }
  return Value(outside);
}

absl::StatusOr<Value> SliceOf(const Value& value, const Value& start, const Value& stop,
                              const Value& step, Budget* budget) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> first, Bound(start));
  ASSIGN_OR_RETURN(const std::optional<int64_t> last, Bound(stop));
  ASSIGN_OR_RETURN(const std::optional<int64_t> stride, Bound(step));
  if (stride == 0) return absl::FailedPreconditionError("a slice by steps of 0");
  if (value.list() == nullptr && value.string() == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("a slice of ", value.KindName()));
  }
  if (value.list() != nullptr) {
    RETURN_IF_ERROR(budget->Spend(value.list()->size() * sizeof(Value)));
    List slice;
    for (const size_t i : SliceIndices(value.list()->size(), first, last, stride.value_or(1))) {
      slice.push_back((*value.list())[i]);
    }
    return Value(std::move(slice));
  }
  RETURN_IF_ERROR(budget->Spend(value.string()->size() * sizeof(TextRange)));
  const std::vector<TextRange> characters = CharactersOf(value.string()->text());
  MarkedText slice;
  for (const size_t i : SliceIndices(characters.size(), first, last, stride.value_or(1))) {
    slice.AppendSlice(*value.string(), characters[i]);
  }
  return Value(std::move(slice));
}

}  // namespace reprise::engine::jinja
