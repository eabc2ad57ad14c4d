// Rows ttft.by_layer: a prefix that is used while it is being loaded.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/paced_block_files.h"
#include "bench/rounds.h"
#include "bench/running_engine.h"
#include "bench/temp_folder.h"
#include "bench/ttft_rows.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/disk_tier.h"

namespace reprise::bench {
namespace {

using engine::CacheMode;

constexpr int64_t kMiB = int64_t{1} << 20;

// An engine over a disk, and a prefix that is cached; every prompt goes on from it differently.
class SharedPrefix {
 public:
  // `bytes_per_second` of the disk; 0: as fast as it is.
  static absl::StatusOr<std::unique_ptr<SharedPrefix>> Open(const TtftSetting& setting,
                                                            const std::string& directory,
                                                            double bytes_per_second,
                                                            engine::PrefixLoading loading) {
    auto prefix = std::make_unique<SharedPrefix>();
    prefix->loads_all_ = loading == engine::PrefixLoading::kAlways;
    ASSIGN_OR_RETURN(const std::string model,
                     TtftModel(setting, ByExtent(setting.extent, "gpt2_f32", "qwen2_bf16")));
    engine::EngineOptions options;
    options.model_folder = model;
    options.num_threads = setting.num_threads;
    options.prefix_loading = loading;
    cachestore::StoreOptions store;
    store.ram.capacity_bytes = ByExtent(setting.extent, 64 * kMiB, 512 * kMiB);
    std::shared_ptr<cachestore::BlockFileSystem> files = cachestore::MakePosixBlockFileSystem();
    if (bytes_per_second > 0) files = std::make_shared<PacedBlockFiles>(bytes_per_second);
    ASSIGN_OR_RETURN(
        std::unique_ptr<cachestore::BackingTier> tier,
        cachestore::OpenDiskTier(
            {.directory = directory, .capacity_bytes = store.ram.capacity_bytes}, files));
    ASSIGN_OR_RETURN(prefix->running_, RunningEngine::Open(options, store, std::move(tier)));
    ASSIGN_OR_RETURN(prefix->ns_, prefix->running_->engine().NamespaceOf("default", ""));
    prefix->blocks_ = ByExtent(setting.extent, 4, 128);
    prefix->suffix_tokens_ = ByExtent(setting.extent, 20, 300);
    prefix->tokens_ =
        TtftPrompt(0, prefix->blocks_ * prefix->ns_.layout.block_tokens, prefix->vocab_size());
    return prefix;
  }

  // Seconds to the first token of a prompt that nobody saw before and that begins with the prefix,
  // which is on disk only or in RAM. kInternal unless all of it was hit that should have been.
  absl::StatusOr<double> Hit(bool from_disk) {
    if (from_disk) RETURN_IF_ERROR(running_->DemoteAll());
    std::vector<uint32_t> prompt = tokens_;
    const std::vector<uint32_t> suffix = TtftPrompt(++prompts_, suffix_tokens_, vocab_size());
    prompt.insert(prompt.end(), suffix.begin(), suffix.end());
    ASSIGN_OR_RETURN(const Answer answer, running_->Generate(prompt, 1, CacheMode::kUse));
    const int64_t hit =
        from_disk ? answer.result.cached_disk_tokens : answer.result.cached_ram_tokens;
    const bool must_hit = prompts_ > 1 && (loads_all_ || !from_disk);
    if (must_hit && hit != static_cast<int64_t>(tokens_.size())) {
      return absl::InternalError(
          absl::StrCat("only ", hit, " of ", tokens_.size(), " prefix tokens were hits"));
    }
    return absl::ToDoubleSeconds(answer.result.ttft);
  }
  // Seconds of loading the prefix, by block.
  absl::StatusOr<double> Load() {
    RETURN_IF_ERROR(running_->DemoteAll());
    size_t loaded = 0;
    const double seconds = SecondsOf([&] {
      cachestore::PinTicket ticket = running_->store().Pin(ns_, tokens_, blocks_, nullptr);
      ticket.Wait(absl::InfiniteFuture());
      loaded = ticket.Take().blocks.size();
    });
    if (loaded != static_cast<size_t>(blocks_)) return absl::InternalError("a block was lost");
    return seconds;
  }
  engine::EngineStats stats() const { return running_->engine().stats(); }
  int64_t suffix_tokens() const { return suffix_tokens_; }
  int64_t prefix_bytes() const {
    return blocks_ * static_cast<int64_t>(ns_.layout.BytesPerBlock());
  }

 private:
  int64_t vocab_size() const { return running_->engine().model_config().vocab_size; }

  std::unique_ptr<RunningEngine> running_;
  cachestore::NamespaceHandle ns_;
  std::vector<uint32_t> tokens_;
  bool loads_all_ = false;  // whether or not computing is sooner done
  int64_t blocks_ = 0;
  int64_t suffix_tokens_ = 0;
  uint64_t prompts_ = 0;  // so far
};

absl::StatusOr<Result> MeasureRate(const TtftSetting& setting, const std::string& metric,
                                   double bytes_per_second) {
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::Make("reprise-bench-ttft", setting.disk));
  ASSIGN_OR_RETURN(const std::unique_ptr<SharedPrefix> by_layer,
                   SharedPrefix::Open(setting, folder.path() + "/by_layer", bytes_per_second,
                                      engine::PrefixLoading::kWhereFaster));
  ASSIGN_OR_RETURN(const std::unique_ptr<SharedPrefix> by_block,
                   SharedPrefix::Open(setting, folder.path() + "/by_block", bytes_per_second,
                                      engine::PrefixLoading::kAlways));
  for (const auto& prefix : {&by_layer, &by_block}) {
    RETURN_IF_ERROR((*prefix)->Hit(/*from_disk=*/false).status());  // computes the prefix
    RETURN_IF_ERROR((*prefix)->Load().status());                    // tells the store its speed
  }
  const int rounds = ByExtent(setting.extent, 1, 9);
  const Arm arms[] = {{"by layer", [&] { return by_layer->Hit(/*from_disk=*/true); }},
                      {"by block", [&] { return by_block->Hit(/*from_disk=*/true); }},
                      {"load", [&] { return by_block->Load(); }},
                      {"compute", [&] { return by_block->Hit(/*from_disk=*/false); }}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds, MedianOfRounds(metric, rounds, arms));
  const engine::EngineStats stats = by_layer->stats();
  Result row{.metric = metric, .unit = "ms", .ours = seconds[0] * 1e3};
  row.limit = std::max(seconds[2], seconds[3]) * 1e3;
  row.peer = seconds[1] * 1e3;
  row.context = {{"prefix_bytes", absl::StrCat(by_layer->prefix_bytes())},
                 {"suffix_tokens", absl::StrCat(by_layer->suffix_tokens())},
                 {"load_ms", absl::StrCat(seconds[2] * 1e3)},
                 {"compute_ms", absl::StrCat(seconds[3] * 1e3)},
                 {"arrived_prefixes", absl::StrCat(stats.arrived_prefixes)},
                 {"void_steps", absl::StrCat(stats.void_steps)},
                 {"limit", "the longer of loading the prefix and computing what is behind it"},
                 {"peer", "the same engine, which computes when the whole prefix is in RAM"}};
  return row;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureByLayer(const TtftSetting& setting) {
  std::vector<Result> rows;
  ASSIGN_OR_RETURN(Result fast, MeasureRate(setting, "ttft.by_layer", 0));
  rows.push_back(std::move(fast));
  ASSIGN_OR_RETURN(Result slow, MeasureRate(setting, "ttft.by_layer_200_mb_per_s", 200e6));
  rows.push_back(std::move(slow));
  return rows;
}

}  // namespace reprise::bench
