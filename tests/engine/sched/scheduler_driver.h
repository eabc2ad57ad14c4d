// SchedulerDriver: a scheduler on a real store, with the CheckingModel in place of the model
// runner. Steps are taken by hand. Collects what has ended. For one thread.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/store/tiered_store.h"
#include "engine/run/prefix_arrival.h"
#include "engine/sched/scheduler.h"
#include "gtest/gtest.h"
#include "tests/fakes/checking_model.h"

namespace reprise::engine {

inline constexpr int64_t kMaxPositions = 512;

// A folder that is removed with it.
class TempFolder {
 public:
  TempFolder() {
    std::string name = testing::TempDir() + "/reprise-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp " << name;
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A store with room for `ram_blocks` blocks of the CheckingModel; `directory` empty: no disk.
inline std::unique_ptr<cachestore::TieredStore> OpenStore(int64_t ram_blocks, int32_t block_tokens,
                                                          const std::string& directory = "") {
  const int64_t block_bytes =
      static_cast<int64_t>(CheckingModel(1).layout(block_tokens).BytesPerBlock());
  cachestore::StoreOptions options;
  options.ram.capacity_bytes = ram_blocks * block_bytes;
  options.disk.directory = directory;
  options.disk.capacity_bytes = int64_t{64} << 20;
  auto store = cachestore::TieredStore::Open(options);
  if (!store.ok()) {
    ADD_FAILURE() << store.status();
    std::abort();
  }
  return *std::move(store);
}

inline cachestore::NamespaceHandle OpenNamespace(cachestore::TieredStore* store,
                                                 int32_t block_tokens) {
  const CheckingModel model(1);
  cachestore::NamespaceIdentity identity;
  identity.model_digest = model.digest();
  identity.tokenizer_digest = "no-tokenizer";
  identity.adapter_digest = "none";
  identity.layout = model.layout(block_tokens);
  identity.kv_scales = "none";
  identity.position_scheme = model.position_scheme();
  auto ns = store->OpenNamespace(identity);
  if (!ns.ok()) {
    ADD_FAILURE() << ns.status();
    std::abort();
  }
  return *ns;
}

class SchedulerDriver {
 public:
  SchedulerDriver(cachestore::TieredStore* store, int32_t block_tokens,
                  const SchedulerOptions& options = {})
      : store_(store),
        ns_(OpenNamespace(store, block_tokens)),
        budget_(store->capacity_blocks(ns_), block_tokens, kMaxPositions),
        model_(kMaxPositions),
        loads_(std::make_shared<Loads>()),
        scheduler_(options, budget_, store, [loads = loads_] {
          absl::MutexLock lock(&loads->mu);
          ++loads->done;
        }) {}

  SequenceId Submit(std::vector<uint32_t> prompt, int32_t max_new_tokens,
                    CacheMode cache = CacheMode::kUse) {
    GenerateRequest request;
    request.prompt = std::move(prompt);
    request.stop.max_new_tokens = max_new_tokens;
    request.cache = cache;
    return Submit(std::move(request));
  }
  // Returns the id of the first sample. Sample i picks the (seed + i)-th likeliest tokens.
  SequenceId Submit(GenerateRequest request) {
    const SequenceId first = next_id_;
    for (int32_t i = 0; i < request.num_samples; ++i) {
      GenerateRequest of_sample = request;
      of_sample.sampling.seed += static_cast<uint64_t>(i);
      scheduler_.Submit(
          std::make_unique<Sequence>(next_id_++, ns_, std::move(of_sample), absl::Now(), i));
    }
    return first;
  }

  // What the scheduler is told that every step takes, but for those that wait for a prefix. Zero:
  // it does not learn from them.
  void PretendStepsTake(absl::Duration time) { step_time_ = time; }

  // One step at `now`. Returns the plan; its sequences may be gone.
  StepPlan Step(absl::Time now) {
    StepPlan plan = scheduler_.Plan(now);
    if (!plan.chunks.empty()) {
      const std::vector<ChunkOutcome> outcomes = Compute(plan);
      const bool is_void = std::any_of(outcomes.begin(), outcomes.end(),
                                       [](const ChunkOutcome& outcome) { return outcome.is_void; });
      scheduler_.Commit(plan, outcomes, is_void ? absl::Now() : now + step_time_);
    }
    for (EndedSequence& end : scheduler_.TakeEnded()) {
      const SequenceId id = end.sequence->id();
      EXPECT_TRUE(ended_.emplace(id, std::move(end)).second) << id << " has ended twice";
    }
    return plan;
  }

  // Steps until `n` sequences have ended in all.
  void RunUntilEnded(size_t n) {
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (ended_.size() < n) {
      ASSERT_LT(absl::Now(), give_up) << ended_.size() << " of " << n << " have ended";
      const StepPlan plan = Step(absl::Now());
      if (!plan.chunks.empty()) continue;
      if (plan.starved_sequences > 0) {
        scheduler_.AwaitRoom(absl::Now() + absl::Milliseconds(50));
      } else if (ended_.size() < n) {
        AwaitLoad();
      }
    }
  }

  // Tokens after the prompt. REQUIRES: `id` has ended well.
  const std::vector<uint32_t>& answer(SequenceId id) const { return answers_.at(id); }
  const EndedSequence& ended(SequenceId id) const { return ended_.at(id); }
  size_t num_ended() const { return ended_.size(); }
  bool has_ended(SequenceId id) const { return ended_.contains(id); }
  GenerateResult result(SequenceId id) const {
    const EndedSequence& end = ended_.at(id);
    return end.sequence->ResultAt(end.reason, end.ended);
  }

  // Ids in the order in which they first took part in a step.
  const std::vector<SequenceId>& first_steps() const { return first_steps_; }
  Scheduler& scheduler() { return scheduler_; }
  CheckingModel& model() { return model_; }
  cachestore::TieredStore* store() { return store_; }
  const cachestore::NamespaceHandle& ns() const { return ns_; }
  const BlockBudget& budget() const { return budget_; }

  // Waits until a load ends, at most for a moment.
  void AwaitLoad() {
    absl::MutexLock lock(&loads_->mu);
    const auto more = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(loads_->mu) {
      return loads_->done > loads_seen_;
    };
    loads_->mu.AwaitWithTimeout(absl::Condition(&more), absl::Milliseconds(200));
    loads_seen_ = loads_->done;
  }

 private:
  struct Loads {
    absl::Mutex mu;
    int64_t done ABSL_GUARDED_BY(mu) = 0;
  };

  std::vector<ChunkOutcome> Compute(const StepPlan& plan) {
    std::vector<SequenceChunk> batch;
    std::deque<PrefixArrival> arrivals;
    for (const PlannedChunk& chunk : plan.chunks) {
      const Sequence& sequence = *chunk.sequence;
      if (std::find(first_steps_.begin(), first_steps_.end(), sequence.id()) ==
          first_steps_.end()) {
        first_steps_.push_back(sequence.id());
      }
      batch.push_back({sequence.NextTokens(chunk.num_tokens), sequence.computed(),
                       sequence.blocks(), chunk.samples});
      if (sequence.state() != SequenceState::kArriving) continue;
      batch.back().arrival = &arrivals.emplace_back(&sequence, ns_.layout);
    }
    const absl::StatusOr<Activations> logits = model_.Forward(batch, ns_.layout);
    std::vector<ChunkOutcome> outcomes(plan.chunks.size());
    int64_t row = 0;
    for (size_t i = 0; i < outcomes.size(); ++i) {
      outcomes[i].is_void = !arrivals.empty() && arrivals[0].has_failed();
      if (!outcomes[i].is_void) outcomes[i].status = logits.status();
      if (!logits.ok() || !plan.chunks[i].samples) continue;
      const Sequence& sequence = *plan.chunks[i].sequence;
      outcomes[i].token = NthLargestLogit({logits->row(row++), CheckingModel::kVocabSize},
                                          sequence.request().sampling.seed);
      answers_[sequence.id()].push_back(*outcomes[i].token);
      if (sequence.new_tokens() + 1 == sequence.request().stop.max_new_tokens) {
        outcomes[i].finish = FinishReason::kMaxTokens;
      }
    }
    return outcomes;
  }

  cachestore::TieredStore* const store_;
  const cachestore::NamespaceHandle ns_;
  const BlockBudget budget_;
  CheckingModel model_;
  const std::shared_ptr<Loads> loads_;
  int64_t loads_seen_ = 0;
  SequenceId next_id_ = 1;
  absl::Duration step_time_;
  std::map<SequenceId, std::vector<uint32_t>> answers_;
  std::map<SequenceId, EndedSequence> ended_;
  std::vector<SequenceId> first_steps_;
  Scheduler scheduler_;
};

// Nothing of the sequences is left behind in the store.
inline void ExpectStoreAtRest(const cachestore::TieredStore& store) {
  const cachestore::StoreStats stats = store.stats();
  EXPECT_EQ(stats.pinned_blocks, 0);
  EXPECT_EQ(stats.writing_blocks, 0);
  EXPECT_TRUE(store.CheckIntegrity().ok()) << store.CheckIntegrity();
}

// `n` tokens that begin with `prefix` and go on with a function of `salt`.
inline std::vector<uint32_t> PromptOf(int64_t n, uint32_t salt,
                                      const std::vector<uint32_t>& prefix = {}) {
  std::vector<uint32_t> prompt = prefix;
  for (uint32_t i = 0; static_cast<int64_t>(prompt.size()) < n; ++i) {
    prompt.push_back((salt * 31 + i * 7 + i * i) % 90);
  }
  return prompt;
}

}  // namespace reprise::engine
