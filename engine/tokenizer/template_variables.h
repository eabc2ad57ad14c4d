// What a caller tells a chat template besides the messages: transformers' `tools`,
// `enable_thinking` and whatever else a family's template asks for. Pure function, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/value.h"

namespace reprise::engine {

// The members of `json`, an object, in their order; empty text has none. Texts in it are marked as
// written by others, so that no special token in them counts.
// kInvalidArgument: not such JSON, over 256 KiB of it or over 64 members; a member that rendering
// sets itself ("messages", "add_generation_prompt"); a number that is not whole, which templates
// cannot have; a name that could be part of a special token, for names are not marked.
absl::StatusOr<jinja::Map> ReadTemplateVariables(absl::string_view json);

// The same of what a template is told of one message besides "role" and "content", which a member
// must not be.
absl::StatusOr<jinja::Map> ReadMessageMembers(absl::string_view json);

}  // namespace reprise::engine
