#include "engine/tokenizer/chat_template.h"

#include <nlohmann/json.hpp>
#include <optional>

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

}  // namespace

absl::StatusOr<std::string> ReadChatTemplate(const std::string& folder) {
  absl::StatusOr<std::string> own_file =
      ReadTextFile(absl::StrCat(folder, "/chat_template.jinja"), kMostTemplateBytes);
  if (!absl::IsNotFound(own_file.status())) return own_file;
  const std::string file = absl::StrCat(folder, "/tokenizer_config.json");
  const absl::StatusOr<std::string> text = ReadTextFile(file, kMostConfigBytes);
  if (absl::IsNotFound(text.status())) return std::string();
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const nlohmann::json config, ParseJson(*text, file));
  const std::optional<JsonField> field = JsonField(&config, file).Find("chat_template");
  if (!field.has_value()) return std::string();
  return config["chat_template"].is_array() ? DefaultOf(*field) : field->AsString();
}

}  // namespace reprise::engine
