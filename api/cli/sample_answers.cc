#include "api/cli/sample_answers.h"

#include "absl/strings/str_cat.h"
#include "api/cli/generate_flags.h"

namespace reprise::api {
namespace {

nlohmann::ordered_json LogprobsJson(const v1::TokenChunk& chunk) {
  nlohmann::ordered_json json = {{"logprob", chunk.logprob()},
                                 {"top", nlohmann::ordered_json::array()}};
  for (const v1::TokenLogprob& top : chunk.top_logprobs()) {
    json["top"].push_back({{"token_id", top.token_id()}, {"logprob", top.logprob()}});
  }
  return json;
}

nlohmann::ordered_json AnswerJson(const SampleAnswer& answer, v1::FinishReason reason) {
  nlohmann::ordered_json json;
  json["text"] = answer.text;
  json["token_ids"] = answer.ids;
  if (!answer.logprobs.empty()) json["logprobs"] = answer.logprobs;
  json["finish_reason"] = FinishReasonText(reason);
  return json;
}

}  // namespace

void SampleAnswers::Add(const v1::TokenChunk& chunk) {
  if (chunk.sample() < 0 || static_cast<size_t>(chunk.sample()) >= answers_.size()) {
    status_.Update(
        absl::InternalError(absl::StrCat("the server sent a token of sample ", chunk.sample(),
                                         ", but ", answers_.size(), " were asked for")));
    return;
  }
  SampleAnswer& answer = answers_[static_cast<size_t>(chunk.sample())];
  answer.ids.push_back(chunk.token_id());
  answer.text += chunk.text();
  if (chunk.has_logprob()) answer.logprobs.push_back(LogprobsJson(chunk));
}

absl::Status SampleAnswers::Check(const v1::GenerateSummary& summary) const {
  if (!status_.ok()) return status_;
  const auto ended = static_cast<size_t>(summary.samples_size());
  // Of one sample the summary itself says how it ended.
  if (answers_.size() == 1 || ended == answers_.size()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the server answered with ", ended, " samples, but ",
                                          answers_.size(),
                                          " were asked for; a server without samples is too old"));
}

std::string SampleAnswers::ToJson(const v1::GenerateSummary& summary) const {
  nlohmann::ordered_json json;
  if (answers_.size() == 1) {
    json = AnswerJson(answers_[0], summary.finish_reason());
  } else {
    for (size_t i = 0; i < answers_.size(); ++i) {
      json["samples"].push_back(
          AnswerJson(answers_[i], summary.samples(static_cast<int>(i)).finish_reason()));
    }
  }
  json["prompt_tokens"] = summary.prompt_tokens();
  json["cached_tokens"] = {{"gpu", summary.cached_tokens().gpu()},
                           {"ram", summary.cached_tokens().ram()},
                           {"disk", summary.cached_tokens().disk()}};
  json["new_tokens"] = summary.new_tokens();
  json["queue_seconds"] = summary.queue_seconds();
  json["load_seconds"] = summary.load_seconds();
  json["ttft_seconds"] = summary.ttft_seconds();
  json["total_seconds"] = summary.total_seconds();
  json["decode_tokens_per_second"] = summary.decode_tokens_per_second();
  json["block_tokens"] = summary.block_tokens();
  return json.dump();
}

}  // namespace reprise::api
