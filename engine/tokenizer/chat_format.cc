#include "engine/tokenizer/chat_format.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

constexpr absl::string_view kTurnStart = "<|im_start|>";
constexpr absl::string_view kTurnEnd = "<|im_end|>";

bool HasSpecialToken(const Tokenizer& tokenizer, absl::string_view token) {
  const absl::StatusOr<uint32_t> id = tokenizer.TokenToId(token);
  return id.ok() && tokenizer.IsSpecial(*id);
}

// How a transcript names a role; empty for a role that is not known.
absl::string_view TranscriptName(absl::string_view role) {
  if (role == "system") return "System:";
  if (role == "user") return "User:";
  if (role == "assistant") return "Assistant:";
  return "";
}

// Whether a template, if there is one, writes turns as chatml does.
bool AllowsChatMl(const std::string& chat_template) {
  return chat_template.empty() || (absl::StrContains(chat_template, kTurnStart) &&
                                   absl::StrContains(chat_template, kTurnEnd));
}

}  // namespace

ChatFormat ChatFormat::Choose(const Tokenizer* tokenizer) {
  if (HasSpecialToken(*tokenizer, kTurnStart) && HasSpecialToken(*tokenizer, kTurnEnd) &&
      AllowsChatMl(tokenizer->chat_template())) {
    ChatFormat format(tokenizer, Style::kChatMl);
    format.stop_token_ids_ = {tokenizer->TokenToId(kTurnEnd).value()};
    return format;
  }
  if (!tokenizer->chat_template().empty()) return ChatFormat(tokenizer, Style::kRefused);
  ChatFormat format(tokenizer, Style::kTranscript);
  format.stop_strings_ = {"\nUser:"};
  return format;
}

absl::string_view ChatFormat::Name() const {
  switch (style_) {
    case Style::kChatMl:
      return "chatml";
    case Style::kTranscript:
      return "transcript";
    case Style::kRefused:
      return "refused";
  }
  return "";
}

void ChatFormat::AppendMessage(const ChatMessage& message, std::vector<Part>* parts) const {
  if (style_ == Style::kChatMl) {
    parts->push_back({Part::Kind::kStructure, std::string(kTurnStart)});
    parts->push_back({Part::Kind::kText, absl::StrCat(message.role, "\n")});
    parts->push_back({Part::Kind::kText, message.content});
    parts->push_back({Part::Kind::kStructure, std::string(kTurnEnd)});
    parts->push_back({Part::Kind::kText, "\n"});
    return;
  }
  // A generated answer brings the space behind the colon with it and is taken as it comes.
  const absl::string_view content = absl::StripTrailingAsciiWhitespace(message.content);
  const absl::string_view space = absl::StartsWith(content, " ") ? "" : " ";
  parts->push_back({Part::Kind::kText, std::string(TranscriptName(message.role))});
  parts->push_back({Part::Kind::kText, absl::StrCat(space, content)});
  parts->push_back({Part::Kind::kText, "\n\n"});
}

void ChatFormat::AppendCue(std::vector<Part>* parts) const {
  if (style_ == Style::kChatMl) {
    parts->push_back({Part::Kind::kStructure, std::string(kTurnStart)});
    parts->push_back({Part::Kind::kText, "assistant\n"});
    return;
  }
  parts->push_back({Part::Kind::kText, std::string(TranscriptName("assistant"))});
}

absl::StatusOr<std::vector<ChatFormat::Part>> ChatFormat::PartsOf(
    absl::Span<const ChatMessage> messages) const {
  if (style_ == Style::kRefused) {
    return absl::FailedPreconditionError(
        "the model has a chat template that is not ChatML (turns between <|im_start|> and "
        "<|im_end|>, both special tokens), the only one that is rendered; render the conversation "
        "yourself and send it as text or token ids");
  }
  if (messages.empty()) return absl::InvalidArgumentError("the conversation has no messages");
  std::vector<Part> parts;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (TranscriptName(messages[i].role).empty()) {
      return absl::InvalidArgumentError(absl::StrCat("message ", i + 1, " has role \"",
                                                     messages[i].role,
                                                     "\"; known are system, user and assistant"));
    }
    AppendMessage(messages[i], &parts);
  }
  AppendCue(&parts);
  return parts;
}

absl::StatusOr<std::vector<uint32_t>> ChatFormat::RenderTokens(
    absl::Span<const ChatMessage> messages) const {
  ASSIGN_OR_RETURN(const std::vector<Part> parts, PartsOf(messages));
  std::vector<uint32_t> ids = tokenizer_->leading_ids();
  for (const Part& part : parts) {
    if (part.kind == Part::Kind::kStructure) {
      ASSIGN_OR_RETURN(const uint32_t id, tokenizer_->TokenToId(part.text));
      ids.push_back(id);
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<uint32_t> plain,
                     tokenizer_->EncodeMarked(MarkedText::Plain(part.text)));
    ids.insert(ids.end(), plain.begin(), plain.end());
  }
  return ids;
}

absl::StatusOr<std::string> ChatFormat::RenderText(absl::Span<const ChatMessage> messages) const {
  ASSIGN_OR_RETURN(const std::vector<Part> parts, PartsOf(messages));
  std::string text;
  for (const Part& part : parts) absl::StrAppend(&text, part.text);
  return text;
}

}  // namespace reprise::engine
