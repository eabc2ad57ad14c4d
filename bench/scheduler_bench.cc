#include "bench/scheduler_bench.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/machine.h"
#include "bench/memory_bandwidth.h"
#include "bench/rounds.h"
#include "bench/synthetic.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/store/tiered_store.h"
#include "engine/sched/scheduler.h"

namespace reprise::bench {
namespace {

using cachestore::NamespaceHandle;
using cachestore::TieredStore;

constexpr int64_t kBlockBytes = 4096;
// Of Qwen2.5-0.5B in bf16. A step reads them once, so no step of such a model is shorter.
constexpr double kWeightBytes = 494e6 * 2;

// Sequences that decode without a model: every token is made up.
class DecodingSequences {
 public:
  // Opens a store with room for `count` sequences of `prompt_tokens` and `steps` tokens more, and
  // prefills them.
  static absl::StatusOr<std::unique_ptr<DecodingSequences>> Start(int64_t count,
                                                                  int64_t prompt_tokens,
                                                                  int64_t steps) {
    const int64_t blocks_each = (prompt_tokens + steps) / kBlockTokens + 3;
    cachestore::StoreOptions options;
    options.ram.capacity_bytes = (count * blocks_each + 64) * kBlockBytes;
    ASSIGN_OR_RETURN(std::unique_ptr<TieredStore> store, TieredStore::Open(options));
    ASSIGN_OR_RETURN(const NamespaceHandle ns,
                     store->OpenNamespace(SyntheticIdentity(kBlockBytes)));
    TouchEverySlot(*store, ns);
    auto sequences =
        std::unique_ptr<DecodingSequences>(new DecodingSequences(std::move(store), ns, count));
    sequences->Submit(count, prompt_tokens, steps);
    return sequences;
  }

  ~DecodingSequences() { scheduler_.EndAll(absl::CancelledError("measured"), absl::Now()); }

  // Seconds that Plan and Commit of `steps` steps take; every sequence gets a token in each.
  double SecondsOfSteps(int64_t steps) {
    double seconds = 0;
    for (int64_t i = 0; i < steps; ++i) seconds += SecondsOfStep();
    return seconds;
  }

 private:
  DecodingSequences(std::unique_ptr<TieredStore> store, const NamespaceHandle& ns, int64_t count)
      : store_(std::move(store)),
        ns_(ns),
        count_(count),
        scheduler_({.step_tokens = 1 << 20, .max_running = static_cast<int32_t>(count)},
                   engine::BlockBudget(store_->capacity_blocks(ns), kBlockTokens, 1 << 20),
                   store_.get(), nullptr) {}

  // A model would write a block before it is sealed; here the kernel would make its page then.
  static void TouchEverySlot(TieredStore& store, const NamespaceHandle& ns) {
    std::vector<cachestore::WritableBlock> blocks;
    for (auto block = store.Allocate(ns); block.ok(); block = store.Allocate(ns)) {
      std::memset(block->bytes().data(), 1, block->bytes().size());
      blocks.push_back(*std::move(block));
    }
  }

  void Submit(int64_t count, int64_t prompt_tokens, int64_t steps) {
    for (int64_t i = 0; i < count; ++i) {
      engine::GenerateRequest request;
      // Of different lengths, so that they fill their blocks at different steps.
      request.prompt = SyntheticTokens(static_cast<uint64_t>(i), prompt_tokens + i % kBlockTokens);
      request.stop.max_new_tokens = static_cast<int32_t>(steps);
      scheduler_.Submit(std::make_unique<engine::Sequence>(static_cast<engine::SequenceId>(i + 1),
                                                           ns_, std::move(request), absl::Now()));
    }
    int64_t decoding = 0;
    while (decoding < count_) {
      const engine::StepPlan plan = scheduler_.Plan(absl::Now());
      for (const engine::PlannedChunk& chunk : plan.chunks) {
        if (chunk.samples && chunk.sequence->new_tokens() == 0) ++decoding;
      }
      scheduler_.Commit(plan, OutcomesOf(plan), absl::Now());
    }
  }

  std::vector<engine::ChunkOutcome> OutcomesOf(const engine::StepPlan& plan) {
    std::vector<engine::ChunkOutcome> outcomes(plan.chunks.size());
    for (size_t i = 0; i < outcomes.size(); ++i) {
      if (plan.chunks[i].samples) outcomes[i].token = static_cast<uint32_t>(random_.Below(50'000));
    }
    return outcomes;
  }

  double SecondsOfStep() {
    engine::StepPlan plan;
    double seconds = SecondsOf([&] { plan = scheduler_.Plan(absl::Now()); });
    CHECK(static_cast<int64_t>(plan.chunks.size()) == count_);
    const std::vector<engine::ChunkOutcome> outcomes = OutcomesOf(plan);
    seconds += SecondsOf([&] { scheduler_.Commit(plan, outcomes, absl::Now()); });
    return seconds;
  }

  const std::unique_ptr<TieredStore> store_;
  const NamespaceHandle ns_;
  const int64_t count_;
  engine::Scheduler scheduler_;
  Random random_{1};
};

}  // namespace

absl::StatusOr<std::vector<Result>> RunSchedulerBench(Extent extent) {
  struct Load {
    int64_t sequences;
    int64_t steps;  // a round; whole turns of a block, so that each holds as many seals
  };
  const std::vector<Load> loads = {{1, 1024}, {64, 128}, {1024, 16}};
  const int64_t prompt_tokens = ByExtent<int64_t>(extent, 64, 1024);
  const int rounds = ByExtent(extent, 1, 9);
  std::vector<std::unique_ptr<DecodingSequences>> running;
  std::vector<Arm> arms;
  for (const Load& load : loads) {
    ASSIGN_OR_RETURN(
        std::unique_ptr<DecodingSequences> sequences,
        DecodingSequences::Start(load.sequences, prompt_tokens, load.steps * (rounds + 1) + 1));
    arms.push_back({.name = absl::StrCat(load.sequences, " sequences"),
                    .run = [sequences = sequences.get(), steps = load.steps] {
                      return sequences->SecondsOfSteps(steps) / static_cast<double>(steps) * 1e6;
                    }});
    running.push_back(std::move(sequences));
  }
  MemoryBandwidth bandwidth(0);
  arms.push_back({.name = "memory", .run = [&] {
                    bandwidth.Sample();
                    return 0.0;
                  }});
  ASSIGN_OR_RETURN(const std::vector<double> figures, MedianOfRounds("scheduler", rounds, arms));
  std::vector<Result> rows;
  for (size_t i = 0; i < loads.size(); ++i) {
    Result row{.metric = absl::StrCat("scheduler.step_overhead_us.", loads[i].sequences),
               .unit = "us",
               .ours = figures[i],
               .limit = kWeightBytes / bandwidth.BytesPerSecond() * 1e6,
               .goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 0.02}};
    row.context = {{"context_tokens", absl::StrCat(prompt_tokens)},
                   {"limit", "reading the weights of Qwen2.5-0.5B in bf16, the least of a step"}};
    rows.push_back(std::move(row));
  }
  const auto of_one = [&](size_t i) {
    return figures[i] / static_cast<double>(loads[i].sequences);
  };
  Result growth{.metric = "scheduler.overhead_growth",
                .unit = "ratio",
                .ours = of_one(2) / of_one(1),
                .goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 1.5}};
  growth.context = {{"figure", "a sequence's share with 1,024 of them over that with 64"},
                    {"share_ns_64", absl::StrCat(of_one(1) * 1e3)},
                    {"share_ns_1024", absl::StrCat(of_one(2) * 1e3)}};
  rows.push_back(std::move(growth));
  for (Result& row : rows) {
    row.context["machine"] = MachineInWords();
    if (extent == Extent::kQuick) row.goal.reset();
  }
  return rows;
}

}  // namespace reprise::bench
