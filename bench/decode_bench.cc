#include "bench/decode_bench.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/cli/table.h"
#include "bench/bench_models.h"
#include "bench/memory_bandwidth.h"
#include "bench/progress.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/backend.h"
#include "engine/model/demo_model.h"
#include "engine/model/model.h"

namespace reprise::bench {
namespace {

constexpr int32_t kBlockTokens = 16;
constexpr size_t kBlockAlignment = 4096;
// Time per token at a mark is the median over this many steps before it.
constexpr int64_t kWindowSteps = 50;
// The memory bandwidth is sampled between steps this far apart.
constexpr int64_t kStepsPerSample = 10;

// CPU seconds {off, on} after n steps: the figures of a published GPT-2 experiment that decodes
// greedily with and without KV cache, taken over as they are. They are of another program on
// another CPU, so only their shape compares: what the cache saves, and how time per token grows
// without it.
struct Published {
  double off, on;
};
const std::map<int64_t, Published> kPublished = {{10, {0.17, 0.18}},     {110, {8.71, 3.11}},
                                                 {310, {40.93, 9.31}},   {510, {92.43, 15.84}},
                                                 {710, {178.22, 21.82}}, {910, {332.96, 29.22}}};

struct AlignedDelete {
  void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{kBlockAlignment}); }
};
using BlockMemory = std::unique_ptr<std::byte[], AlignedDelete>;

// One arm: a sequence, its KV blocks, and how long each step took.
class Arm {
 public:
  enum class Cache { kOff, kOn };

  Arm(engine::Model* model, Cache cache, std::vector<uint32_t> prompt, int64_t max_tokens)
      : model_(model),
        cache_(cache),
        layout_(model->layout(kBlockTokens)),
        tokens_(std::move(prompt)) {
    for (int64_t t = 0; t < max_tokens; t += kBlockTokens) {
      memory_.emplace_back(new (std::align_val_t{kBlockAlignment})
                               std::byte[layout_.BytesPerBlock()]);
      blocks_.push_back(memory_.back().get());
    }
  }

  // Computes one more token, greedily.
  absl::Status Step() {
    const absl::Time start = absl::Now();
    const int64_t first = cache_ == Cache::kOn ? computed_ : 0;
    const engine::SequenceChunk chunk{.tokens = absl::MakeConstSpan(tokens_).subspan(first),
                                      .start = first,
                                      .blocks = blocks_,
                                      .wants_logits = true};
    ASSIGN_OR_RETURN(const engine::Activations logits, model_->Forward({&chunk, 1}, layout_));
    computed_ = static_cast<int64_t>(tokens_.size());
    tokens_.push_back(std::max_element(logits.data, logits.data + logits.cols) - logits.data);
    step_seconds_.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    return absl::OkStatus();
  }

  const std::vector<uint32_t>& tokens() const { return tokens_; }

  // Seconds of the first `steps` steps.
  double Seconds(int64_t steps) const {
    return std::accumulate(step_seconds_.begin(), step_seconds_.begin() + steps, 0.0);
  }

  // Median seconds of one step, over the last steps before step `steps`.
  double SecondsPerToken(int64_t steps) const {
    std::vector<double> window(step_seconds_.begin() + std::max<int64_t>(0, steps - kWindowSteps),
                               step_seconds_.begin() + steps);
    std::nth_element(window.begin(), window.begin() + window.size() / 2, window.end());
    return window[window.size() / 2];
  }

 private:
  engine::Model* const model_;
  const Cache cache_;
  const cachestore::KvLayout layout_;
  std::vector<uint32_t> tokens_;
  std::vector<BlockMemory> memory_;
  std::vector<std::byte*> blocks_;
  int64_t computed_ = 0;  // leading tokens whose KV is in the blocks
  std::vector<double> step_seconds_;
};

// GPT-2 small with its real vocabulary: the LM head is a quarter of the bytes of a step.
engine::DemoModelOptions Gpt2Small() {
  engine::DemoModelOptions options;
  options.family = "gpt2";
  options.vocab_size = 50257;
  options.hidden_size = 768;
  options.num_layers = 12;
  options.num_heads = 12;
  options.num_kv_heads = 12;
  options.intermediate_size = 3072;
  options.max_positions = 1024;
  return options;
}

void PrintSeconds(const DecodeBenchOptions& options, const Arm& off, const Arm& on,
                  std::ostream& out) {
  api::Table table({"steps", "off s", "on s", "speed-up", "off ms/token", "on ms/token",
                    "published off", "published on", "published speed-up"});
  for (const int64_t mark : options.marks) {
    const auto published = kPublished.find(mark);
    const bool known = published != kPublished.end();
    table.AddRow(
        {absl::StrCat(mark), absl::StrFormat("%.2f", off.Seconds(mark)),
         absl::StrFormat("%.2f", on.Seconds(mark)),
         absl::StrFormat("%.2f", off.Seconds(mark) / on.Seconds(mark)),
         absl::StrFormat("%.1f", off.SecondsPerToken(mark) * 1e3),
         absl::StrFormat("%.1f", on.SecondsPerToken(mark) * 1e3),
         known ? absl::StrFormat("%.2f", published->second.off) : "-",
         known ? absl::StrFormat("%.2f", published->second.on) : "-",
         known ? absl::StrFormat("%.2f", published->second.off / published->second.on) : "-"});
  }
  table.Print(out);
  out << '\n';
}

std::vector<Result> Summarize(const DecodeBenchOptions& options, const Arm& off, const Arm& on,
                              double floor_seconds) {
  const int64_t last = options.marks.back();
  std::vector<Result> results;
  Result speedup{.metric = "decode.cache_speedup", .unit = "x"};
  speedup.ours = off.Seconds(last) / on.Seconds(last);
  if (const auto it = kPublished.find(last); it != kPublished.end()) {
    speedup.peer = it->second.off / it->second.on;
  }
  // The goals are those of the published experiment: both depend on how many steps there are.
  const bool has_goals = options.marks == DecodeBenchOptions().marks;
  if (has_goals) speedup.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtLeast, 11};
  speedup.context = {{"steps", absl::StrCat(last)}, {"peer", "published GPT-2 experiment, CPU"}};
  results.push_back(speedup);

  const int64_t early = options.marks.size() > 1 ? options.marks[1] : options.marks[0];
  Result growth{.metric = "decode.time_per_token_growth", .unit = "ratio"};
  growth.ours = on.SecondsPerToken(last) / on.SecondsPerToken(early);
  if (has_goals) growth.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 1.3};
  growth.context = {{"from_step", absl::StrCat(early)}, {"to_step", absl::StrCat(last)}};
  results.push_back(growth);

  Result per_token{.metric = "decode.cached_time_per_token", .unit = "ms"};
  per_token.ours = on.SecondsPerToken(last) * 1e3;
  per_token.limit = floor_seconds * 1e3;
  per_token.context = {{"step", absl::StrCat(last)},
                       {"limit", "reading the weights once at the measured memory bandwidth"}};
  results.push_back(per_token);
  return results;
}

}  // namespace

absl::Status DecodeBenchOptions::Validate() const {
  int64_t before = 0;
  for (const int64_t mark : marks) {
    if (mark <= before) {
      return absl::InvalidArgumentError(absl::StrCat("--steps: ", mark, " stands behind ", before,
                                                     "; steps must ascend from 1 on"));
    }
    before = mark;
  }
  return marks.empty() ? absl::InvalidArgumentError("--steps: none is given") : absl::OkStatus();
}

absl::StatusOr<std::vector<Result>> RunDecodeBench(const DecodeBenchOptions& options,
                                                   std::ostream& out) {
  std::string folder = options.model_folder;
  ASSIGN_OR_RETURN(const TempFolder temp, TempFolder::Make("reprise-bench-decode"));
  if (folder.empty()) {
    folder = temp.path() + "/gpt2-small";
    RETURN_IF_ERROR(engine::WriteDemoModel(Gpt2Small(), folder));
  }
  const std::unique_ptr<engine::Backend> backend = engine::NewCpuBackend(options.num_threads);
  ASSIGN_OR_RETURN(const std::unique_ptr<engine::Model> model,
                   engine::LoadModel(folder, backend.get()));
  const int64_t max_tokens = options.prompt_tokens + options.marks.back();
  if (max_tokens > model->config().max_positions) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%d prompt tokens and %d steps exceed the model's %d positions", options.prompt_tokens,
        options.marks.back(), model->config().max_positions));
  }
  std::vector<uint32_t> prompt(options.prompt_tokens);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = (7 * i + 11) % model->config().vocab_size;

  Arm on(model.get(), Arm::Cache::kOn, prompt, max_tokens);
  Arm off(model.get(), Arm::Cache::kOff, prompt, max_tokens);
  MemoryBandwidth bandwidth(options.num_threads);
  Progress progress("decode", 2 * options.marks.back());
  int64_t begin = 0;
  for (const int64_t mark : options.marks) {
    for (int64_t step = begin; step < mark; ++step) {
      if (step % kStepsPerSample == 0) bandwidth.Sample();
      RETURN_IF_ERROR(on.Step());
      progress.Update(begin + step, "cache on");
    }
    for (int64_t step = begin; step < mark; ++step) {
      RETURN_IF_ERROR(off.Step());
      progress.Update(mark + step, "cache off");
    }
    begin = mark;
  }
  if (on.tokens() != off.tokens()) {
    return absl::InternalError("decoding with the cache gave other tokens than without it");
  }
  PrintSeconds(options, off, on, out);
  const double floor_seconds =
      StepWeightBytes(folder, model->config()) / bandwidth.BytesPerSecond();
  return Summarize(options, off, on, floor_seconds);
}

}  // namespace reprise::bench
