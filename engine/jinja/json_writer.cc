#include "engine/jinja/json_writer.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine::jinja {
namespace {

constexpr int kMostDepth = 64;
constexpr int64_t kMostIndent = 64;

std::string Escaped(char c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    default:
      const unsigned char byte = static_cast<unsigned char>(c);
      return byte < 0x20 ? absl::StrFormat("\\u%04x", byte) : std::string(1, c);
  }
}

class Writer {
 public:
  Writer(std::optional<int64_t> indent, Budget* budget) : indent_(indent), budget_(*budget) {}

  absl::Status Write(const Value& value, int depth) {
    if (depth > kMostDepth) return absl::FailedPreconditionError("tojson of a value that deep");
    RETURN_IF_ERROR(budget_.Spend(kStep));
    if (value.string() != nullptr) return WriteString(*value.string());
    if (value.list() != nullptr) {
      return WriteAll('[', ']', *value.list(), depth,
                      [&](const Value& element) { return Write(element, depth + 1); });
    }
    if (value.map() != nullptr && value.members() == nullptr) {
      return WriteAll('{', '}', *value.map(), depth, [&](const auto& member) {
        RETURN_IF_ERROR(WriteString(MarkedText(member.first)));
        text_.AppendOwn(": ");
        return Write(member.second, depth + 1);
      });
    }
    if (value.is_none()) {
      text_.AppendOwn("null");
    } else if (value.boolean() != nullptr) {
      text_.AppendOwn(*value.boolean() ? "true" : "false");
    } else if (value.integer() != nullptr) {
      text_.AppendOwn(absl::StrCat(*value.integer()));
    } else {
      return absl::FailedPreconditionError(absl::StrCat("tojson of ", value.KindName()));
    }
    return absl::OkStatus();
  }

  MarkedText Take() && { return std::move(text_); }

 private:
  absl::Status WriteString(const MarkedText& text) {
    RETURN_IF_ERROR(budget_.Spend(text.size()));
    text_.AppendOwn("\"");
    for (size_t i = 0; i < text.size(); ++i) {
      const std::string escaped = Escaped(text.text()[i]);
      if (text.TouchesPlain({i, i + 1})) {
        text_.AppendPlain(escaped);
      } else {
        text_.AppendOwn(escaped);
      }
    }
    text_.AppendOwn("\"");
    return absl::OkStatus();
  }

  absl::Status NewLine(int depth) {
    const size_t num_spaces = static_cast<size_t>(*indent_) * static_cast<size_t>(depth);
    RETURN_IF_ERROR(budget_.Spend(num_spaces));
    text_.AppendOwn(absl::StrCat("\n", std::string(num_spaces, ' ')));
    return absl::OkStatus();
  }

  template <typename Members, typename WriteMember>
  absl::Status WriteAll(char open, char close, const Members& members, int depth,
                        WriteMember write) {
    text_.AppendOwn({&open, 1});
    bool is_first = true;
    for (const auto& member : members) {
      if (!is_first) text_.AppendOwn(indent_.has_value() ? "," : ", ");
      if (indent_.has_value()) RETURN_IF_ERROR(NewLine(depth + 1));
      RETURN_IF_ERROR(write(member));
      is_first = false;
    }
    if (indent_.has_value() && !members.empty()) RETURN_IF_ERROR(NewLine(depth));
    text_.AppendOwn({&close, 1});
    return absl::OkStatus();
  }

  const std::optional<int64_t> indent_;
  Budget& budget_;
  MarkedText text_;
};

}  // namespace

absl::StatusOr<MarkedText> ToJson(const Value& value, std::optional<int64_t> indent,
                                  Budget* budget) {
  if (indent.has_value() && (*indent < 0 || *indent > kMostIndent)) {
    return absl::FailedPreconditionError(absl::StrCat("tojson with indent ", *indent));
  }
  Writer writer(indent, budget);
  RETURN_IF_ERROR(writer.Write(value, 0));
  return std::move(writer).Take();
}

}  // namespace reprise::engine::jinja
