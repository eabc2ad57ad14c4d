// LogitAdjuster: logit bias and penalties, in place and with a way back.
//
//     bias         logit + bias                                of the tokens in logit_bias
//     repetition   logit / penalty, or * penalty below zero    of the tokens of prompt and answer
//     frequency    logit - penalty x times in the answer       of the tokens of the answer
//     presence     logit - penalty                             of the tokens of the answer
//
// In this order. Repetition is transformers' rule (RepetitionPenaltyLogitsProcessor); frequency and
// presence are OpenAI's, over the answer alone as in vLLM (apply_penalties).
//
// It counts a sequence's tokens anew each time rather than keep counts beside the sequence: the
// counts cannot differ after a preemption or between samples that share a prompt, and attention
// reads thousands of times as many bytes of each of those tokens.
// Keeps buffers from call to call, and nothing else. Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/sched/request.h"

namespace reprise::engine {

class LogitAdjuster {
 public:
  // Adjusts the `logits` [vocab_size] of the token that follows `tokens`, of which the first
  // `prompt_tokens` are the prompt. Touches only logits of tokens that a parameter names.
  // REQUIRES: tokens and keys of logit_bias are below vocab_size.
  void Apply(const SamplingParams& params, absl::Span<const uint32_t> tokens, int64_t prompt_tokens,
             absl::Span<float> logits);
  // Gives `logits` back, bit for bit, what the last Apply() found.
  void Undo(absl::Span<float> logits);

 private:
  struct Change {
    uint32_t token;
    float before;
  };

  void Penalise(const SamplingParams& params, absl::Span<const uint32_t> tokens,
                int64_t prompt_tokens, absl::Span<float> logits);

  std::vector<Change> changes_;        // of the last Apply(), in its order
  std::vector<uint32_t> answer_uses_;  // [vocab_size]; zeros between calls
};

}  // namespace reprise::engine
