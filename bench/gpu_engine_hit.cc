// Rows gpu.ttft_hit_* and gpu.ttft_speedup_*: prompts whose KV is in RAM, and nowhere else.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/generated_model.h"
#include "bench/gpu_engine_rows.h"
#include "bench/rounds.h"
#include "bench/running_engine.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using cachestore::Lane;
using engine::CacheMode;

constexpr int kStepTokens = 8;  // generated to time a step

// Three prompts of whole blocks and one token, which take turns: the GPU has room for one and a
// half, so that whichever comes next has all of its blocks in RAM alone.
class CardHits {
 public:
  static absl::StatusOr<std::unique_ptr<CardHits>> Open(const GpuEngineSetting& setting,
                                                        int64_t tokens) {
    auto hits = std::make_unique<CardHits>();
    const Extent extent = setting.options.extent;
    ASSIGN_OR_RETURN(hits->card_, setting.bed.open_card());
    engine::EngineOptions options;
    options.model_folder = setting.folder;
    options.kv_dtype = cachestore::DType::kBF16;
    options.step_tokens = static_cast<int32_t>(CardChunkTokens(extent));
    // What an emulation takes to compute and to load says nothing about a card.
    options.prefix_loading =
        ByExtent(extent, engine::PrefixLoading::kAlways, engine::PrefixLoading::kWhereFaster);
    hits->blocks_ = tokens / options.block_tokens;
    const int64_t slot_bytes = 2 * 2 * setting.model.num_layers * options.block_tokens *
                               setting.model.num_kv_heads *
                               (setting.model.hidden_size / setting.model.num_heads);
    cachestore::StoreOptions store;
    store.gpu.capacity_bytes = hits->blocks_ * 3 / 2 * slot_bytes;
    // What is more than three is slack; the memory is taken and pinned for real, 2 MiB a block.
    store.ram.capacity_bytes = hits->blocks_ * 13 / 4 * slot_bytes;
    // So that what comes next pushes the prompt out of the GPU, all of it.
    store.eviction = cachestore::EvictionOrder::kLru;
    store.check_after_idle = absl::InfiniteDuration();
    const engine::ModelLoader load = [&setting](const std::string& folder,
                                                engine::Backend* backend) {
      return GenerateModel(setting.model, folder, backend);
    };
    ASSIGN_OR_RETURN(hits->running_, RunningEngine::Open(options, store, hits->card_.device.get(),
                                                         std::move(hits->card_.backend), load));
    ASSIGN_OR_RETURN(hits->ns_, hits->running_->engine().NamespaceOf("default", ""));
    for (uint64_t i = 0; i < 3; ++i) {
      hits->prompts_.push_back(CardPrompt(setting, i, hits->prefix_tokens() + 1));
    }
    // Kernels are loaded, and memory is taken, by another prompt.
    const auto other = CardPrompt(setting, 9, std::min<int64_t>(hits->prefix_tokens(), 1024));
    RETURN_IF_ERROR(hits->running_->Generate(other, 2, CacheMode::kOff).status());
    return hits;
  }

  // Computes the three prompts, of which nothing is cached; the median of their seconds.
  absl::StatusOr<double> Compute() {
    std::vector<double> seconds;
    for (const std::vector<uint32_t>& prompt : prompts_) {
      ASSIGN_OR_RETURN(const Answer answer, running_->Generate(prompt, 1, CacheMode::kUse));
      const engine::GenerateResult& result = answer.result;
      if (result.cached_gpu_tokens + result.cached_ram_tokens > 0) {
        return absl::InternalError("a prompt that nobody knew was cached");
      }
      seconds.push_back(absl::ToDoubleSeconds(result.ttft));
    }
    return Median(seconds);
  }

  // Seconds to the first token of the prompt whose turn it is.
  absl::StatusOr<double> Hit() {
    last_ = next_++ % prompts_.size();
    ASSIGN_OR_RETURN(const Answer answer, running_->Generate(prompts_[last_], 1, CacheMode::kUse));
    const engine::GenerateResult& result = answer.result;
    if (result.cached_ram_tokens != prefix_tokens()) {
      return absl::InternalError(absl::StrCat("of ", prefix_tokens(), " prompt tokens ",
                                              result.cached_ram_tokens, " came from RAM and ",
                                              result.cached_gpu_tokens, " were on the GPU"));
    }
    return absl::ToDoubleSeconds(result.ttft);
  }

  // Seconds of finding its blocks.
  absl::StatusOr<double> Lookup() {
    int64_t found = 0;
    const double seconds = SecondsOf(
        [&] { found = running_->store().Match(ns_, prompts_[last_], blocks_).total_blocks(); });
    if (found != blocks_) return absl::InternalError("blocks are gone");
    return seconds;
  }

  // Seconds of computing one token behind its blocks, once they are on the GPU.
  absl::StatusOr<double> Step() {
    ASSIGN_OR_RETURN(const Answer answer,
                     running_->Generate(prompts_[last_], 1 + kStepTokens, CacheMode::kUse));
    return absl::ToDoubleSeconds(answer.result.total - answer.result.ttft) / kStepTokens;
  }

  int64_t prefix_tokens() const { return blocks_ * ns_.layout.block_tokens; }
  double prefix_bytes() const {
    return static_cast<double>(blocks_) * static_cast<double>(ns_.layout.BytesPerBlock());
  }

 private:
  engine::cuda::OpenedCard card_;
  std::unique_ptr<RunningEngine> running_;  // on the card
  cachestore::NamespaceHandle ns_;
  std::vector<std::vector<uint32_t>> prompts_;
  int64_t blocks_ = 0;  // of a prompt
  size_t next_ = 0;
  size_t last_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureCardHit(const GpuEngineSetting& setting, int64_t tokens,
                                                   double least_speedup) {
  const Extent extent = setting.options.extent;
  ASSIGN_OR_RETURN(const std::unique_ptr<CardHits> hits, CardHits::Open(setting, tokens));
  ASSIGN_OR_RETURN(const double computed, hits->Compute());
  const size_t bed_bytes = ByExtent<size_t>(extent, size_t{1} << 20, size_t{1} << 30);
  ASSIGN_OR_RETURN(const auto bed, CopyBed::Create(setting.bed.open_device, {}, bed_bytes));
  const LanePieces one = bed->Pieces(Lane::kToDevice, bed_bytes);
  const std::vector<Arm> arms = {{"hit", [&] { return hits->Hit(); }},
                                 {"lookup", [&] { return hits->Lookup(); }},
                                 {"step", [&] { return hits->Step(); }},
                                 {"copy", [&] { return bed->Rate({one}, 1); }}};
  const std::string metric = absl::StrCat("gpu.ttft_hit_", hits->prefix_tokens());
  // All prompts have been in RAM once when the first round, which does not count, is over.
  for (int i = 0; i < 2; ++i) RETURN_IF_ERROR(hits->Hit().status());
  ASSIGN_OR_RETURN(const std::vector<double> figures,
                   MedianOfRounds(metric, ByExtent(extent, 1, 9), arms));
  const double copy = hits->prefix_bytes() / (figures[3] * 1e9);
  Result hit{.metric = metric, .unit = "ms", .ours = figures[0] * 1e3};
  hit.limit = (std::max(copy, figures[2]) + figures[1]) * 1e3;
  hit.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 1.15};
  hit.context = {{"limit", "the longer of copying and computing one token, and the lookup"},
                 {"copy_ms", absl::StrCat(copy * 1e3)},
                 {"copy GB/s", absl::StrCat(figures[3])},
                 {"step_ms", absl::StrCat(figures[2] * 1e3)},
                 {"lookup_ms", absl::StrCat(figures[1] * 1e3)},
                 {"prefix_bytes", absl::StrCat(hits->prefix_bytes())}};
  Result speedup{.metric = absl::StrCat("gpu.ttft_speedup_", hits->prefix_tokens()), .unit = "x"};
  speedup.ours = computed / figures[0];
  if (least_speedup > 0) speedup.goal = {Goal::Of::kOurs, Goal::Bound::kAtLeast, least_speedup};
  speedup.context = {{"computed_ms", absl::StrCat(computed * 1e3)},
                     {"ours", "computing the prompt, over a hit"}};
  return std::vector<Result>{std::move(hit), std::move(speedup)};
}

}  // namespace reprise::bench
