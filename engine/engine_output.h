// OutputStream: one sample's tokens on their way to its sink: detokenised, searched for stop
// strings, and checked against the other stop conditions. Engine-thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/model/model_config.h"
#include "engine/run/stop_filter.h"
#include "engine/sched/request.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

class OutputStream {
 public:
  // `tokenizer`, `model` and `request` must outlive the stream.
  OutputStream(const Tokenizer* tokenizer, const ModelConfig* model, const GenerateRequest* request,
               int32_t sample, std::shared_ptr<TokenSink> sink);

  // Passes a new token and the text that became complete with it to the sink, and says whether the
  // sample ends with it. A stop token is passed on as a token, its text is not. `logprobs` (may be
  // null) goes with it.
  std::optional<FinishReason> Push(uint32_t token, const TokenLogprobs* logprobs);

 private:
  bool IsStopToken(uint32_t token) const;
  // Why the sample ends with `token`, its text aside.
  std::optional<FinishReason> ReasonToEndAt(uint32_t token) const;

  const ModelConfig* const model_;
  const GenerateRequest* const request_;
  const int32_t sample_;
  const std::shared_ptr<TokenSink> sink_;
  StreamDecoder decoder_;
  StopFilter filter_;
  int64_t new_tokens_ = 0;
};

}  // namespace reprise::engine
