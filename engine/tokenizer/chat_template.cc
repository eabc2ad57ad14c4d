#include "engine/tokenizer/chat_template.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/json/json_text.h"
#include "engine/tokenizer/json_field.h"

namespace reprise::engine {
namespace {

constexpr int64_t kMostTemplateBytes = 1 << 20;
// It lists the added tokens: some have thousands.
constexpr int64_t kMostConfigBytes = 64 << 20;

// Of a list of {"name": ..., "template": ...}.
absl::StatusOr<std::string> DefaultOf(const JsonField& list) {
  ASSIGN_OR_RETURN(const nlohmann::json* const array, list.AsArray());
  for (size_t i = 0; i < array->size(); ++i) {
    ASSIGN_OR_RETURN(const std::string name, list.At(i).StringOr("name", ""));
    if (name != "default") continue;
    ASSIGN_OR_RETURN(const JsonField text, list.At(i).Get("template"));
    return text.AsString();
  }
  return list.Error("none of the templates is named default");
}

// Each is a text, or an object that has it as "content".
absl::Status ReadSpecialTokens(const JsonField& config, ChatTemplate* read) {
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    const std::optional<JsonField> token = config.Find(name);
    if (!token.has_value()) continue;
    absl::StatusOr<std::string> text =
        token->Find("content").has_value() ? token->GetString("content") : token->AsString();
    RETURN_IF_ERROR(text.status());
    read->special_tokens.emplace_back(name, *std::move(text));
  }
  return absl::OkStatus();
}

// What tokenizer_config.json says, if there is one.
absl::StatusOr<ChatTemplate> ReadConfig(const std::string& file) {
  ChatTemplate read;
  const absl::StatusOr<std::string> text = ReadTextFile(file, kMostConfigBytes);
  if (absl::IsNotFound(text.status())) return read;
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const nlohmann::json config, ParseJson(*text, file));
  const JsonField root(&config, file);
  RETURN_IF_ERROR(ReadSpecialTokens(root, &read));
  const std::optional<JsonField> field = root.Find("chat_template");
  if (!field.has_value()) return read;
  const bool has_several = config["chat_template"].is_array();
  ASSIGN_OR_RETURN(read.jinja, has_several ? DefaultOf(*field) : field->AsString());
  return read;
}

}  // namespace

absl::StatusOr<ChatTemplate> ReadChatTemplate(const std::string& folder) {
  ASSIGN_OR_RETURN(ChatTemplate read, ReadConfig(absl::StrCat(folder, "/tokenizer_config.json")));
  absl::StatusOr<std::string> own_file =
      ReadTextFile(absl::StrCat(folder, "/chat_template.jinja"), kMostTemplateBytes);
  if (absl::IsNotFound(own_file.status())) return read;
  RETURN_IF_ERROR(own_file.status());
  read.jinja = *std::move(own_file);
  return read;
}

}  // namespace reprise::engine
