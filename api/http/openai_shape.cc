#include "api/http/openai_shape.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace reprise::api {
namespace {

std::string Quoted(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string Usage(const OpenAiUsage& usage) {
  const int64_t cached =
      usage.cached_gpu_tokens + usage.cached_ram_tokens + usage.cached_disk_tokens;
  return absl::StrCat(
      "{\"prompt_tokens\":", usage.prompt_tokens, ",\"completion_tokens\":", usage.new_tokens,
      ",\"total_tokens\":", usage.prompt_tokens + usage.new_tokens,
      ",\"prompt_tokens_details\":{\"cached_tokens\":", cached,
      ",\"cached_tokens_by_tier\":{\"gpu\":", usage.cached_gpu_tokens,
      ",\"ram\":", usage.cached_ram_tokens, ",\"disk\":", usage.cached_disk_tokens, "}}}");
}

std::string Head(absl::string_view id, const OpenAiShape::Labels& labels, const char* object) {
  return absl::StrCat("{\"id\":", Quoted(id), ",\"object\":\"", object,
                      "\",\"created\":", labels.created, ",\"model\":", Quoted(labels.model),
                      ",\"system_fingerprint\":", Quoted(labels.fingerprint), ",\"choices\":[");
}

absl::string_view OrNull(absl::string_view json) { return json.empty() ? "null" : json; }

std::string QuotedOrNull(const char* text) { return text == nullptr ? "null" : Quoted(text); }

}  // namespace

OpenAiShape::OpenAiShape(const Labels& labels)
    : is_chat_(labels.endpoint == OpenAiEndpoint::kChat), include_usage_(labels.include_usage) {
  const std::string id = absl::StrCat(is_chat_ ? "chatcmpl-" : "cmpl-", labels.id);
  whole_ = Head(id, labels, is_chat_ ? "chat.completion" : "text_completion");
  head_ = absl::StrCat("data: ",
                       Head(id, labels, is_chat_ ? "chat.completion.chunk" : "text_completion"));
}

const char* OpenAiShape::FinishReason(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStopToken:
    case engine::FinishReason::kStopString:
      return "stop";
    case engine::FinishReason::kMaxTokens:
    case engine::FinishReason::kContextFull:
      return "length";
    case engine::FinishReason::kCancelled:
      break;
  }
  return nullptr;
}

std::string OpenAiShape::Whole(const std::vector<OpenAiChoice>& choices,
                               const OpenAiUsage& usage) const {
  std::string json = whole_;
  for (size_t i = 0; i < choices.size(); ++i) {
    const OpenAiChoice& choice = choices[i];
    absl::StrAppend(&json, i == 0 ? "" : ",", "{\"index\":", i);
    if (is_chat_) {
      absl::StrAppend(&json,
                      ",\"message\":{\"role\":\"assistant\",\"content\":", Quoted(choice.text),
                      ",\"refusal\":null}");
    } else {
      absl::StrAppend(&json, ",\"text\":", Quoted(choice.text));
    }
    absl::StrAppend(&json, ",\"logprobs\":", OrNull(choice.logprobs),
                    ",\"finish_reason\":", QuotedOrNull(choice.finish_reason), "}");
  }
  absl::StrAppend(&json, "],\"usage\":", Usage(usage), "}");
  return json;
}

std::string OpenAiShape::Event(absl::string_view choices) const {
  return absl::StrCat(head_, choices, "]", include_usage_ ? ",\"usage\":null" : "", "}\n\n");
}

std::string OpenAiShape::FirstEvent(size_t choice) const {
  if (!is_chat_) return "";
  return Event(absl::StrCat("{\"index\":", choice,
                            ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                            "\"logprobs\":null,\"finish_reason\":null}"));
}

std::string OpenAiShape::TextEvent(size_t choice, absl::string_view text,
                                   absl::string_view logprobs) const {
  const std::string content = is_chat_ ? absl::StrCat("\"delta\":{\"content\":", Quoted(text), "}")
                                       : absl::StrCat("\"text\":", Quoted(text));
  return Event(absl::StrCat("{\"index\":", choice, ",", content, ",\"logprobs\":", OrNull(logprobs),
                            ",\"finish_reason\":null}"));
}

std::string OpenAiShape::FinishEvent(size_t choice, const char* finish_reason) const {
  return Event(absl::StrCat("{\"index\":", choice, ",", is_chat_ ? "\"delta\":{}" : "\"text\":\"\"",
                            ",\"logprobs\":null,\"finish_reason\":", QuotedOrNull(finish_reason),
                            "}"));
}

std::string OpenAiShape::UsageEvent(const OpenAiUsage& usage) const {
  if (!include_usage_) return "";
  return absl::StrCat(head_, "],\"usage\":", Usage(usage), "}\n\n");
}

std::string OpenAiShape::ErrorEvent(absl::string_view error_json) {
  return absl::StrCat("data: ", error_json, "\n\n");
}

}  // namespace reprise::api
