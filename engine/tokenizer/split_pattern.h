// SplitPattern: a regular expression of tokenizer.json, compiled. Owns the compiled code.
// Immutable, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/text/marked_text.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;

namespace reprise::engine {

class SplitPattern {
 public:
  // `pattern` in Oniguruma's syntax. kInvalidArgument: malformed, or a construct that is not
  // supported, with its offset.
  static absl::StatusOr<SplitPattern> Compile(absl::string_view pattern);
  // Matches exactly `text`.
  static absl::StatusOr<SplitPattern> CompileLiteral(absl::string_view text);

  // Appends to `matches` the matches in `text`, from left to right, not overlapping, and as
  // rust-onig's find_iter gives them: an empty match counts unless it lies at the end of the match
  // before it. `text` is seen alone: its ends are where lookarounds end. REQUIRES: `text` is UTF-8.
  // kResourceExhausted: matching took too many steps or too much memory.
  absl::Status FindAll(absl::string_view text, std::vector<TextRange>* matches) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  struct FreeContext {
    void operator()(pcre2_real_match_context_8* context) const;
  };

  explicit SplitPattern(pcre2_real_code_8* code);
  static absl::StatusOr<SplitPattern> CompilePcre2(absl::string_view pattern, uint32_t options);

  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
  std::unique_ptr<pcre2_real_match_context_8, FreeContext> context_;
};

}  // namespace reprise::engine
