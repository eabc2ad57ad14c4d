#include "bench/bench.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <iostream>

#include "absl/status/statusor.h"
#include "bench/chat_bench.h"
#include "bench/decode_bench.h"
#include "bench/report.h"

namespace reprise::bench {
namespace {

// Runs `suite` and reports its results. Returns the exit code.
int Report(const std::string& json_path,
           const std::function<absl::StatusOr<std::vector<Result>>()>& suite) {
  const absl::StatusOr<std::vector<Result>> results = suite();
  if (!results.ok()) {
    std::cerr << "reprise bench: " << results.status().message() << '\n';
    return 1;
  }
  PrintTable(*results, std::cout);
  if (!json_path.empty()) {
    if (const absl::Status status = AppendJsonLines(*results, json_path); !status.ok()) {
      std::cerr << "reprise bench: " << status.message() << '\n';
      return 1;
    }
  }
  for (const Result& result : *results) {
    if (!result.Pass().value_or(true)) return 1;
  }
  return 0;
}

}  // namespace

int RunBench(const std::vector<std::string>& args) {
  CLI::App app(
      "Measures Reprise. Each suite prints a table: ours beside the limit of the machine and "
      "beside\n"
      "peers, taken in the same run, with the goal and whether it was met (exit code 1 if not).",
      "reprise bench");
  app.require_subcommand(1);
  std::string json_path;
  app.add_option("--json", json_path, "append one JSON object per result to this file");
  app.fallthrough();

  DecodeBenchOptions decode;
  CLI::App* decode_app = app.add_subcommand(
      "decode",
      "Greedy decoding with and without KV cache, as in the published GPT-2 experiment.\n"
      "The cache-off arm computes the whole sequence at each step: minutes at 910 steps.");
  decode_app->add_option("--model", decode.model_folder,
                         "Hugging Face folder (default: GPT-2 small geometry, seeded weights)");
  decode_app->add_option("--steps", decode.marks, "steps to report at, ascending")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  decode_app->add_option("--prompt-tokens", decode.prompt_tokens, "tokens before the first step")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  decode_app->add_option("--threads", decode.num_threads, "compute threads (0: one per core)")
      ->capture_default_str();

  ChatBenchOptions chat;
  CLI::App* chat_app = app.add_subcommand("chat",
                                          "Plays a written conversation through running servers in "
                                          "four arms: cache off, cache in RAM,\n"
                                          "cache on disk (RAM emptied before each turn), cache "
                                          "after kill -9 and restart before each turn.");
  chat_app->add_option("--model", chat.model_folder, "Hugging Face folder")->required();
  chat_app
      ->add_option("--conversation", chat.conversation_path,
                   "JSON file with \"system\" and \"turns\"")
      ->required();
  chat_app->add_option("--max-new-tokens", chat.max_new_tokens, "length of each answer")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  chat_app->add_option("--ram-bytes", chat.ram_bytes, "RAM tier of each server, e.g. 768MiB")
      ->capture_default_str();
  chat_app->add_option("--disk-bytes", chat.disk_bytes, "disk tier of each server, e.g. 2GiB")
      ->capture_default_str();

  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (decode_app->parsed()) {
    return Report(json_path, [&] { return RunDecodeBench(decode, std::cout); });
  }
  return Report(json_path, [&] { return RunChatBench(chat, std::cout); });
}

}  // namespace reprise::bench
