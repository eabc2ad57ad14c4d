// Finds the chat template of a model folder. Pure function, thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace reprise::engine {

// The Jinja text of `folder`/chat_template.jinja, else of "chat_template" in tokenizer_config.json
// (of several, the one named "default"); empty when the folder has none. kInvalidArgument: a file
// that is too large, not JSON, or whose chat_template is no template, with its name.
absl::StatusOr<std::string> ReadChatTemplate(const std::string& folder);

}  // namespace reprise::engine
