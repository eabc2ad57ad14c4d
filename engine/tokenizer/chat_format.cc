#include "engine/tokenizer/chat_format.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/text/utf8.h"

namespace reprise::engine {
namespace {

constexpr absl::string_view kTurnStart = "<|im_start|>";
constexpr absl::string_view kTurnEnd = "<|im_end|>";

constexpr absl::string_view kChatMl =
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

// A generated answer brings the space behind the colon with it, and white space at its end before
// the stop string.
constexpr absl::string_view kTranscript =
    "{% for message in messages %}"
    "{{ message.role | capitalize }}:{{ '' if message.content.startswith(' ') else ' ' }}"
    "{{ message.content.rstrip() + '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}";

bool HasSpecialToken(const Tokenizer& tokenizer, absl::string_view token) {
  const absl::StatusOr<uint32_t> id = tokenizer.TokenToId(token);
  return id.ok() && tokenizer.IsSpecial(*id);
}

// Keeps the code, which tells a conversation that is refused from a template that is.
absl::Status Explain(const absl::Status& status) {
  if (absl::IsInvalidArgument(status)) return status;
  return absl::Status(
      status.code(),
      absl::StrCat("the model's chat template cannot be rendered: ", status.message(),
                   "; render the conversation yourself and send it as text or token ids"));
}

absl::Status CheckMessages(absl::Span<const ChatMessage> messages, bool knows_tools) {
  if (messages.empty()) return absl::InvalidArgumentError("the conversation has no messages");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant" &&
        !(knows_tools && role == "tool")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "message ", i + 1, " has role \"", role, "\"; known are system, user and assistant",
          knows_tools ? ", and tool" : "; this model has no template for others"));
    }
    const std::optional<size_t> invalid = FindInvalidUtf8(messages[i].content);
    if (invalid.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("message ", i + 1, " is not UTF-8 at byte ", *invalid));
    }
  }
  return absl::OkStatus();
}

}  // namespace

ChatFormat ChatFormat::Choose(const Tokenizer* tokenizer) {
  if (!tokenizer->chat_template().jinja.empty()) {
    return ChatFormat(tokenizer, Style::kTemplate, tokenizer->chat_template().jinja);
  }
  if (HasSpecialToken(*tokenizer, kTurnStart) && HasSpecialToken(*tokenizer, kTurnEnd)) {
    return ChatFormat(tokenizer, Style::kChatMl, kChatMl);
  }
  return ChatFormat(tokenizer, Style::kTranscript, kTranscript);
}

ChatFormat::ChatFormat(const Tokenizer* tokenizer, Style style, absl::string_view source)
    : tokenizer_(tokenizer), style_(style) {
  absl::StatusOr<jinja::Template> parsed = jinja::Template::Parse(source);
  if (parsed.ok()) {
    template_ = *std::move(parsed);
  } else {
    style_ = Style::kRefused;
    refusal_ = Explain(absl::FailedPreconditionError(parsed.status().message()));
  }
  if (style_ == Style::kTranscript) stop_strings_ = {"\nUser:"};
  FindStopTokens();
}

absl::string_view ChatFormat::Name() const {
  switch (style_) {
    case Style::kTemplate:
      return "template";
    case Style::kChatMl:
      return "chatml";
    case Style::kTranscript:
      return "transcript";
    case Style::kRefused:
      return "refused";
  }
  return "";
}

absl::StatusOr<MarkedText> ChatFormat::Render(absl::Span<const ChatMessage> messages,
                                              const jinja::Map& variables, Cue cue) const {
  RETURN_IF_ERROR(refusal_);
  RETURN_IF_ERROR(CheckMessages(messages, style_ == Style::kTemplate));
  jinja::List list;
  for (const ChatMessage& message : messages) {
    // A role is one of ours: templates make special tokens of it.
    jinja::Map members = {{"role", jinja::Value::Own(message.role)},
                          {"content", jinja::Value(MarkedText::Plain(message.content))}};
    members.insert(members.end(), message.members.begin(), message.members.end());
    list.push_back(jinja::Value(std::move(members)));
  }
  jinja::Map all = {{"messages", jinja::Value(std::move(list))},
                    {"add_generation_prompt", jinja::Value(cue == Cue::kAnswer)},
                    {"tools", jinja::Value()},
                    {"documents", jinja::Value()}};
  for (const auto& [name, token] : tokenizer_->chat_template().special_tokens) {
    all.emplace_back(name, jinja::Value::Own(token));
  }
  for (const auto& [name, value] : variables) jinja::SetMember(&all, name, value);
  absl::StatusOr<MarkedText> text = template_->Render(std::move(all));
  if (!text.ok()) return Explain(text.status());
  return text;
}

absl::StatusOr<std::vector<uint32_t>> ChatFormat::RenderTokens(
    absl::Span<const ChatMessage> messages, const jinja::Map& variables) const {
  ASSIGN_OR_RETURN(const MarkedText text, Render(messages, variables, Cue::kAnswer));
  ASSIGN_OR_RETURN(std::vector<uint32_t> ids, tokenizer_->EncodeMarked(text));
  if (style_ != Style::kTemplate) {
    ids.insert(ids.begin(), tokenizer_->leading_ids().begin(), tokenizer_->leading_ids().end());
  }
  return ids;
}

absl::StatusOr<std::string> ChatFormat::RenderText(absl::Span<const ChatMessage> messages,
                                                   const jinja::Map& variables) const {
  ASSIGN_OR_RETURN(const MarkedText text, Render(messages, variables, Cue::kAnswer));
  return text.text();
}

void ChatFormat::AddStopToken(uint32_t id) {
  if (std::find(stop_token_ids_.begin(), stop_token_ids_.end(), id) == stop_token_ids_.end()) {
    stop_token_ids_.push_back(id);
  }
}

void ChatFormat::FindStopTokens() {
  const auto& special_tokens = tokenizer_->chat_template().special_tokens;
  for (const auto& [name, token] : special_tokens) {
    if (name == "eos_token" && HasSpecialToken(*tokenizer_, token)) {
      AddStopToken(tokenizer_->TokenToId(token).value());
    }
  }
  const absl::StatusOr<MarkedText> text =
      Render({{"user", "a"}, {"assistant", "b"}}, {}, Cue::kNone);
  if (!text.ok() || text->plain().empty()) return;
  const absl::StatusOr<std::vector<uint32_t>> behind =
      tokenizer_->EncodeMarked(text->Slice({text->plain().back().end, text->size()}));
  if (!behind.ok()) return;
  for (const uint32_t id : *behind) {
    if (tokenizer_->IsSpecial(id)) {
      AddStopToken(id);
      return;
    }
    if (!absl::StripAsciiWhitespace(tokenizer_->TokenBytes(id)).empty()) return;
  }
}

}  // namespace reprise::engine
