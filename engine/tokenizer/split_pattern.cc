#include "engine/tokenizer/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/text/utf8.h"
#include "engine/tokenizer/oniguruma_syntax.h"

namespace reprise::engine {
namespace {

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

std::string ErrorText(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

void SplitPattern::FreeCode::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }
void SplitPattern::FreeContext::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}

SplitPattern::SplitPattern(pcre2_real_code_8* code)
    : code_(code), context_(pcre2_match_context_create(nullptr)) {
  CHECK(context_ != nullptr);
  // The pattern is the operator's own and texts may be long: only memory is a reason to give up.
  pcre2_set_match_limit(context_.get(), std::numeric_limits<uint32_t>::max());
}

absl::StatusOr<SplitPattern> SplitPattern::Compile(absl::string_view pattern) {
  ASSIGN_OR_RETURN(const std::string translated, OnigurumaToPcre2(pattern));
  return CompilePcre2(translated, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE);
}

absl::StatusOr<SplitPattern> SplitPattern::CompileLiteral(absl::string_view text) {
  return CompilePcre2(text, PCRE2_UTF | PCRE2_LITERAL);
}

absl::StatusOr<SplitPattern> SplitPattern::CompilePcre2(absl::string_view pattern,
                                                        uint32_t options) {
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   options, &error, &offset, context.get());
  if (code == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("regular expression: ", ErrorText(error), " at offset ", offset));
  }
  // Where the machine allows no JIT code the interpreter gives the same matches, slower.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return SplitPattern(code);
}

absl::Status SplitPattern::FindAll(absl::string_view text, std::vector<TextRange>* matches) const {
  const std::unique_ptr<pcre2_match_data, FreeMatchData> data(pcre2_match_data_create(1, nullptr));
  CHECK(data != nullptr);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t start = 0;
  std::optional<size_t> last_end;  // of the last match that counted
  while (start <= text.size()) {
    int found = pcre2_match(code_.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK,
                            data.get(), context_.get());
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      // The interpreter keeps its stack on the heap.
      found = pcre2_match(code_.get(), subject, text.size(), start,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(), context_.get());
    }
    if (found == PCRE2_ERROR_NOMATCH) return absl::OkStatus();
    if (found < 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("splitting the text at byte ", start, ": ", ErrorText(found)));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    if (ends[0] == ends[1] && last_end == ends[1]) {
      // An empty match right behind a match does not count; without a step on it would recur. The
      // step looks for the next match only: an empty one where it ends does count.
      if (start == text.size()) return absl::OkStatus();
      start += NextUtf8(text.substr(start)).num_bytes;
      continue;
    }
    matches->push_back({ends[0], ends[1]});
    start = ends[1];
    last_end = start;
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
