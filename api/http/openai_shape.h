// OpenAiShape: one call's answer in the JSON of OpenAI's API, whole or as events of a stream. Text
// is written piece by piece, for it is written on the engine's thread. Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "api/http/openai_request.h"
#include "engine/sched/request.h"

namespace reprise::api {

// What a call used, of all its prompts.
struct OpenAiUsage {
  int64_t prompt_tokens = 0;
  int64_t cached_gpu_tokens = 0;
  int64_t cached_ram_tokens = 0;
  int64_t cached_disk_tokens = 0;
  int64_t new_tokens = 0;
};

// One answer of a call that is not streamed.
struct OpenAiChoice {
  std::string text;
  std::string logprobs;  // JSON; empty: not asked for
  const char* finish_reason = nullptr;
};

class OpenAiShape {
 public:
  struct Labels {
    OpenAiEndpoint endpoint = OpenAiEndpoint::kChat;
    std::string id;           // without its kind
    int64_t created = 0;      // seconds since 1970
    std::string model;        // as it is served
    std::string fingerprint;  // equal as long as the same request and seed give the same answer
    bool include_usage = false;
  };

  explicit OpenAiShape(const Labels& labels);

  // "stop", "length", or null: the answer was cut off.
  static const char* FinishReason(engine::FinishReason reason);

  // An answer that is not streamed.
  std::string Whole(const std::vector<OpenAiChoice>& choices, const OpenAiUsage& usage) const;

  // Events of a stream, each with the empty line behind it. `logprobs` is JSON or empty.
  std::string FirstEvent(size_t choice) const;  // empty for completions, which begin with text
  std::string TextEvent(size_t choice, absl::string_view text, absl::string_view logprobs) const;
  std::string FinishEvent(size_t choice, const char* finish_reason) const;
  // Empty unless the client wants it.
  std::string UsageEvent(const OpenAiUsage& usage) const;
  static std::string ErrorEvent(absl::string_view error_json);
  static std::string DoneEvent() { return "data: [DONE]\n\n"; }

 private:
  std::string Event(absl::string_view choices) const;

  const bool is_chat_;
  const bool include_usage_;
  std::string head_;   // of an event, up to its choices
  std::string whole_;  // of a whole answer, up to its choices
};

}  // namespace reprise::api
