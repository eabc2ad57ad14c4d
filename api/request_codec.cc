#include "api/request_codec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "api/hints_codec.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"
#include "engine/tokenizer/template_variables.h"

namespace reprise::api {
namespace {

constexpr int32_t kDefaultMaxNewTokens = 128;

absl::Status CheckTextBytes(int64_t bytes) {
  if (bytes <= kMaxTextBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the input is ", bytes, " bytes of text; at most ",
                                                 kMaxTextBytes, " are taken"));
}

// Everything that can be said without copying it.
absl::Status CheckConversation(const v1::Conversation& conversation) {
  if (conversation.messages_size() > kMaxChatMessages) {
    return absl::InvalidArgumentError(
        absl::StrCat("the conversation has ", conversation.messages_size(), " messages; at most ",
                     kMaxChatMessages, " are taken"));
  }
  int64_t bytes = static_cast<int64_t>(conversation.template_variables().size());
  for (int i = 0; i < conversation.messages_size(); ++i) {
    const v1::ChatMessage& message = conversation.messages(i);
    if (static_cast<int64_t>(message.role().size()) > kMaxRoleBytes) {
      return absl::InvalidArgumentError(absl::StrCat("the role of message ", i + 1, " is ",
                                                     message.role().size(), " bytes long; at most ",
                                                     kMaxRoleBytes, " are taken"));
    }
    bytes += static_cast<int64_t>(message.content().size() + message.members().size());
  }
  return CheckTextBytes(bytes);
}

absl::StatusOr<std::vector<uint32_t>> PromptOf(const engine::Engine& engine,
                                               const v1::GenerateRequest& request) {
  switch (request.input_case()) {
    case v1::GenerateRequest::kText:
      return TokenizeText(engine, request.text());
    case v1::GenerateRequest::kConversation:
      return TokenizeConversation(engine, request.conversation());
    case v1::GenerateRequest::kTokenIds: {
      const auto& ids = request.token_ids().ids();
      if (ids.size() > kMaxRequestTokens) {
        return absl::InvalidArgumentError(absl::StrCat(
            "token_ids holds ", ids.size(), " tokens; at most ", kMaxRequestTokens, " are taken"));
      }
      return std::vector<uint32_t>(ids.begin(), ids.end());
    }
    case v1::GenerateRequest::INPUT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("input is missing: set text, token_ids or conversation");
}

absl::StatusOr<engine::StopConditions> StopOf(const v1::Stop& message) {
  if (message.token_ids_size() > kMaxStopTokens) {
    return absl::InvalidArgumentError(absl::StrCat("stop.token_ids holds ",
                                                   message.token_ids_size(), " ids; at most ",
                                                   kMaxStopTokens, " are taken"));
  }
  engine::StopConditions stop;
  stop.max_new_tokens =
      message.max_new_tokens() == 0 ? kDefaultMaxNewTokens : message.max_new_tokens();
  stop.ignore_eos = message.ignore_eos();
  stop.stop_token_ids.assign(message.token_ids().begin(), message.token_ids().end());
  stop.stop_strings.assign(message.strings().begin(), message.strings().end());
  return stop;
}

engine::SamplingParams SamplingOf(const v1::Sampling& message) {
  engine::SamplingParams sampling;
  sampling.temperature = message.temperature();
  sampling.top_k = message.top_k();
  sampling.top_p = message.has_top_p() ? message.top_p() : 1;
  sampling.min_p = message.min_p();
  sampling.repetition_penalty = message.has_repetition_penalty() ? message.repetition_penalty() : 1;
  sampling.presence_penalty = message.presence_penalty();
  sampling.frequency_penalty = message.frequency_penalty();
  sampling.logit_bias.insert(message.logit_bias().begin(), message.logit_bias().end());
  if (message.has_top_logprobs()) sampling.top_logprobs = message.top_logprobs();
  sampling.seed = message.seed();
  return sampling;
}

v1::FinishReason ToProto(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kStopToken:
      return v1::FINISH_REASON_STOP_TOKEN;
    case engine::FinishReason::kStopString:
      return v1::FINISH_REASON_STOP_STRING;
    case engine::FinishReason::kMaxTokens:
      return v1::FINISH_REASON_MAX_TOKENS;
    case engine::FinishReason::kContextFull:
      return v1::FINISH_REASON_CONTEXT_FULL;
    case engine::FinishReason::kCancelled:
      return v1::FINISH_REASON_CANCELLED;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

}  // namespace

absl::StatusOr<std::vector<uint32_t>> TokenizeText(const engine::Engine& engine,
                                                   const std::string& text) {
  RETURN_IF_ERROR(CheckTextBytes(static_cast<int64_t>(text.size())));
  return engine.tokenizer().Encode(text);
}

absl::StatusOr<std::vector<uint32_t>> TokenizeConversation(const engine::Engine& engine,
                                                           const v1::Conversation& conversation) {
  RETURN_IF_ERROR(CheckConversation(conversation));
  std::vector<engine::ChatMessage> messages;
  messages.reserve(static_cast<size_t>(conversation.messages_size()));
  for (const v1::ChatMessage& message : conversation.messages()) {
    absl::StatusOr<engine::jinja::Map> members = engine::ReadMessageMembers(message.members());
    if (!members.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("message ", messages.size() + 1, ": ", members.status().message()));
    }
    messages.push_back({message.role(), message.content(), *std::move(members)});
  }
  ASSIGN_OR_RETURN(const engine::jinja::Map variables,
                   engine::ReadTemplateVariables(conversation.template_variables()));
  return engine.chat_format().RenderTokens(messages, variables);
}

absl::StatusOr<engine::GenerateRequest> FromProto(const engine::Engine& engine,
                                                  const v1::GenerateRequest& request,
                                                  const Principal& principal,
                                                  const std::string& tenant) {
  engine::GenerateRequest parsed;
  ASSIGN_OR_RETURN(parsed.prompt, PromptOf(engine, request));
  parsed.sampling = SamplingOf(request.sampling());
  ASSIGN_OR_RETURN(parsed.stop, StopOf(request.stop()));
  if (request.has_conversation()) {
    const engine::ChatFormat& format = engine.chat_format();
    std::vector<uint32_t>& ids = parsed.stop.stop_token_ids;
    ids.insert(ids.end(), format.stop_token_ids().begin(), format.stop_token_ids().end());
    std::vector<std::string>& strings = parsed.stop.stop_strings;
    strings.insert(strings.end(), format.stop_strings().begin(), format.stop_strings().end());
  }
  parsed.cache =
      request.cache_use() == v1::CACHE_USE_OFF ? engine::CacheMode::kOff : engine::CacheMode::kUse;
  parsed.exact_kv = request.exact_kv();
  parsed.tenant = tenant.empty() ? kDefaultTenant : tenant;
  parsed.salt = request.salt();
  parsed.priority = PriorityFor(principal, request.priority());
  parsed.num_samples = request.num_samples() == 0 ? 1 : request.num_samples();
  ASSIGN_OR_RETURN(parsed.hints, HintsFrom(request.hints(), principal, parsed.tenant));
  if (request.has_conversation()) {
    AddHintsOf(request.conversation(), &parsed.hints);
    parsed.offers_tools = OffersTools(request.conversation());
  }
  return parsed;
}

v1::TokenChunk ToProto(const engine::OutputToken& token) {
  v1::TokenChunk chunk;
  chunk.set_token_id(token.id);
  chunk.set_sample(token.sample);
  chunk.set_text(token.text.data(), token.text.size());
  if (token.logprobs == nullptr) return chunk;
  chunk.set_logprob(token.logprobs->chosen);
  for (const engine::TokenLogprob& likely : token.logprobs->top) {
    v1::TokenLogprob& top = *chunk.add_top_logprobs();
    top.set_token_id(likely.token);
    top.set_logprob(likely.logprob);
  }
  return chunk;
}

v1::GenerateSummary ToProto(const engine::GenerateResult& result, int32_t block_tokens) {
  v1::GenerateSummary summary;
  summary.set_finish_reason(ToProto(result.finish_reason));
  summary.set_prompt_tokens(result.prompt_tokens);
  summary.mutable_cached_tokens()->set_gpu(result.cached_gpu_tokens);
  summary.mutable_cached_tokens()->set_ram(result.cached_ram_tokens);
  summary.mutable_cached_tokens()->set_disk(result.cached_disk_tokens);
  summary.set_new_tokens(result.new_tokens);
  for (const engine::SampleResult& result_of_one : result.samples) {
    v1::SampleSummary& sample = *summary.add_samples();
    sample.set_finish_reason(ToProto(result_of_one.finish_reason));
    sample.set_new_tokens(result_of_one.new_tokens);
  }
  summary.set_queue_seconds(absl::ToDoubleSeconds(result.queue_time));
  summary.set_load_seconds(absl::ToDoubleSeconds(result.load_time));
  summary.set_ttft_seconds(absl::ToDoubleSeconds(result.ttft));
  summary.set_total_seconds(absl::ToDoubleSeconds(result.total));
  const double decode_seconds = absl::ToDoubleSeconds(result.total - result.ttft);
  if (result.new_tokens > 1 && decode_seconds > 0) {
    summary.set_decode_tokens_per_second(static_cast<double>(result.new_tokens - 1) /
                                         decode_seconds);
  }
  summary.set_block_tokens(block_tokens);
  return summary;
}

}  // namespace reprise::api
