#include "engine/tokenizer/oniguruma_syntax.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

// Members of a class: what Oniguruma means by \s, \w and \h. PCRE2's own \s has U+180E as well and
// its \w has fewer characters.
constexpr absl::string_view kSpace = "\\p{White_Space}";
constexpr absl::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
constexpr absl::string_view kHexDigit = "0-9A-Fa-f";

class Translator {
 public:
  explicit Translator(absl::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        RETURN_IF_ERROR(Escape());
      } else if (in_class_) {
        RETURN_IF_ERROR(ClassMember());
      } else if (c == '[') {
        in_class_ = true;
        Copy(1);
      } else if (c == '(') {
        RETURN_IF_ERROR(Group());
      } else if (c == '{') {
        RETURN_IF_ERROR(Interval());
      } else {
        Copy(1);
      }
    }
    return out_;
  }

 private:
  absl::string_view Rest() const { return pattern_.substr(at_); }

  absl::Status Unsupported(absl::string_view construct) const {
    return absl::InvalidArgumentError(
        absl::StrCat("'", construct, "' at offset ", at_, " is not supported"));
  }

  void Copy(size_t num_bytes) {
    const absl::string_view taken = Rest().substr(0, num_bytes);
    absl::StrAppend(&out_, taken);
    at_ += taken.size();
  }

  void Replace(size_t num_bytes, absl::string_view replacement) {
    absl::StrAppend(&out_, replacement);
    at_ += num_bytes;
  }

  // A set of characters: itself inside of a class, a class of its own outside.
  void ReplaceBySet(absl::string_view members) {
    Replace(2, in_class_ ? std::string(members) : absl::StrCat("[", members, "]"));
  }

  absl::Status ReplaceByComplement(absl::string_view members) {
    if (in_class_) return Unsupported(absl::StrCat("[", Rest().substr(0, 2), "]"));
    Replace(2, absl::StrCat("[^", members, "]"));
    return absl::OkStatus();
  }

  absl::Status Escape() {
    if (Rest().size() < 2) return Unsupported("\\");
    const absl::string_view escape = Rest().substr(0, 2);
    switch (escape[1]) {
      case 's':
        Replace(2, kSpace);
        return absl::OkStatus();
      case 'S':
        Replace(2, "\\P{White_Space}");
        return absl::OkStatus();
      case 'w':
        ReplaceBySet(kWord);
        return absl::OkStatus();
      case 'W':
        return ReplaceByComplement(kWord);
      case 'h':
        ReplaceBySet(kHexDigit);
        return absl::OkStatus();
      case 'H':
        return ReplaceByComplement(kHexDigit);
      case 'v':
        Replace(2, "\\x0b");
        return absl::OkStatus();
      case 'p':
      case 'P':
        return Property();
      case 'x':
      case 'u':
        return CodePoint();
      case 'd':
      case 'D':
      case 'r':
      case 'n':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        Copy(2);
        return absl::OkStatus();
      case 'A':
      case 'z':
      case 'Z':
        if (in_class_) return Unsupported(absl::StrCat("[", escape, "]"));
        Copy(2);
        return absl::OkStatus();
      default:
        if (absl::ascii_isalnum(static_cast<unsigned char>(escape[1]))) return Unsupported(escape);
        Copy(2);
        return absl::OkStatus();
    }
  }

  absl::Status Property() {
    const size_t end = Rest().find('}');
    if (Rest().size() < 3 || Rest()[2] != '{' || end == absl::string_view::npos) {
      return Unsupported(Rest().substr(0, 3));
    }
    Copy(end + 1);
    return absl::OkStatus();
  }

  // \x{H...}, \xHH below 0x80 (above, Oniguruma means a byte, not a character) and \uHHHH.
  absl::Status CodePoint() {
    if (absl::StartsWith(Rest(), "\\x{")) {
      const size_t end = Rest().find('}');
      if (end == absl::string_view::npos) return Unsupported("\\x{");
      Copy(end + 1);
      return absl::OkStatus();
    }
    const size_t num_digits = Rest()[1] == 'u' ? 4 : 2;
    const absl::string_view digits = Rest().substr(2, num_digits);
    bool is_number = digits.size() == num_digits;
    for (const char c : digits) {
      is_number = is_number && absl::ascii_isxdigit(static_cast<unsigned char>(c));
    }
    if (!is_number || (num_digits == 2 && digits[0] > '7')) {
      return Unsupported(Rest().substr(0, 2 + num_digits));
    }
    Replace(2 + num_digits, absl::StrCat("\\x{", digits, "}"));
    return absl::OkStatus();
  }

  absl::Status ClassMember() {
    // A bracket or && inside of a class is a nested class or an intersection to Oniguruma.
    if (Rest()[0] == '[') return Unsupported("[ inside of []");
    if (absl::StartsWith(Rest(), "&&")) return Unsupported("&&");
    if (Rest()[0] == ']') in_class_ = false;
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status Group() {
    for (const absl::string_view same : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"}) {
      if (absl::StartsWith(Rest(), same)) {
        Copy(same.size());
        return absl::OkStatus();
      }
    }
    // In the middle of a pattern the two disagree on how far (?i) reaches.
    const bool leading_option = at_ == 0 && absl::StartsWith(Rest(), "(?i)");
    if (!leading_option && (absl::StartsWith(Rest(), "(?") || absl::StartsWith(Rest(), "(*"))) {
      return Unsupported(Rest().substr(0, 4));
    }
    Copy(leading_option ? 4 : 1);
    return absl::OkStatus();
  }

  absl::Status Interval() {
    const size_t end = Rest().find('}');
    if (end != absl::string_view::npos && end + 1 < Rest().size()) {
      const char next = Rest()[end + 1];
      const bool is_fixed = Rest().substr(0, end).find(',') == absl::string_view::npos;
      // To PCRE2 {1,2}+ gives nothing back, to Oniguruma it is a repeated repetition; to PCRE2 {2}?
      // is {2}, to Oniguruma it is (?:{2})?.
      if (next == '+' || (next == '?' && is_fixed)) return Unsupported(Rest().substr(0, end + 2));
    }
    if (absl::StartsWith(Rest(), "{,")) {
      Replace(1, "{0");
    } else {
      Copy(1);
    }
    return absl::OkStatus();
  }

  absl::string_view pattern_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> OnigurumaToPcre2(absl::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace reprise::engine
