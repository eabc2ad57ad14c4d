#include "bench/conversation.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace reprise::bench {

absl::StatusOr<Conversation> ReadConversation(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open conversation ", path));
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const auto invalid = [&path](const char* cause) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", cause));
  };
  if (!json.is_object()) return invalid("not a JSON object");
  if (!json.contains("system") || !json["system"].is_string()) {
    return invalid("\"system\" must be a string");
  }
  if (!json.contains("turns") || !json["turns"].is_array() || json["turns"].empty()) {
    return invalid("\"turns\" must be an array with at least one string");
  }
  Conversation conversation{.system = json["system"].get<std::string>()};
  for (const nlohmann::json& turn : json["turns"]) {
    if (!turn.is_string()) return invalid("\"turns\" must hold strings only");
    conversation.turns.push_back(turn.get<std::string>());
  }
  return conversation;
}

}  // namespace reprise::bench
