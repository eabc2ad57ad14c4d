#include "api/http/openai_messages.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/http/openai_error.h"
#include "api/http/raw_member.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"
#include "engine/json/json_text.h"

namespace reprise::api {
namespace {

bool IsEmptyContainer(const nlohmann::json& value) {
  return value.is_structured() && value.empty();
}

// A content's text: a string, or the texts of its parts, a line each.
absl::StatusOr<std::string> ContentOf(const nlohmann::json& content, const std::string& param) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    return ParamError(param, absl::StrCat(param, " must be a string or an array of parts"));
  }
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string place = absl::StrCat(param, "[", i, "]");
    const nlohmann::json& part = content[i];
    if (!part.is_object()) return ParamError(place, absl::StrCat(place, " must be an object"));
    JsonFields fields(&part, absl::StrCat(place, "."));
    ASSIGN_OR_RETURN(const auto type, fields.String("type"));
    if (type.value_or("") != "text") {
      return ParamError(absl::StrCat(place, ".type"),
                        absl::StrCat(place,
                                     ".type must be \"text\": this server reads nothing "
                                     "else, neither images nor sound nor files"));
    }
    ASSIGN_OR_RETURN(const auto piece, fields.String("text"));
    if (!piece.has_value()) return fields.Error("text", "is missing");
    RETURN_IF_ERROR(fields.CheckAllTaken());
    absl::StrAppend(&text, i == 0 ? "" : "\n", *piece);
  }
  return text;
}

std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

// A call of a tool as templates know it: its arguments are an object, not the text of one. `place`
// names it in errors.
absl::StatusOr<std::string> ToolCallOf(const nlohmann::json& call, const std::string& place) {
  if (!call.is_object()) return ParamError(place, absl::StrCat(place, " must be an object"));
  JsonFields fields(&call, absl::StrCat(place, "."));
  ASSIGN_OR_RETURN(const auto id, fields.String("id"));
  ASSIGN_OR_RETURN(const auto type, fields.String("type"));
  if (type.value_or("function") != "function") return fields.Error("type", "must be \"function\"");
  const nlohmann::json* function = fields.Take("function");
  if (function == nullptr || !function->is_object()) {
    return fields.Error("function", "must be an object");
  }
  fields.Take("index");  // of a stream's answer
  RETURN_IF_ERROR(fields.CheckAllTaken());
  const std::string inner = absl::StrCat(place, ".function");
  JsonFields parts(function, absl::StrCat(inner, "."));
  ASSIGN_OR_RETURN(const auto name, parts.String("name"));
  ASSIGN_OR_RETURN(auto arguments, parts.String("arguments"));
  if (!name.has_value()) return parts.Error("name", "is missing");
  RETURN_IF_ERROR(parts.CheckAllTaken());
  // As the client wrote them: templates show them with their members in order.
  if (arguments.value_or("").empty()) arguments = "{}";
  const absl::StatusOr<nlohmann::json> parsed =
      engine::ParseJson(*arguments, absl::StrCat(inner, ".arguments"));
  if (!parsed.ok() || !parsed->is_object()) {
    return parts.Error("arguments", "must be the text of a JSON object");
  }
  return absl::StrCat("{", id.has_value() ? absl::StrCat("\"id\":", Quoted(*id), ",") : "",
                      R"("type":"function","function":{"name":)", Quoted(*name),
                      ",\"arguments\":", *arguments, "}}");
}

// What the template is told of a message besides its content, in JSON; empty: nothing.
absl::StatusOr<std::string> MembersOf(JsonFields& fields, bool is_tool, const std::string& place) {
  std::vector<std::string> members;
  ASSIGN_OR_RETURN(const auto name, fields.String("name"));
  // No chat template of a served family shows it of others.
  if (is_tool && name.has_value()) members.push_back(absl::StrCat("\"name\":", Quoted(*name)));
  if (is_tool) {
    ASSIGN_OR_RETURN(const auto id, fields.String("tool_call_id"));
    if (id.has_value()) members.push_back(absl::StrCat("\"tool_call_id\":", Quoted(*id)));
  }
  const nlohmann::json* calls = fields.Take("tool_calls");
  if (calls != nullptr && !IsEmptyContainer(*calls)) {
    if (!calls->is_array()) return fields.Error("tool_calls", "must be an array");
    std::vector<std::string> texts;
    for (size_t i = 0; i < calls->size(); ++i) {
      ASSIGN_OR_RETURN(texts.emplace_back(),
                       ToolCallOf((*calls)[i], absl::StrCat(place, ".tool_calls[", i, "]")));
    }
    members.push_back(absl::StrCat("\"tool_calls\":[", absl::StrJoin(texts, ","), "]"));
  }
  if (members.empty()) return "";
  return absl::StrCat("{", absl::StrJoin(members, ","), "}");
}

absl::StatusOr<v1::ChatMessage> MessageOf(const nlohmann::json& json, size_t index) {
  const std::string place = absl::StrCat("messages[", index, "]");
  if (!json.is_object()) return ParamError(place, absl::StrCat(place, " must be an object"));
  JsonFields fields(&json, absl::StrCat(place, "."));
  v1::ChatMessage message;
  ASSIGN_OR_RETURN(const auto role, fields.String("role"));
  if (!role.has_value()) return fields.Error("role", "is missing");
  // OpenAI's newer name for the same.
  message.set_role(*role == "developer" ? "system" : role->substr(0, kMaxRoleBytes + 1));
  ASSIGN_OR_RETURN(*message.mutable_members(), MembersOf(fields, *role == "tool", place));
  const nlohmann::json* content = fields.Take("content");
  // Who calls a tool need not say anything.
  if (content == nullptr && message.members().empty()) return fields.Error("content", "is missing");
  if (content != nullptr) {
    ASSIGN_OR_RETURN(*message.mutable_content(),
                     ContentOf(*content, absl::StrCat(place, ".content")));
  }
  // What the client's library adds to an answer that it sends back.
  const nlohmann::json* annotations = fields.Take("annotations");
  if (annotations != nullptr && !IsEmptyContainer(*annotations)) {
    return fields.Error("annotations", "is not supported by this server yet");
  }
  RETURN_IF_ERROR(fields.CheckAllTaken());
  return message;
}

// The inner text of an object or an array, without its brackets.
absl::string_view Inside(absl::string_view text) {
  return absl::StripAsciiWhitespace(text.substr(1, text.size() - 2));
}

// Whether the template is to be told of the tools.
absl::StatusOr<bool> UsesTools(JsonFields& fields) {
  const nlohmann::json* choice = fields.Take("tool_choice");
  if (choice == nullptr || *choice == "auto") return true;
  if (*choice == "none") return false;
  return fields.Error("tool_choice", "must be \"auto\" or \"none\": no call can be forced");
}

absl::StatusOr<std::string> TemplateVariables(JsonFields& fields, absl::string_view body) {
  ASSIGN_OR_RETURN(const bool uses_tools, UsesTools(fields));
  const nlohmann::json* tools = fields.Take("tools");
  if (tools != nullptr && !tools->is_array()) return fields.Error("tools", "must be an array");
  const nlohmann::json* others = fields.Take("chat_template_kwargs");
  if (others != nullptr && !others->is_object()) {
    return fields.Error("chat_template_kwargs", "must be an object");
  }
  // As the client wrote them: a template shows tools with their members in order.
  std::string variables;
  if (tools != nullptr && !tools->empty() && uses_tools) {
    variables = absl::StrCat("\"tools\":", RawMember(body, "tools"));
  }
  if (others != nullptr && !others->empty()) {
    absl::StrAppend(&variables, variables.empty() ? "" : ",",
                    Inside(RawMember(body, "chat_template_kwargs")));
  }
  return variables.empty() ? variables : absl::StrCat("{", variables, "}");
}

}  // namespace

absl::StatusOr<v1::Conversation> TakeConversation(JsonFields& fields, absl::string_view body) {
  const nlohmann::json* messages = fields.Take("messages");
  if (messages == nullptr) return fields.Error("messages", "is missing");
  if (!messages->is_array() || messages->empty()) {
    return fields.Error("messages", "must be an array of at least one message");
  }
  if (messages->size() > kMaxChatMessages) {
    return fields.Error("messages", absl::StrCat("holds ", messages->size(), "; at most ",
                                                 kMaxChatMessages, " are taken"));
  }
  v1::Conversation conversation;
  for (size_t i = 0; i < messages->size(); ++i) {
    ASSIGN_OR_RETURN(*conversation.add_messages(), MessageOf((*messages)[i], i));
  }
  ASSIGN_OR_RETURN(*conversation.mutable_template_variables(), TemplateVariables(fields, body));
  return conversation;
}

}  // namespace reprise::api
