#include "bench/ttft_bench.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/bench_models.h"
#include "bench/rounds.h"
#include "bench/row_groups.h"
#include "bench/running_engine.h"
#include "bench/synthetic.h"
#include "bench/temp_folder.h"
#include "bench/ttft_rows.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using engine::CacheMode;

constexpr int64_t kMiB = int64_t{1} << 20;

// An engine over a store of `ram_bytes` and, unless `disk` is empty, a disk tier there; a bare
// model beside it; and a prompt of whole blocks and one token, whose blocks are cached.
struct CachedPrompt {
  std::unique_ptr<RunningEngine> running;
  BareModel bare;
  cachestore::NamespaceHandle ns;
  std::vector<uint32_t> prompt;
  int64_t blocks = 0;

  // Seconds to the first token; kInternal unless all blocks were hit, `from_disk` or in RAM.
  absl::StatusOr<double> Hit(bool from_disk) {
    ASSIGN_OR_RETURN(const Answer answer, running->Generate(prompt, 1, CacheMode::kUse));
    const engine::GenerateResult& result = answer.result;
    const int64_t hit = from_disk ? result.cached_disk_tokens : result.cached_ram_tokens;
    if (hit != blocks * ns.layout.block_tokens) {
      return absl::InternalError(
          absl::StrCat("only ", hit, " of ", prompt.size(), " prompt tokens were hits"));
    }
    return absl::ToDoubleSeconds(result.ttft);
  }

  // Seconds of computing one token behind the blocks, by the model alone.
  absl::StatusOr<double> LastToken() {
    ASSIGN_OR_RETURN(const Decoded decoded, bare.decoder->Decode(1));
    return decoded.seconds;
  }
};

absl::StatusOr<CachedPrompt> CachePrompt(const TtftSetting& setting, const std::string& disk) {
  const std::string name = ByExtent(setting.extent, "gpt2_f32", "qwen2_bf16");
  ASSIGN_OR_RETURN(const std::string folder, TtftModel(setting, name));
  engine::EngineOptions options;
  options.model_folder = folder;
  options.num_threads = setting.num_threads;
  // So little to compute is sooner done than a thread that loads is late.
  options.prefix_loading =
      ByExtent(setting.extent, engine::PrefixLoading::kAlways, engine::PrefixLoading::kWhereFaster);
  cachestore::StoreOptions store;
  store.ram.capacity_bytes = ByExtent(setting.extent, 64 * kMiB, 512 * kMiB);
  store.disk.directory = disk;
  store.disk.capacity_bytes = ByExtent(setting.extent, 64 * kMiB, 512 * kMiB);
  CachedPrompt cached;
  ASSIGN_OR_RETURN(cached.running, RunningEngine::Open(options, store));
  ASSIGN_OR_RETURN(cached.bare, BareModel::Load(folder, setting.num_threads));
  ASSIGN_OR_RETURN(cached.ns, cached.running->engine().NamespaceOf("default", ""));
  cached.blocks = ByExtent(setting.extent, 4, 128);
  const int64_t length = cached.blocks * cached.ns.layout.block_tokens;
  const int64_t vocab_size = cached.running->engine().model_config().vocab_size;
  cached.prompt = TtftPrompt(0, length + 1, vocab_size);
  RETURN_IF_ERROR(cached.running->Generate(cached.prompt, 1, CacheMode::kUse).status());
  const std::vector<uint32_t> before(cached.prompt.begin(), cached.prompt.end() - 1);
  RETURN_IF_ERROR(cached.bare.decoder->Prompt({&before, 1}).status());
  return cached;
}

Result RatioRow(const std::string& metric, double ours, double limit, double most) {
  Result row{.metric = metric, .unit = "ms", .ours = ours * 1e3};
  row.limit = limit * 1e3;
  row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, most};
  return row;
}

double Percentile(std::vector<double> figures, double share) {
  std::sort(figures.begin(), figures.end());
  const double rank = std::ceil(share * static_cast<double>(figures.size()));
  return figures[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

}  // namespace

absl::StatusOr<BareModel> BareModel::Load(const std::string& folder, int32_t num_threads) {
  BareModel bare;
  bare.backend = engine::NewCpuBackend(num_threads);
  ASSIGN_OR_RETURN(bare.model, engine::LoadModel(folder, bare.backend.get()));
  bare.decoder = std::make_unique<EngineDecoder>(
      bare.model.get(), engine::EngineOptions().step_tokens, cachestore::DType::kF32);
  return bare;
}

absl::StatusOr<std::string> TtftModel(const TtftSetting& setting, const std::string& name) {
  for (const BenchModel& model : BenchModels(setting.extent)) {
    if (model.name == name) return MakeBenchModel(model, setting.models);
  }
  return absl::NotFoundError(absl::StrCat("no model is called ", name));
}

std::vector<uint32_t> TtftPrompt(uint64_t number, int64_t length, int64_t vocab_size) {
  std::vector<uint32_t> prompt = SyntheticTokens(number, length);
  for (uint32_t& token : prompt) token %= static_cast<uint32_t>(vocab_size);
  return prompt;
}

absl::StatusOr<std::vector<Result>> MeasureRamHit(const TtftSetting& setting) {
  ASSIGN_OR_RETURN(CachedPrompt cached, CachePrompt(setting, ""));
  int64_t found = 0;
  const Arm arms[] = {
      {"hit", [&] { return cached.Hit(/*from_disk=*/false); }},
      {"bound", [&]() -> absl::StatusOr<double> {
         const double lookup = SecondsOf([&] {
           found =
               cached.running->store().Match(cached.ns, cached.prompt, cached.blocks).ram_blocks;
         });
         if (found != cached.blocks) return absl::InternalError("blocks are gone");
         ASSIGN_OR_RETURN(const double compute, cached.LastToken());
         return lookup + compute;
       }}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("ttft hit", ByExtent(setting.extent, 1, 41), arms));
  Result row = RatioRow("ttft.hit_over_bound", seconds[0], seconds[1], 1.15);
  row.context = {{"prompt_tokens", absl::StrCat(cached.prompt.size())},
                 {"limit", "Match, and one token computed by the model alone"}};
  return std::vector<Result>{std::move(row)};
}

absl::StatusOr<std::vector<Result>> MeasureDiskHit(const TtftSetting& setting) {
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::Make("reprise-bench-ttft", setting.disk));
  ASSIGN_OR_RETURN(CachedPrompt cached, CachePrompt(setting, folder.path() + "/store"));
  const Arm arms[] = {
      {"hit",
       [&]() -> absl::StatusOr<double> {
         RETURN_IF_ERROR(cached.running->DemoteAll());
         return cached.Hit(/*from_disk=*/true);
       }},
      {"load",
       [&]() -> absl::StatusOr<double> {
         RETURN_IF_ERROR(cached.running->DemoteAll());
         size_t loaded = 0;
         const double load = SecondsOf([&] {
           cachestore::PinTicket ticket =
               cached.running->store().Pin(cached.ns, cached.prompt, cached.blocks, nullptr);
           ticket.Wait(absl::InfiniteFuture());
           loaded = ticket.Take().blocks.size();
         });
         if (loaded != static_cast<size_t>(cached.blocks)) {
           return absl::InternalError(absl::StrCat("only ", loaded, " blocks could be loaded"));
         }
         ASSIGN_OR_RETURN(const double compute, cached.LastToken());
         return load + compute;
       }},
      {"recompute", [&]() -> absl::StatusOr<double> {
         ASSIGN_OR_RETURN(const Answer answer,
                          cached.running->Generate(cached.prompt, 1, CacheMode::kOff));
         return absl::ToDoubleSeconds(answer.result.ttft);
       }}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("ttft disk", ByExtent(setting.extent, 1, 9), arms));
  Result row = RatioRow("ttft.disk_over_best", seconds[0], std::min(seconds[1], seconds[2]), 1.10);
  row.context = {{"prompt_tokens", absl::StrCat(cached.prompt.size())},
                 {"load_ms", absl::StrCat(seconds[1] * 1e3)},
                 {"recompute_ms", absl::StrCat(seconds[2] * 1e3)},
                 {"limit",
                  "the lesser of load (Pin, then one token by the model alone) and "
                  "recompute (the engine without its cache)"}};
  return std::vector<Result>{std::move(row)};
}

absl::StatusOr<std::vector<Result>> MeasureZeroReuse(const TtftSetting& setting) {
  ASSIGN_OR_RETURN(const std::string folder, TtftModel(setting, "gpt2_bf16"));
  engine::EngineOptions options;
  options.model_folder = folder;
  options.num_threads = setting.num_threads;
  cachestore::StoreOptions store;
  store.ram.capacity_bytes = ByExtent(setting.extent, 64 * kMiB, 1024 * kMiB);
  ASSIGN_OR_RETURN(const std::unique_ptr<RunningEngine> running,
                   RunningEngine::Open(options, store));
  const int64_t length = ByExtent(setting.extent, 32, 256);
  const int64_t count = ByExtent(setting.extent, 3, 200);
  std::vector<double> on;
  std::vector<double> off;
  for (int64_t i = 0; i <= count; ++i) {
    const std::vector<uint32_t> prompt =
        TtftPrompt(static_cast<uint64_t>(i), length, running->engine().model_config().vocab_size);
    ASSIGN_OR_RETURN(const Answer with, running->Generate(prompt, 1, CacheMode::kUse));
    ASSIGN_OR_RETURN(const Answer without, running->Generate(prompt, 1, CacheMode::kOff));
    if (with.tokens != without.tokens) return absl::InternalError("the cache changed a token");
    if (i == 0) continue;  // caches and memory of the first request
    on.push_back(absl::ToDoubleSeconds(with.result.ttft));
    off.push_back(absl::ToDoubleSeconds(without.result.ttft));
  }
  std::vector<Result> rows;
  for (const auto& [name, share, most] :
       {std::tuple{"p50", 0.50, 1.03}, std::tuple{"p99", 0.99, 1.05}}) {
    rows.push_back(RatioRow(absl::StrCat("ttft.zero_reuse_", name), Percentile(on, share),
                            Percentile(off, share), most));
    rows.back().context = {{"requests", absl::StrCat(count)},
                           {"prompt_tokens", absl::StrCat(length)},
                           {"limit", "the same engine without its cache, in turns"}};
  }
  return rows;
}

absl::StatusOr<std::vector<Result>> RunTtftBench(const TtftBenchOptions& options) {
  ASSIGN_OR_RETURN(const TempFolder temp, TempFolder::Make("reprise-bench-ttft"));
  TtftSetting setting{.extent = options.extent, .num_threads = options.num_threads};
  setting.models = options.models.empty() ? temp.path() : options.models;
  ASSIGN_OR_RETURN(setting.disk, FolderOrTemp(options.directory));
  return RunGroups({{"hit", [&] { return MeasureRamHit(setting); }},
                    {"disk", [&] { return MeasureDiskHit(setting); }},
                    {"by_layer", [&] { return MeasureByLayer(setting); }},
                    {"zero", [&] { return MeasureZeroReuse(setting); }},
                    {"serve", [&] { return MeasureServe(setting); }}},
                   options.groups, options.extent);
}

}  // namespace reprise::bench
