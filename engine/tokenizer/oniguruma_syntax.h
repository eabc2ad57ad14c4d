// The patterns of tokenizer.json are written for Oniguruma (Ruby syntax), ours run on PCRE2.
// Pure function, thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::engine {

// `pattern` in PCRE2's syntax, with the same matches under UTF, UCP and MULTILINE, newline LF.
// kInvalidArgument names a construct that PCRE2 would read differently and that is not translated.
absl::StatusOr<std::string> OnigurumaToPcre2(absl::string_view pattern);

}  // namespace reprise::engine
