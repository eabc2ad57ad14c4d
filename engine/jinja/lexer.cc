#include "engine/jinja/lexer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "cachestore/base/status_macros.h"
#include "engine/jinja/string_literal.h"

namespace reprise::engine::jinja {
namespace {

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
}

// The longest ones first.
constexpr absl::string_view kOperators[] = {"**", "//", "==", "!=", "<=", ">=", "+", "-", "*",
                                            "/",  "%",  "~",  "<",  ">",  "=",  ".", ",", ":",
                                            "|",  "(",  ")",  "[",  "]",  "{",  "}"};

class Lexer {
 public:
  explicit Lexer(absl::string_view source)
      : source_(absl::StrReplaceAll(source, {{"\r\n", "\n"}, {"\r", "\n"}})), rest_(source_) {
    absl::ConsumeSuffix(&rest_, "\n");
  }

  absl::StatusOr<std::vector<Token>> Run() {
    while (!rest_.empty()) {
      const size_t begin = NextTag();
      TakeText(begin);
      if (rest_.empty()) break;
      if (rest_[1] == '#') {
        RETURN_IF_ERROR(SkipComment());
      } else {
        RETURN_IF_ERROR(TakeTag(rest_[1] == '{' ? '}' : '%'));
      }
    }
    Add(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  absl::Status Error(absl::string_view cause) const {
    return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", cause));
  }

  void Add(TokenType type, absl::string_view text, int64_t number = 0) {
    tokens_.push_back({type, line_, std::string(text), number});
  }

  void Advance(size_t num_bytes) {
    line_ += static_cast<int>(std::count(rest_.begin(), rest_.begin() + num_bytes, '\n'));
    rest_.remove_prefix(num_bytes);
  }

  // Offset of the next "{{", "{%" or "{#"; the end when there is none.
  size_t NextTag() const {
    for (size_t at = rest_.find('{'); at != absl::string_view::npos; at = rest_.find('{', at + 1)) {
      const absl::string_view next = rest_.substr(at + 1, 1);
      if (next == "{" || next == "%" || next == "#") return at;
    }
    return rest_.size();
  }

  // The text before the tag at `begin`, less the white space that the tag takes.
  void TakeText(size_t begin) {
    absl::string_view text = rest_.substr(0, begin);
    const absl::string_view sign = rest_.substr(std::min(begin + 2, rest_.size()), 1);
    if (begin < rest_.size() && sign == "-") {
      text = absl::StripTrailingAsciiWhitespace(text);
    } else if (begin < rest_.size() && sign != "+" && rest_[begin + 1] != '{') {
      // White space alone between the start of the line and the tag.
      const size_t line_end = text.rfind('\n');
      const size_t indent = line_end == absl::string_view::npos ? 0 : line_end + 1;
      const bool at_line_start = indent > 0 || after_line_end_;
      if (at_line_start && absl::StripAsciiWhitespace(text.substr(indent)).empty()) {
        text = text.substr(0, indent);
      }
    }
    if (!text.empty()) Add(TokenType::kText, text);
    Advance(begin);
  }

  // Behind the end of a tag: "-" takes all white space; {% %} takes one line end, unless "+".
  void TakeSpaceBehind(char sign, TokenType tag) {
    size_t num_bytes = 0;
    if (sign == '-') {
      num_bytes = rest_.size() - absl::StripLeadingAsciiWhitespace(rest_).size();
    } else if (tag == TokenType::kTag && sign != '+' && absl::StartsWith(rest_, "\n")) {
      num_bytes = 1;
    }
    after_line_end_ = num_bytes > 0 && rest_[num_bytes - 1] == '\n';
    Advance(num_bytes);
  }

  absl::Status SkipComment() {
    const size_t end = rest_.find("#}", 2);
    if (end == absl::string_view::npos) return Error("a comment {# is not closed");
    const char sign = rest_[end - 1];
    Advance(end + 2);
    TakeSpaceBehind(sign, TokenType::kTag);
    return absl::OkStatus();
  }

  // A tag that ends with `closing` and a brace.
  absl::Status TakeTag(char closing) {
    const bool is_output = closing == '}';
    Add(is_output ? TokenType::kOutput : TokenType::kTag, rest_.substr(0, 2));
    Advance(2);
    if (absl::StartsWith(rest_, "-") || absl::StartsWith(rest_, "+")) Advance(1);
    const std::string end = absl::StrCat(std::string(1, closing), "}");
    int depth = 0;  // of brackets: "}}" may close two maps
    while (true) {
      Advance(rest_.size() - absl::StripLeadingAsciiWhitespace(rest_).size());
      if (rest_.empty()) return Error(absl::StrCat("a tag is not closed by ", end));
      const bool has_sign = (rest_[0] == '-' || (rest_[0] == '+' && !is_output)) &&
                            absl::StartsWith(rest_.substr(1), end);
      if (depth == 0 && (has_sign || absl::StartsWith(rest_, end))) {
        const char sign = rest_[0];
        Advance(has_sign ? 3 : 2);
        Add(is_output ? TokenType::kOutputEnd : TokenType::kTagEnd, end);
        TakeSpaceBehind(sign, is_output ? TokenType::kOutput : TokenType::kTag);
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(TakeToken(&depth));
    }
  }

  absl::Status TakeToken(int* depth) {
    const char c = rest_[0];
    if (c == '\'' || c == '"') return TakeString();
    if (absl::ascii_isdigit(static_cast<unsigned char>(c))) return TakeNumber();
    if (IsNameCharacter(c)) {
      const auto end = std::find_if_not(rest_.begin(), rest_.end(), IsNameCharacter);
      const size_t num_bytes = static_cast<size_t>(end - rest_.begin());
      Add(TokenType::kName, rest_.substr(0, num_bytes));
      Advance(num_bytes);
      return absl::OkStatus();
    }
    for (const absl::string_view op : kOperators) {
      if (!absl::StartsWith(rest_, op)) continue;
      if (op == "(" || op == "[" || op == "{") ++*depth;
      if (op == ")" || op == "]" || op == "}") --*depth;
      Add(TokenType::kOperator, op);
      Advance(op.size());
      return absl::OkStatus();
    }
    return Error(absl::StrCat("'", rest_.substr(0, 1), "' is not known here"));
  }

  absl::Status TakeString() {
    size_t end = 1;
    while (end < rest_.size() && rest_[end] != rest_[0]) end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) return Error("a string is not closed");
    absl::StatusOr<std::string> text = ResolveEscapes(rest_.substr(1, end - 1));
    if (!text.ok()) return Error(text.status().message());
    Add(TokenType::kString, *text);
    Advance(end + 1);
    return absl::OkStatus();
  }

  absl::Status TakeNumber() {
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), IsNameCharacter);
    const size_t num_bytes = static_cast<size_t>(end - rest_.begin());
    const absl::string_view digits = rest_.substr(0, num_bytes);
    const absl::string_view behind = rest_.substr(num_bytes, 2);
    const bool is_fraction = behind.size() == 2 && behind[0] == '.' &&
                             absl::ascii_isdigit(static_cast<unsigned char>(behind[1]));
    int64_t number = 0;
    if (is_fraction || !absl::SimpleAtoi(digits, &number)) {
      return Error(absl::StrCat("number ", digits, is_fraction ? behind : "",
                                " is not supported, only decimal integers are"));
    }
    Add(TokenType::kInteger, digits, number);
    Advance(num_bytes);
    return absl::OkStatus();
  }

  const std::string source_;
  absl::string_view rest_;
  int line_ = 1;
  bool after_line_end_ = true;  // the last tag took a line end, or there was none yet
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(absl::string_view source) {
  return Lexer(source).Run();
}

}  // namespace reprise::engine::jinja
