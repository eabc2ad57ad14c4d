// PrefillRate: how fast this engine prefills, learned from its steps.
//
// In a product a row costs what every other row costs, whoever it belongs to, so a step counts with
// all its tokens as long as most of them are prefill. Its fixed costs are paid anyway, by the
// tokens behind a prefix, so only large steps tell what one more token costs: those with at least
// half as many tokens as the largest one kept. The answer is the median of the last ones, in which
// one slow step changes little. That later positions cost more in attention is left out.
//
// Engine-thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "absl/time/time.h"

namespace reprise::engine {

class PrefillRate {
 public:
  // A step with so many tokens of prompts, and so many decodes, took `time`. Zero: not measured.
  void AddStep(int64_t prefill_tokens, int64_t decode_tokens, absl::Duration time);

  // What a token of a prompt takes; none before a step has told.
  std::optional<absl::Duration> PerToken() const;
  // Its inverse; 0 before a step has told.
  int64_t tokens_per_second() const;

 private:
  struct Step {
    int64_t tokens = 0;
    double seconds = 0;
  };
  std::deque<Step> steps_;  // oldest first
};

}  // namespace reprise::engine
