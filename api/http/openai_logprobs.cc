#include "api/http/openai_logprobs.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/text/utf8.h"

namespace reprise::api {
namespace {

// A token as text. Where its bytes are part of a character: those, as OpenAI writes them.
std::string TokenText(const std::string& bytes) {
  if (!engine::FindInvalidUtf8(bytes).has_value()) return nlohmann::json(bytes).dump();
  std::string text = "bytes:";
  for (const char c : bytes) absl::StrAppendFormat(&text, "\\x%02x", static_cast<uint8_t>(c));
  return nlohmann::json(text).dump();
}

// JSON has no infinity; this is what OpenAI says for it.
std::string Number(float logprob) {
  return std::isfinite(logprob) ? absl::StrFormat("%.7g", logprob) : "-9999.0";
}

std::string ChatEntry(const engine::Tokenizer& tokenizer, uint32_t id, float logprob) {
  const std::string bytes = tokenizer.TokenBytes(id);
  std::string list;
  for (const char c : bytes) {
    absl::StrAppend(&list, list.empty() ? "" : ",", static_cast<uint8_t>(c));
  }
  return absl::StrCat("\"token\":", TokenText(bytes), ",\"logprob\":", Number(logprob),
                      ",\"bytes\":[", list, "]");
}

void AppendItem(std::string* list, absl::string_view item) {
  absl::StrAppend(list, list->empty() ? "" : ",", item);
}

}  // namespace

void OpenAiLogprobs::Add(const engine::OutputToken& token, int64_t text_offset) {
  if (endpoint_ == OpenAiEndpoint::kChat) {
    AddChat(token);
  } else {
    AddCompletion(token, text_offset);
  }
}

void OpenAiLogprobs::AddChat(const engine::OutputToken& token) {
  std::string top;
  for (const engine::TokenLogprob& likely : token.logprobs->top) {
    AppendItem(&top, absl::StrCat("{", ChatEntry(*tokenizer_, likely.token, likely.logprob), "}"));
  }
  AppendItem(&content_, absl::StrCat("{", ChatEntry(*tokenizer_, token.id, token.logprobs->chosen),
                                     ",\"top_logprobs\":[", top, "]}"));
}

void OpenAiLogprobs::AddCompletion(const engine::OutputToken& token, int64_t text_offset) {
  // Of two tokens with one text the likelier one counts.
  std::set<std::string> texts;
  std::string members;
  for (const engine::TokenLogprob& likely : token.logprobs->top) {
    const std::string text = TokenText(tokenizer_->TokenBytes(likely.token));
    if (!texts.insert(text).second) continue;
    AppendItem(&members, absl::StrCat(text, ":", Number(likely.logprob)));
  }
  AppendItem(&content_, TokenText(tokenizer_->TokenBytes(token.id)));
  AppendItem(&token_logprobs_, Number(token.logprobs->chosen));
  AppendItem(&top_logprobs_, absl::StrCat("{", members, "}"));
  AppendItem(&text_offsets_, absl::StrCat(text_offset));
}

size_t OpenAiLogprobs::bytes() const {
  return content_.size() + token_logprobs_.size() + top_logprobs_.size() + text_offsets_.size();
}

std::string OpenAiLogprobs::Take() {
  std::string json;
  if (endpoint_ == OpenAiEndpoint::kChat) {
    json = absl::StrCat("{\"content\":[", content_, "],\"refusal\":null}");
  } else {
    json = absl::StrCat("{\"tokens\":[", content_, "],\"token_logprobs\":[", token_logprobs_,
                        "],\"top_logprobs\":[", top_logprobs_, "],\"text_offset\":[", text_offsets_,
                        "]}");
  }
  for (std::string* list : {&content_, &token_logprobs_, &top_logprobs_, &text_offsets_}) {
    list->clear();
  }
  return json;
}

}  // namespace reprise::api
