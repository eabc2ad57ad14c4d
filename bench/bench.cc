#include "bench/bench.h"

#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "api/cli/commands.h"
#include "bench/attention_bench.h"
#include "bench/chat_bench.h"
#include "bench/decode_bench.h"
#include "bench/disk_bench.h"
#include "bench/engine_bench.h"
#include "bench/gpu_attention_bench.h"
#include "bench/gpu_copy_bench.h"
#include "bench/gpu_engine_bench.h"
#include "bench/hitrate_bench.h"
#include "bench/kvquant_bench.h"
#include "bench/report.h"
#include "bench/rpc_bench.h"
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
  if (!results->empty()) PrintTable(*results, std::cout);
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

// One suite as a command: the flags that suites share, each asked for by name, and those of its
// own. The command and its action share the options.
template <typename Options>
class Suite {
 public:
  Suite(api::FlagSet& bench, const std::string& name, const std::string& description)
      : name_(name), command_(bench.AddCommand(name, description)) {}

  api::FlagSet& command() { return command_; }
  Options& options() { return state_->options; }

  // `names`: what --groups takes.
  void AddGroups(const std::string& names) {
    command_.Add("groups", &options().groups, "NAME...",
                 "groups of rows to measure: " + names + "; without it all");
  }
  void AddThreads(const std::string& description = "compute threads; 0: one per core") {
    command_.Add("threads", &options().num_threads, "N", description);
    command_.AtLeast("threads", 0);
  }
  void AddQuick() {
    command_.AddSwitch("quick", &state_->quick, "seconds; shows only that the suite works");
  }
  // Adds --json and what the command does: `measure` the rows with the options. `text` says what it
  // takes; then come the examples.
  void Finish(const std::string& text,
              std::function<absl::StatusOr<std::vector<Result>>(const Options&)> measure) {
    command_.Add("json", &state_->json_path, "FILE",
                 "append one JSON object per result to this file");
    command_.SetExamples(text);
    command_.SetAction([state = state_, name = "bench " + name_, measure = std::move(measure)] {
      if constexpr (requires { state->options.extent; }) {
        if (state->quick) state->options.extent = Extent::kQuick;
      }
      if constexpr (requires { state->options.Validate(); }) {
        if (const absl::Status status = state->options.Validate(); !status.ok()) {
          api::ExitCode(name, status);
          return api::kExitUsage;
        }
      }
      return Report(name, state->json_path, [&] { return measure(state->options); });
    });
  }

 private:
  struct State {
    Options options;
    bool quick = false;
    std::string json_path;
  };
  const std::string name_;
  api::FlagSet& command_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

void AddAttention(api::FlagSet& bench) {
  Suite<AttentionBenchOptions> suite(
      bench, "attention",
      "attention on the CPU against its arithmetic and its memory, by KV format");
  suite.AddGroups("prefill, decode, formats");
  suite.AddThreads();
  suite.AddQuick();
  suite.Finish(
      "Takes a minute and 1 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench attention\n"
      "  reprise bench attention --groups formats --json results.json\n",
      RunAttentionBench);
}

void AddDecode(api::FlagSet& bench) {
  Suite<DecodeBenchOptions> suite(bench, "decode",
                                  "greedy decoding with and without KV cache, by steps");
  DecodeBenchOptions& options = suite.options();
  suite.command().Add("model", &options.model_folder, "DIR",
                      "Hugging Face folder; without it GPT-2 small geometry with seeded weights");
  suite.command().Add("steps", &options.marks, "N...", "steps to report at, ascending");
  suite.command().AtLeast("steps", 1);
  suite.command().Add("prompt-tokens", &options.prompt_tokens, "N", "tokens before the first step");
  suite.command().AtLeast("prompt-tokens", 1);
  suite.AddThreads();
  suite.Finish(
      "Without the cache each step computes the whole sequence: minutes at 910 steps.\n\n"
      "Examples:\n"
      "  reprise bench decode\n"
      "  reprise bench decode --steps 10 110 --json results.json\n",
      [](const DecodeBenchOptions& o) { return RunDecodeBench(o, std::cout); });
}

void AddChat(api::FlagSet& bench) {
  Suite<ChatBenchOptions> suite(
      bench, "chat", "a written conversation through running servers: what a chat user feels");
  ChatBenchOptions& options = suite.options();
  api::FlagSet& command = suite.command();
  command.Add("model", &options.model_folder, "DIR", "Hugging Face folder");
  command.Require("model");
  command.Add("conversation", &options.conversation_path, "FILE",
              "JSON file with \"system\" and at least two \"turns\"");
  command.Require("conversation");
  command.Add("max-new-tokens", &options.max_new_tokens, "N", "length of each answer");
  command.AtLeast("max-new-tokens", 1);
  command.AddBytes("ram-bytes", &options.ram_bytes, "RAM tier of each of the four servers");
  command.AddBytes("disk-bytes", &options.disk_bytes, "disk tier of each of the four servers");
  suite.Finish(
      "Four arms: cache off; cache in RAM; cache on disk (RAM is moved there before each turn); "
      "cache\n"
      "after kill -9 and restart before each turn (RAM is moved to disk before the kill).\n\n"
      "Examples:\n"
      "  reprise bench chat --model models/qwen --conversation deploy/conversation.json\n",
      [](const ChatBenchOptions& o) { return RunChatBench(o, std::cout); });
}

void AddKvQuant(api::FlagSet& bench) {
  Suite<KvQuantBenchOptions> suite(
      bench, "kvquant",
      "what each KV format costs: bytes, error of the logits, other greedy tokens");
  KvQuantBenchOptions& options = suite.options();
  api::FlagSet& command = suite.command();
  command.Add("models", &options.model_folders, "DIR...",
              "Hugging Face folders; without it one model with seeded weights of each family that "
              "can be made up");
  command.Add("prompt-tokens", &options.prompt_tokens, "N", "random tokens before the text");
  command.AtLeast("prompt-tokens", 1);
  command.Add("new-tokens", &options.new_tokens, "N", "greedy tokens that are compared");
  command.AtLeast("new-tokens", 1);
  suite.AddThreads();
  suite.Finish(
      "Examples:\n"
      "  reprise bench kvquant\n"
      "  reprise bench kvquant --models models/qwen --json results.json\n",
      RunKvQuantBench);
}

void AddStore(api::FlagSet& bench) {
  Suite<StoreBenchOptions> suite(bench, "store",
                                 "the store in process: keys, matching, RAM, growth, contention");
  suite.AddGroups("keys, match, ram, redis, metadata, growth, contention");
  suite.AddQuick();
  suite.Finish(
      "Takes a minute and 8 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench store\n"
      "  reprise bench store --groups match growth --json results.json\n",
      RunStoreBench);
}

void AddDisk(api::FlagSet& bench) {
  Suite<DiskBenchOptions> suite(
      bench, "disk", "the disk tier against the disk itself and against RocksDB, and its recovery");
  suite.command().Add("directory", &suite.options().directory, "DIR",
                      "a folder on the disk to measure; without it the system's temporary folder");
  suite.AddGroups("throughput, amplification, recovery");
  suite.AddQuick();
  suite.Finish(
      "Takes minutes and 30 GiB of the disk, and a disk with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench disk --directory /data\n"
      "  reprise bench disk --groups recovery --json results.json\n",
      RunDiskBench);
}

void AddRpc(api::FlagSet& bench) {
  Suite<RpcBenchOptions> suite(
      bench, "rpc", "the Cache service over the loopback interface and in shared memory");
  suite.options().peers = "build/peers-venv";
  suite.command().Add("peers", &suite.options().peers, "DIR",
                      "the folder that bench/peers/setup.sh made; where there is none, rows have "
                      "no peers but redis-server");
  suite.AddGroups("match, transfer, shm, load, peers, open_loop");
  suite.AddQuick();
  suite.Finish(
      "Takes six minutes and 8 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench rpc\n"
      "  reprise bench rpc --groups match shm --json results.json\n",
      RunRpcBench);
}

// A suite of seconds without options of its own.
void AddShort(api::FlagSet& bench, const std::string& name, const std::string& description,
              absl::StatusOr<std::vector<Result>> (*measure)(Extent)) {
  struct Options {
    Extent extent = Extent::kFull;
  };
  Suite<Options> suite(bench, name, description);
  suite.AddQuick();
  suite.Finish("Takes seconds.\n\nExamples:\n  reprise bench " + name + "\n",
               [measure](const Options& options) { return measure(options.extent); });
}

void AddEngine(api::FlagSet& bench) {
  Suite<EngineBenchOptions> suite(
      bench, "engine",
      "prefill, decode and matrix products beside transformers, llama.cpp and oneDNN");
  EngineBenchOptions& options = suite.options();
  options.peers = "build/peers-venv";
  suite.command().Add("models", &options.models, "DIR",
                      "a folder to make the models in and keep them for the next run (14 GB); "
                      "without it a temporary one");
  suite.command().Add("peers", &options.peers, "DIR",
                      "the folder that bench/peers/setup.sh made; where there is none, rows have "
                      "no peers");
  suite.AddThreads("threads of ours and of each peer; 0: one per core");
  suite.AddGroups("qwen2_f32, qwen2_bf16, gpt2_f32, gpt2_bf16");
  suite.AddQuick();
  suite.Finish(
      "Takes minutes and 12 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  bench/peers/setup.sh && reprise bench engine --models /tmp/bench-models\n"
      "  reprise bench engine --groups gpt2_bf16 --json results.json\n",
      RunEngineBench);
}

void AddGpuCopy(api::FlagSet& bench) {
  Suite<GpuCopyBenchOptions> suite(
      bench, "gpu-copy", "copies between host and GPU, beside one large pinned copy; needs a GPU");
  suite.AddGroups("blocks, scattered, interference, crossover");
  suite.AddQuick();
  suite.Finish(
      "Takes a minute, 2 GiB of RAM and as much of the GPU.\n\n"
      "Examples:\n"
      "  reprise bench gpu-copy\n"
      "  reprise bench gpu-copy --groups crossover --json results.json\n",
      [](const GpuCopyBenchOptions& o) {
        return RunGpuCopyBench(o, cachestore::OpenDevice, OpenProductLoop);
      });
}

void AddGpuAttention(api::FlagSet& bench) {
  Suite<GpuAttentionBenchOptions> suite(
      bench, "gpu-attention",
      "attention on a GPU, beside its memory and its matrix units; needs one");
  suite.command().Add(
      "peers", &suite.options().peers, "WORD...",
      "a command that runs bench/gpu/peers/attention_peers.py; without it rows have "
      "no peers");
  suite.AddGroups("decode, skew, fp8, cascade, prefill, prefill_hopper");
  suite.AddQuick();
  suite.Finish(
      "Takes minutes and 36 GiB of the GPU; with peers 72 to 105.\n\n"
      "Examples:\n"
      "  reprise bench gpu-attention --groups decode fp8\n"
      "  reprise bench gpu-attention --peers python3 bench/gpu/peers/attention_peers.py\n",
      [](const GpuAttentionBenchOptions& o) {
        return RunGpuAttentionBench(o, cachestore::OpenDevice, OurAttentionWorks(),
                                    OpenProductLoop);
      });
}

void AddGpuEngine(api::FlagSet& bench) {
  Suite<GpuEngineBenchOptions> suite(
      bench, "gpu-engine", "an 8B model on a GPU: prompts whose KV is in RAM, and decoding");
  suite.command().Add(
      "peers", &suite.options().peers, "WORD...",
      "a command that runs bench/gpu/peers/transformers_decode.py; without it rows have no peers");
  suite.AddGroups("decode_1, decode_8, decode_64, ttft_1k, ttft_16k, ttft_100k");
  suite.AddQuick();
  suite.Finish(
      "Takes minutes, 40 GiB of the GPU (70 with peers), and 48 GiB of RAM. Weights are made up, "
      "in memory.\n\n"
      "Examples:\n"
      "  reprise bench gpu-engine --groups ttft_1k\n"
      "  reprise bench gpu-engine --groups decode_8 --peers python3 "
      "bench/gpu/peers/transformers_decode.py\n",
      [](const GpuEngineBenchOptions& o) {
        return RunGpuEngineBench(
            o, {engine::cuda::OpenCard, cachestore::OpenDevice, OurAttentionWorks()});
      });
}

void AddHitrate(api::FlagSet& bench) {
  Suite<HitrateBenchOptions> suite(
      bench, "hitrate",
      "request traces replayed against eviction policies, beside the bounds of any policy");
  HitrateBenchOptions& options = suite.options();
  api::FlagSet& command = suite.command();
  command.Add("traces", &options.traces, "FILE...",
              "traces to replay (bench/README.md: formats); without it two that are made up");
  command.Add("policies", &options.policies, "NAME...", "policies to replay; without it all");
  command.Add("capacities", &options.capacities, "PERCENT...",
              "of a trace's different blocks; without it from 0.1 to 100");
  command.Add("blocks", &options.blocks, "N...", "capacities in blocks");
  command.AtLeast("blocks", 1);
  command.AddChoice(
      "figure", {"blocks", "tokens", "cost"}, "blocks",
      [&options](const std::string& figure) {
        options.figure = figure == "tokens" ? Figure::kTokens
                         : figure == "cost" ? Figure::kCost
                                            : Figure::kBlocks;
      },
      "what tables and plot show: hits of blocks, or what is saved of the prefill's tokens or "
      "cost");
  command.AddChoice(
      "room", {"after", "before"}, options.room,
      [&options](const std::string& room) { options.room = room; },
      "when blocks go: after the whole request came in, or before each new block, as in the store");
  command.Add("tiers", &options.tiers, "GPU RAM DISK",
              "sizes of the tiers in percent, 0 for none; without it no GPU, 5, and 100");
  command.Add("block-tokens", &options.log_block_tokens, "N", "blocks of logs with token ids");
  command.AtLeast("block-tokens", 1);
  command.Add("cells", &options.cells_path, "FILE", "every figure, as CSV");
  command.Add("plot", &options.plot_path, "FILE", "hit ratio over capacity, as SVG");
  command.Add("generate", &options.generate, "KIND FILE",
              "only make up a trace, of kind chat or agent, and write it");
  command.Add("seed", &options.seed, "N", "of traces that are made up");
  command.Add("requests", &options.num_requests, "N", "of traces that are made up");
  command.AtLeast("requests", 1);
  command.AddSwitch("goals", &options.goals,
                    "judge any traces by the goals, which are for the public ones, and measure "
                    "what the policy itself takes; minutes more");
  suite.AddQuick();
  // Goals are for whole traces at the capacities and tiers that they were set for.
  command.Need("goals", "traces");
  for (const char* other : {"capacities", "blocks", "tiers", "generate", "quick"}) {
    command.Exclude("goals", other);
  }
  suite.Finish(
      "One thread, in virtual time; a policy takes seconds at all capacities.\n\n"
      "Examples:\n"
      "  reprise bench hitrate --traces *.ktr.gz --plot hitrate.svg\n"
      "  reprise bench hitrate --traces log.jsonl --policies lru arc --capacities 1 3 10\n"
      "  reprise bench hitrate --generate chat chat.ktr.gz\n",
      [](const HitrateBenchOptions& o) { return RunHitrateBench(o, std::cout); });
}

void AddTtft(api::FlagSet& bench) {
  Suite<TtftBenchOptions> suite(
      bench, "ttft",
      "time to the first token with blocks in RAM, on disk and nowhere; conversations");
  TtftBenchOptions& options = suite.options();
  suite.command().Add("models", &options.models, "DIR",
                      "a folder to make the models in and keep them for the next run (3 GB); "
                      "without it a temporary one");
  suite.command().Add("directory", &options.directory, "DIR",
                      "a folder on the disk to use; without it the system's temporary folder");
  suite.AddThreads();
  suite.AddGroups("hit, disk, by_layer, zero, serve");
  suite.AddQuick();
  suite.Finish(
      "Takes minutes and 8 GiB of RAM, and a machine with nothing else to do.\n\n"
      "Examples:\n"
      "  reprise bench ttft --models /tmp/bench-models --directory /data\n"
      "  reprise bench ttft --groups zero --json results.json\n",
      RunTtftBench);
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
  AddRpc(bench);
  AddShort(bench, "sampling", "what a token costs after its logits are there, by ways of sampling",
           RunSamplingBench);
  AddShort(bench, "scheduler", "what a step costs beside the model, with 1, 64 and 1,024 sequences",
           RunSchedulerBench);
  AddEngine(bench);
  AddTtft(bench);
  AddHitrate(bench);
  AddGpuCopy(bench);
  AddGpuAttention(bench);
  AddGpuEngine(bench);
  bench.SetExamples(
      "Examples:\n  reprise bench decode --help\n  reprise bench chat --help\n"
      "  reprise bench store --help\n  reprise bench disk --help\n"
      "  reprise bench rpc --help\n"
      "  reprise bench sampling --help\n  reprise bench scheduler --help\n"
      "  reprise bench engine --help\n  reprise bench ttft --help\n"
      "  reprise bench hitrate --help\n"
      "  reprise bench gpu-copy --help\n  reprise bench gpu-attention --help\n"
      "  reprise bench gpu-engine --help\n");
}

}  // namespace reprise::bench
