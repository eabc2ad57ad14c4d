#include "engine/engine_output.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace reprise::engine {
namespace {

bool Contains(const std::vector<uint32_t>& tokens, uint32_t token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

}  // namespace

OutputStream::OutputStream(const Tokenizer* tokenizer, const ModelConfig* model,
                           const GenerateRequest* request, int32_t sample,
                           std::shared_ptr<TokenSink> sink)
    : model_(model),
      request_(request),
      sample_(sample),
      sink_(std::move(sink)),
      decoder_(tokenizer),
      filter_(request->stop.stop_strings) {}

std::optional<FinishReason> OutputStream::Push(uint32_t token, const TokenLogprobs* logprobs) {
  ++new_tokens_;
  std::optional<FinishReason> reason = ReasonToEndAt(token);
  std::string text = reason == FinishReason::kStopToken ? std::string() : decoder_.Push(token);
  if (reason.has_value()) text += decoder_.Finish();
  std::string passed = filter_.Push(text);
  if (filter_.stopped()) {
    reason = FinishReason::kStopString;
  } else if (reason.has_value()) {
    passed += filter_.Finish();
  }
  sink_->OnToken({.id = token, .sample = sample_, .text = passed, .logprobs = logprobs});
  return reason;
}

bool OutputStream::IsStopToken(uint32_t token) const {
  return Contains(request_->stop.stop_token_ids, token) ||
         (!request_->stop.ignore_eos && Contains(model_->eos_token_ids, token));
}

std::optional<FinishReason> OutputStream::ReasonToEndAt(uint32_t token) const {
  if (IsStopToken(token)) return FinishReason::kStopToken;
  if (new_tokens_ >= request_->stop.max_new_tokens) return FinishReason::kMaxTokens;
  // The context is shared by prompt and answer; a prompt that fills it still gets one token.
  const int64_t tokens = static_cast<int64_t>(request_->prompt.size()) + new_tokens_;
  if (tokens >= model_->max_positions) return FinishReason::kContextFull;
  return std::nullopt;
}

}  // namespace reprise::engine
