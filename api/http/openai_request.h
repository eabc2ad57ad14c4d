// The body of a call of OpenAI's API, checked and turned into the requests it stands for. Every
// parameter is taken, known to change nothing that the client could notice (ignored, README.md), or
// refused by name. Pure functions, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "reprise/v1/inference.pb.h"

namespace reprise::api {

enum class OpenAiEndpoint { kChat, kCompletions };

struct OpenAiCall {
  OpenAiEndpoint endpoint = OpenAiEndpoint::kChat;
  std::string model;  // empty: whichever is served
  // One for each prompt, alike but for the input; of a chat one. Without tenant.
  // stop.max_new_tokens is 0 where the client says nothing.
  std::vector<v1::GenerateRequest> prompts;
  bool has_seed = false;
  bool stream = false;
  bool include_usage = false;  // in a stream: the last chunk tells the usage

  int num_samples() const { return prompts[0].num_samples(); }
  bool wants_logprobs() const { return prompts[0].sampling().has_top_logprobs(); }
};

// kInvalidArgument, with the parameter (WithParam): not JSON, a parameter that is missing, of a
// wrong type, out of range, or that is not supported and would change the answer. What only the
// engine can judge is left to it. kResourceExhausted: no memory for the JSON.
absl::StatusOr<OpenAiCall> ParseOpenAiCall(OpenAiEndpoint endpoint, absl::string_view body);

}  // namespace reprise::api
