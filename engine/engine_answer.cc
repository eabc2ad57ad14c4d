#include "engine/engine_answer.h"

#include <algorithm>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::engine {

void Answer::AddSample(const Tokenizer* tokenizer, const ModelConfig* model,
                       const GenerateRequest* request) {
  samples_.emplace_back(tokenizer, model, request, num_samples(), sink_);
  result_.samples.emplace_back();
}

std::optional<FinishReason> Answer::Push(int32_t sample, uint32_t token,
                                         const TokenLogprobs* logprobs) {
  return samples_[sample].Push(token, logprobs);
}

void Answer::End(const EndedSequence& ended) {
  ++num_ended_;
  if (status_.ok()) status_ = ended.status;
  const GenerateResult own = ended.sequence->ResultAt(ended.reason, ended.ended);
  std::vector<SampleResult> samples = std::move(result_.samples);
  samples[ended.sequence->sample()] = {own.finish_reason, own.new_tokens};
  // The first sample computes the prompt: its times and hits are the request's.
  const absl::Duration total = std::max(result_.total, own.total);
  const int64_t new_tokens = result_.new_tokens + own.new_tokens;
  if (ended.sequence->sample() == 0) result_ = own;
  result_.total = total;
  result_.new_tokens = new_tokens;
  result_.samples = std::move(samples);
}

void Answer::Deliver() {
  CHECK(is_complete());
  if (status_.ok()) {
    sink_->OnFinish(result_);
  } else {
    sink_->OnError(status_);
  }
}

}  // namespace reprise::engine
