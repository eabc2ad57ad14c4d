// A chat's messages and what its template is told. Pure functions, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "api/http/json_fields.h"
#include "reprise/v1/inference.pb.h"

namespace reprise::api {

// Takes "messages", "tools", "tool_choice" and "chat_template_kwargs" from `fields`, which are
// those of the JSON object `body`. kInvalidArgument, with the parameter: missing, of a wrong type,
// a part of a content that is not text, a call of a tool whose arguments are no JSON object, or a
// member of a message that would be lost.
absl::StatusOr<v1::Conversation> TakeConversation(JsonFields& fields, absl::string_view body);

}  // namespace reprise::api
