// Answer: what one request's samples give, on its way to the sink. Each sample has a stream of its
// own; the sink hears of the end once, when the last sample has ended. A sample that fails makes
// the request fail. Owns the sink's share. Engine-thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine_output.h"
#include "engine/sched/request.h"
#include "engine/sched/scheduler.h"

namespace reprise::engine {

class Answer {
 public:
  explicit Answer(std::shared_ptr<TokenSink> sink) : sink_(std::move(sink)) {}

  // Adds the next sample. `tokenizer`, `model` and `request`, the sample's own, must outlive it.
  void AddSample(const Tokenizer* tokenizer, const ModelConfig* model,
                 const GenerateRequest* request);
  int32_t num_samples() const { return static_cast<int32_t>(samples_.size()); }

  // As OutputStream::Push.
  std::optional<FinishReason> Push(int32_t sample, uint32_t token, const TokenLogprobs* logprobs);
  // The sequence of a sample has ended. Samples that go on after a failed one are to be cancelled.
  void End(const EndedSequence& ended);
  // Whether every sample has ended.
  bool is_complete() const { return num_ended_ == num_samples(); }
  // The first error of a sample.
  const absl::Status& status() const { return status_; }
  // The last call to the sink. REQUIRES: is_complete(). Call once.
  void Deliver();

 private:
  const std::shared_ptr<TokenSink> sink_;
  std::vector<OutputStream> samples_;
  int32_t num_ended_ = 0;
  absl::Status status_;
  GenerateResult result_;
};

}  // namespace reprise::engine
