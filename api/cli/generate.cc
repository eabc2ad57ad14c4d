#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "api/cli/commands.h"
#include "api/cli/generate_flags.h"
#include "api/cli/text_file.h"
#include "api/client/inference_client.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct OneShotFlags {
  GenerateFlags generate;
  std::string prompt;
  std::string prompt_file;
  std::string tokens_file;
  bool json = false;
  int32_t top_logprobs = -1;
  int32_t num_samples = 1;
};

absl::StatusOr<v1::GenerateRequest> MakeRequest(const OneShotFlags& flags) {
  ASSIGN_OR_RETURN(v1::GenerateRequest request, flags.generate.ToRequest());
  request.set_num_samples(flags.num_samples);
  if (flags.top_logprobs >= 0) request.mutable_sampling()->set_top_logprobs(flags.top_logprobs);
  if (!flags.tokens_file.empty()) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> tokens, ReadTokens(flags.tokens_file));
    request.mutable_token_ids()->mutable_ids()->Assign(tokens.begin(), tokens.end());
  } else if (!flags.prompt_file.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_text(), ReadFile(flags.prompt_file));
  } else {
    request.set_text(flags.prompt.empty() ? ReadStdin() : flags.prompt);
  }
  return request;
}

// What the chunks of one sample said.
struct Answer {
  std::string text;
  std::vector<uint32_t> ids;
  nlohmann::ordered_json logprobs;  // one entry a token, if asked for
};

nlohmann::ordered_json LogprobsJson(const v1::TokenChunk& chunk) {
  nlohmann::ordered_json json = {{"logprob", chunk.logprob()},
                                 {"top", nlohmann::ordered_json::array()}};
  for (const v1::TokenLogprob& top : chunk.top_logprobs()) {
    json["top"].push_back({{"token_id", top.token_id()}, {"logprob", top.logprob()}});
  }
  return json;
}

nlohmann::ordered_json AnswerJson(const Answer& answer, v1::FinishReason reason) {
  nlohmann::ordered_json json;
  json["text"] = answer.text;
  json["token_ids"] = answer.ids;
  if (!answer.logprobs.empty()) json["logprobs"] = answer.logprobs;
  json["finish_reason"] = FinishReasonText(reason);
  return json;
}

// One object on one line: of one answer with its fields, of several with a list of them.
std::string Json(const std::vector<Answer>& answers, const v1::GenerateSummary& summary) {
  nlohmann::ordered_json json;
  if (answers.size() == 1) {
    json = AnswerJson(answers[0], summary.finish_reason());
  } else {
    for (size_t i = 0; i < answers.size(); ++i) {
      json["samples"].push_back(
          AnswerJson(answers[i], summary.samples(static_cast<int>(i)).finish_reason()));
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

absl::Status RunGenerate(const OneShotFlags& flags) {
  ASSIGN_OR_RETURN(const v1::GenerateRequest request, MakeRequest(flags));
  InferenceClient client(flags.generate.server);
  std::vector<Answer> answers(static_cast<size_t>(flags.num_samples));
  // Several answers come mixed with each other: they are printed when they are complete.
  const bool print_at_once = !flags.json && answers.size() == 1;
  ASSIGN_OR_RETURN(
      const v1::GenerateSummary summary,
      client.Generate(request, flags.generate.timeout(), [&](const v1::TokenChunk& chunk) {
        Answer& answer = answers.at(static_cast<size_t>(chunk.sample()));
        answer.ids.push_back(chunk.token_id());
        answer.text += chunk.text();
        if (chunk.has_logprob()) answer.logprobs.push_back(LogprobsJson(chunk));
        if (print_at_once) std::cout << chunk.text() << std::flush;
      }));
  if (flags.json) {
    std::cout << Json(answers, summary) << std::endl;
    return absl::OkStatus();
  }
  if (print_at_once) {
    std::cout << std::endl;
  } else {
    for (size_t i = 0; i < answers.size(); ++i) {
      std::cout << "[sample " << i << "]\n" << answers[i].text << std::endl;
    }
  }
  std::cerr << "[" << SummaryText(summary) << "]" << std::endl;
  return absl::OkStatus();
}

}  // namespace

void AddGenerateCommand(FlagSet& program) {
  FlagSet& command = program.AddCommand("generate", "generate once and print the text");
  const auto flags = std::make_shared<OneShotFlags>();
  command.Add("prompt", &flags->prompt, "TEXT", "the prompt; without any prompt flag: stdin");
  command.Add("prompt-file", &flags->prompt_file, "FILE", "read the prompt from a file");
  command.Add("tokens-file", &flags->tokens_file, "FILE",
              "read the prompt's token ids from a file: numbers with spaces, commas or brackets");
  command.Exclude("prompt", "prompt-file");
  command.Exclude("prompt", "tokens-file");
  command.Exclude("prompt-file", "tokens-file");
  command.AddSwitch("json", &flags->json,
                    "print one JSON object with text, token ids, cached tokens by tier and times");
  command.Add("logprobs", &flags->top_logprobs, "N",
              "with --json: log probability of each token, and of the N likeliest, 0 to 20, in the "
              "model's own distribution; -1: none");
  command.AtLeast("logprobs", -1);
  command.Need("logprobs", "json");
  command.Add("samples", &flags->num_samples, "N",
              "answers to the one prompt, 1 to 32, each with a seed of its own");
  command.AtLeast("samples", 1);
  AddGenerateFlags(command, &flags->generate);
  command.SetExamples(
      "Examples:\n"
      "  reprise generate --prompt \"Once upon a time\" --max-new-tokens 64\n"
      "  reprise generate --prompt-file long.txt --json\n"
      "  echo Hello | reprise generate --server unix:/run/reprise.sock --temperature 0.8 --seed "
      "7\n");
  command.SetAction([flags] { return ExitCode("generate", RunGenerate(*flags)); });
}

}  // namespace reprise::api
