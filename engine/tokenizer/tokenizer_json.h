// Reads tokenizer.json. Pure function, thread-safe.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

// The tokenizer that `text` describes, the contents of `file`, with `chat_template`. Truncation and
// padding are not the tokenizer's business here and are passed over. kInvalidArgument: malformed or
// not supported, as
// "<file>: <place>: <cause>".
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerJson(const std::string& text,
                                                              const std::string& file,
                                                              ChatTemplate chat_template = {});

}  // namespace reprise::engine
