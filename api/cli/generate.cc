#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/cli/commands.h"
#include "api/cli/generate_flags.h"
#include "api/cli/sample_answers.h"
#include "api/cli/text_file.h"
#include "api/client/inference_client.h"
#include "cachestore/base/status_macros.h"
#include "engine/sched/request.h"

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

absl::Status RunGenerate(const OneShotFlags& flags) {
  ASSIGN_OR_RETURN(const v1::GenerateRequest request, MakeRequest(flags));
  ASSIGN_OR_RETURN(const auto client, Connect<InferenceClient>(flags.generate.server));
  SampleAnswers answers(flags.num_samples);
  // Several answers come mixed with each other: they are printed when they are complete.
  const bool print_at_once = !flags.json && answers.size() == 1;
  ASSIGN_OR_RETURN(
      const v1::GenerateSummary summary,
      client->Generate(request, flags.generate.server.timeout(), [&](const v1::TokenChunk& chunk) {
        answers.Add(chunk);
        if (print_at_once) std::cout << chunk.text() << std::flush;
      }));
  RETURN_IF_ERROR(answers.Check(summary));
  if (flags.json) {
    std::cout << answers.ToJson(summary) << std::endl;
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
              absl::StrCat("answers to the one prompt, 1 to ", engine::kMaxSamples,
                           ", each with a seed of its own"));
  command.AtLeast("samples", 1);
  command.AtMost("samples", engine::kMaxSamples);
  AddGenerateFlags(command, &flags->generate);
  command.SetExamples(
      "Examples:\n"
      "  reprise generate --prompt \"Once upon a time\" --max-new-tokens 64\n"
      "  reprise generate --prompt-file long.txt --json\n"
      "  echo Hello | reprise generate --server unix:/run/reprise.sock --temperature 0.8 --seed "
      "7\n");
  command.SetAction(
      [flags] { return ExitCode("generate", flags->generate.server, RunGenerate(*flags)); });
}

}  // namespace reprise::api
