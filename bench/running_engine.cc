#include "bench/running_engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

// Collects one answer and tells when it is complete.
class AnswerSink final : public engine::TokenSink {
 public:
  void OnToken(const engine::OutputToken& token) override { answer_.tokens.push_back(token.id); }
  void OnFinish(const engine::GenerateResult& result) override {
    answer_.result = result;
    done_.Notify();
  }
  void OnError(const absl::Status& status) override {
    status_ = status;
    done_.Notify();
  }

  absl::StatusOr<Answer> Wait() {
    done_.WaitForNotification();
    if (!status_.ok()) return status_;
    return std::move(answer_);
  }

 private:
  Answer answer_;
  absl::Status status_;
  absl::Notification done_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RunningEngine>> RunningEngine::Open(
    const engine::EngineOptions& options, const cachestore::StoreOptions& store_options) {
  std::unique_ptr<RunningEngine> running(new RunningEngine());
  ASSIGN_OR_RETURN(running->store_, cachestore::TieredStore::Open(store_options));
  ASSIGN_OR_RETURN(running->engine_, engine::Engine::Open(options, running->store_.get()));
  return running;
}

absl::StatusOr<std::unique_ptr<RunningEngine>> RunningEngine::Open(
    const engine::EngineOptions& options, const cachestore::StoreOptions& store_options,
    cachestore::Device* device, std::unique_ptr<engine::Backend> backend,
    const engine::ModelLoader& load) {
  std::unique_ptr<RunningEngine> running(new RunningEngine());
  ASSIGN_OR_RETURN(running->store_, cachestore::TieredStore::Open(store_options, device));
  ASSIGN_OR_RETURN(running->engine_,
                   engine::Engine::Open(options, running->store_.get(), std::move(backend), load));
  return running;
}

absl::StatusOr<std::unique_ptr<RunningEngine>> RunningEngine::Open(
    const engine::EngineOptions& options, const cachestore::StoreOptions& store_options,
    std::unique_ptr<cachestore::BackingTier> tier) {
  std::unique_ptr<RunningEngine> running(new RunningEngine());
  ASSIGN_OR_RETURN(running->store_, cachestore::TieredStore::Open(store_options, std::move(tier)));
  ASSIGN_OR_RETURN(running->engine_, engine::Engine::Open(options, running->store_.get()));
  return running;
}

absl::StatusOr<Answer> RunningEngine::Generate(absl::Span<const uint32_t> prompt,
                                               int32_t new_tokens, engine::CacheMode cache) {
  engine::GenerateRequest request;
  request.prompt.assign(prompt.begin(), prompt.end());
  request.stop.max_new_tokens = new_tokens;
  request.stop.ignore_eos = true;
  request.cache = cache;
  const auto sink = std::make_shared<AnswerSink>();
  RETURN_IF_ERROR(engine_->Submit(std::move(request), sink).status());
  return sink->Wait();
}

absl::Status RunningEngine::DemoteAll() {
  // The engine thread gives back its pins just after it has told of the end.
  for (int i = 0; i < 100; ++i) {
    RETURN_IF_ERROR(store_->Demote().status());
    if (store_->stats().ram_used_bytes == 0) return absl::OkStatus();
    absl::SleepFor(absl::Milliseconds(10));
  }
  return absl::InternalError(
      absl::StrCat(store_->stats().ram_used_bytes, " bytes stay in RAM although nobody uses them"));
}

}  // namespace reprise::bench
