#include "bench/bench.h"

#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "api/cli/commands.h"
#include "bench/attention_bench.h"
#include "bench/chat_bench.h"
#include "bench/decode_bench.h"
#include "bench/disk_bench.h"
#include "bench/engine_bench.h"
#include "bench/kvquant_bench.h"
#include "bench/report.h"
#include "bench/sampling_bench.h"
#include "bench/scheduler_bench.h"
#include "bench/store_bench.h"
#include "bench/ttft_bench.h"

namespace reprise::bench {
namespace {

// Runs a suite and reports its results. Returns the exit code.
int Report(const std::string& command, const std::string& json_path,
           const std::function<absl::StatusOr<std::vector<Result>>()>& suite) {
  const absl::StatusOr<std::vector<Result>> results = suite();
  if (!results.ok()) return api::ExitCode(command, results.status());
  PrintTable(*results, std::cout);
  if (!json_path.empty()) {
    if (const absl::Status status = AppendJsonLines(*results, json_path); !status.ok()) {
      return api::ExitCode(command, status);
    }
  }
  for (const Result& result : *results) {
    if (!result.Pass().value_or(true)) return api::kExitFailed;
  }
  return api::kExitOk;
}

void AddJsonFlag(api::FlagSet& command, std::string* json_path) {
  command.Add("json", json_path, "FILE", "append one JSON object per result to this file");
}

void AddAttention(api::FlagSet& bench) {
  struct Flags {
    AttentionBenchOptions options;
    bool quick = false;
    std::string json_path;
  };
  api::FlagSet& command = bench.AddCommand(
      "attention", "attention on the CPU against its arithmetic and its memory, by KV format");
  const auto flags = std::make_shared<Flags>();
  command.Add("groups", &flags->options.groups, "NAME...",
              "groups of rows to measure: prefill, decode, formats; without it all");
  command.Add("threads", &flags->options.num_threads, "N", "compute threads; 0: one per core");
  command.AtLeast("threads", 0);
  command.AddSwitch("quick", &flags->quick, "seconds; shows only that the suite works");
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples(
      "Takes a minute and 1 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench attention\n"
      "  reprise bench attention --groups formats --json results.json\n");
  command.SetAction([flags] {
    if (flags->quick) flags->options.extent = Extent::kQuick;
    return Report("bench attention", flags->json_path,
                  [&] { return RunAttentionBench(flags->options); });
  });
}

void AddDecode(api::FlagSet& bench) {
  struct Flags {
    DecodeBenchOptions options;
    std::string json_path;
  };
  api::FlagSet& command =
      bench.AddCommand("decode", "greedy decoding with and without KV cache, by steps");
  const auto flags = std::make_shared<Flags>();
  DecodeBenchOptions& options = flags->options;
  command.Add("model", &options.model_folder, "DIR",
              "Hugging Face folder; without it GPT-2 small geometry with seeded weights");
  command.Add("steps", &options.marks, "N...", "steps to report at, ascending");
  command.AtLeast("steps", 1);
  command.Add("prompt-tokens", &options.prompt_tokens, "N", "tokens before the first step");
  command.AtLeast("prompt-tokens", 1);
  command.Add("threads", &options.num_threads, "N", "compute threads; 0: one per core");
  command.AtLeast("threads", 0);
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples(
      "Without the cache each step computes the whole sequence: minutes at 910 steps.\n\n"
      "Examples:\n"
      "  reprise bench decode\n"
      "  reprise bench decode --steps 10 110 --json results.json\n");
  command.SetAction([flags] {
    if (const absl::Status status = flags->options.Validate(); !status.ok()) {
      api::ExitCode("bench decode", status);
      return api::kExitUsage;
    }
    return Report("bench decode", flags->json_path,
                  [&] { return RunDecodeBench(flags->options, std::cout); });
  });
}

void AddChat(api::FlagSet& bench) {
  struct Flags {
    ChatBenchOptions options;
    std::string json_path;
  };
  api::FlagSet& command = bench.AddCommand(
      "chat", "a written conversation through running servers: what a chat user feels");
  const auto flags = std::make_shared<Flags>();
  ChatBenchOptions& options = flags->options;
  command.Add("model", &options.model_folder, "DIR", "Hugging Face folder");
  command.Require("model");
  command.Add("conversation", &options.conversation_path, "FILE",
              "JSON file with \"system\" and at least two \"turns\"");
  command.Require("conversation");
  command.Add("max-new-tokens", &options.max_new_tokens, "N", "length of each answer");
  command.AtLeast("max-new-tokens", 1);
  command.AddBytes("ram-bytes", &options.ram_bytes, "RAM tier of each of the four servers");
  command.AddBytes("disk-bytes", &options.disk_bytes, "disk tier of each of the four servers");
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples(
      "Four arms: cache off; cache in RAM; cache on disk (RAM is emptied before each turn); cache "
      "after\n"
      "kill -9 and restart before each turn.\n\n"
      "Examples:\n"
      "  reprise bench chat --model models/qwen --conversation deploy/conversation.json\n");
  command.SetAction([flags] {
    return Report("bench chat", flags->json_path,
                  [&] { return RunChatBench(flags->options, std::cout); });
  });
}

void AddKvQuant(api::FlagSet& bench) {
  struct Flags {
    KvQuantBenchOptions options;
    std::string json_path;
  };
  api::FlagSet& command = bench.AddCommand(
      "kvquant", "what each KV format costs: bytes, error of the logits, other greedy tokens");
  const auto flags = std::make_shared<Flags>();
  KvQuantBenchOptions& options = flags->options;
  command.Add("models", &options.model_folders, "DIR...",
              "Hugging Face folders; without it one model with seeded weights of each family that "
              "can be made up");
  command.Add("prompt-tokens", &options.prompt_tokens, "N", "random tokens before the text");
  command.AtLeast("prompt-tokens", 1);
  command.Add("new-tokens", &options.new_tokens, "N", "greedy tokens that are compared");
  command.AtLeast("new-tokens", 1);
  command.Add("threads", &options.num_threads, "N", "compute threads; 0: one per core");
  command.AtLeast("threads", 0);
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples(
      "Examples:\n"
      "  reprise bench kvquant\n"
      "  reprise bench kvquant --models models/qwen --json results.json\n");
  command.SetAction([flags] {
    return Report("bench kvquant", flags->json_path,
                  [&] { return RunKvQuantBench(flags->options); });
  });
}

void AddStore(api::FlagSet& bench) {
  struct Flags {
    StoreBenchOptions options;
    bool quick = false;
    std::string json_path;
  };
  api::FlagSet& command =
      bench.AddCommand("store", "the store in process: keys, matching, RAM, growth, contention");
  const auto flags = std::make_shared<Flags>();
  command.Add(
      "groups", &flags->options.groups, "NAME...",
      "groups of rows to measure: keys, match, ram, redis, metadata, growth, contention; without "
      "it all");
  command.AddSwitch("quick", &flags->quick, "seconds; shows only that the suite works");
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples(
      "Takes a minute and 8 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench store\n"
      "  reprise bench store --groups match growth --json results.json\n");
  command.SetAction([flags] {
    if (flags->quick) flags->options.extent = Extent::kQuick;
    return Report("bench store", flags->json_path, [&] { return RunStoreBench(flags->options); });
  });
}

void AddDisk(api::FlagSet& bench) {
  struct Flags {
    DiskBenchOptions options;
    bool quick = false;
    std::string json_path;
  };
  api::FlagSet& command = bench.AddCommand(
      "disk", "the disk tier against the disk itself and against RocksDB, and its recovery");
  const auto flags = std::make_shared<Flags>();
  command.Add("directory", &flags->options.directory, "DIR",
              "a folder on the disk to measure; without it the system's temporary folder");
  command.Add("groups", &flags->options.groups, "NAME...",
              "groups of rows to measure: throughput, amplification, recovery; without it all");
  command.AddSwitch("quick", &flags->quick, "seconds; shows only that the suite works");
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples(
      "Takes minutes and 30 GiB of the disk, and a disk with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench disk --directory /data\n"
      "  reprise bench disk --groups recovery --json results.json\n");
  command.SetAction([flags] {
    if (flags->quick) flags->options.extent = Extent::kQuick;
    return Report("bench disk", flags->json_path, [&] { return RunDiskBench(flags->options); });
  });
}

// A suite of seconds without options of its own.
void AddShort(api::FlagSet& bench, const std::string& name, const std::string& description,
              absl::StatusOr<std::vector<Result>> (*measure)(Extent)) {
  struct Flags {
    bool quick = false;
    std::string json_path;
  };
  api::FlagSet& command = bench.AddCommand(name, description);
  const auto flags = std::make_shared<Flags>();
  command.AddSwitch("quick", &flags->quick, "a second; shows only that the suite works");
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples("Takes seconds.\n\nExamples:\n  reprise bench " + name + "\n");
  command.SetAction([flags, name, measure] {
    const Extent extent = flags->quick ? Extent::kQuick : Extent::kFull;
    return Report("bench " + name, flags->json_path, [&] { return measure(extent); });
  });
}

void AddEngine(api::FlagSet& bench) {
  struct Flags {
    EngineBenchOptions options;
    bool quick = false;
    std::string json_path;
  };
  api::FlagSet& command = bench.AddCommand(
      "engine", "prefill, decode and matrix products beside transformers, llama.cpp and oneDNN");
  const auto flags = std::make_shared<Flags>();
  EngineBenchOptions& options = flags->options;
  options.peers = "build/peers-venv";
  command.Add("models", &options.models, "DIR",
              "a folder to make the models in and keep them for the next run (14 GB); without it a "
              "temporary one");
  command.Add("peers", &options.peers, "DIR",
              "the folder that bench/peers/setup.sh made; where there is none, rows have no peers");
  command.Add("threads", &options.num_threads, "N",
              "threads of ours and of each peer; 0: one per core");
  command.AtLeast("threads", 0);
  command.Add("groups", &options.groups, "NAME...",
              "groups of rows to measure: qwen2_f32, qwen2_bf16, gpt2_f32, gpt2_bf16; without it "
              "all");
  command.AddSwitch("quick", &flags->quick, "seconds; shows only that the suite works");
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples(
      "Takes minutes and 12 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  bench/peers/setup.sh && reprise bench engine --models /tmp/bench-models\n"
      "  reprise bench engine --groups gpt2_bf16 --json results.json\n");
  command.SetAction([flags] {
    if (flags->quick) flags->options.extent = Extent::kQuick;
    return Report("bench engine", flags->json_path, [&] { return RunEngineBench(flags->options); });
  });
}

void AddTtft(api::FlagSet& bench) {
  struct Flags {
    TtftBenchOptions options;
    bool quick = false;
    std::string json_path;
  };
  api::FlagSet& command = bench.AddCommand(
      "ttft", "time to the first token with blocks in RAM, on disk and nowhere; conversations");
  const auto flags = std::make_shared<Flags>();
  TtftBenchOptions& options = flags->options;
  command.Add("models", &options.models, "DIR",
              "a folder to make the models in and keep them for the next run (3 GB); without it a "
              "temporary one");
  command.Add("directory", &options.directory, "DIR",
              "a folder on the disk to use; without it the system's temporary folder");
  command.Add("threads", &options.num_threads, "N", "compute threads; 0: one per core");
  command.AtLeast("threads", 0);
  command.Add("groups", &options.groups, "NAME...",
              "groups of rows to measure: hit, disk, zero, serve; without it all");
  command.AddSwitch("quick", &flags->quick, "seconds; shows only that the suite works");
  AddJsonFlag(command, &flags->json_path);
  command.SetExamples(
      "Takes minutes and 8 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench ttft --models /tmp/bench-models --directory /data\n"
      "  reprise bench ttft --groups zero --json results.json\n");
  command.SetAction([flags] {
    if (flags->quick) flags->options.extent = Extent::kQuick;
    return Report("bench ttft", flags->json_path, [&] { return RunTtftBench(flags->options); });
  });
}

}  // namespace

void AddBenchCommand(api::FlagSet& program) {
  api::FlagSet& bench = program.AddCommand(
      "bench",
      "measure: ours beside the limit of the machine and beside peers, taken in the same run, with "
      "the goal; exit code 1 when a goal is missed");
  AddAttention(bench);
  AddDecode(bench);
  AddChat(bench);
  AddKvQuant(bench);
  AddStore(bench);
  AddDisk(bench);
  AddShort(bench, "sampling", "what a token costs after its logits are there, by ways of sampling",
           RunSamplingBench);
  AddShort(bench, "scheduler", "what a step costs beside the model, with 1, 64 and 1,024 sequences",
           RunSchedulerBench);
  AddEngine(bench);
  AddTtft(bench);
  bench.SetExamples(
      "Examples:\n  reprise bench decode --help\n  reprise bench chat --help\n"
      "  reprise bench store --help\n  reprise bench disk --help\n"
      "  reprise bench sampling --help\n  reprise bench scheduler --help\n"
      "  reprise bench engine --help\n  reprise bench ttft --help\n");
}

}  // namespace reprise::bench
