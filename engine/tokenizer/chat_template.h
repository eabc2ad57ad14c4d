// Finds the chat template of a model folder. Pure function, thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

// The Jinja text of `folder`/chat_template.jinja, else of "chat_template" in tokenizer_config.json
// (of several, the one named "default"); empty when the folder has none. The special tokens are
// those of tokenizer_config.json. kInvalidArgument: a file that is too large, not JSON, or whose
// chat_template is no template or special token no text, with its name.
absl::StatusOr<ChatTemplate> ReadChatTemplate(const std::string& folder);

}  // namespace reprise::engine
