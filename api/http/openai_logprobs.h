// OpenAiLogprobs: the log probabilities of one answer's tokens, as they come, in the JSON of
// OpenAI's API. For one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "api/http/openai_request.h"
#include "engine/sched/request.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::api {

class OpenAiLogprobs {
 public:
  // `tokenizer` must outlive this.
  OpenAiLogprobs(OpenAiEndpoint endpoint, const engine::Tokenizer* tokenizer)
      : endpoint_(endpoint), tokenizer_(tokenizer) {}

  // `token` has log probabilities; `text_offset`: characters of the answer before its text.
  void Add(const engine::OutputToken& token, int64_t text_offset);
  // What was added since the last time, as JSON.
  std::string Take();
  size_t bytes() const;

 private:
  void AddChat(const engine::OutputToken& token);
  void AddCompletion(const engine::OutputToken& token, int64_t text_offset);

  const OpenAiEndpoint endpoint_;
  const engine::Tokenizer* const tokenizer_;
  std::string content_;  // of a chat: the entries; of a completion: the tokens
  std::string token_logprobs_;
  std::string top_logprobs_;
  std::string text_offsets_;
};

}  // namespace reprise::api
