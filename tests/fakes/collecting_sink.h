// CollectingSink: keeps one request's output and lets a test wait for it. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/sched/request.h"
#include "gtest/gtest.h"

namespace reprise::engine {

class CollectingSink : public TokenSink {
 public:
  // `on_token` (may be empty) runs on the engine thread after each token.
  explicit CollectingSink(std::function<void()> on_token = nullptr)
      : on_token_(std::move(on_token)) {}

  void OnToken(const OutputToken& token) override {
    {
      absl::MutexLock lock(&mu_);
      EXPECT_EQ(endings_, 0) << "a token after the end";
      tokens_.push_back(token.id);
      sample_tokens_[token.sample].push_back(token.id);
      text_.append(token.text.data(), token.text.size());
      if (token.logprobs != nullptr) logprobs_.push_back(*token.logprobs);
    }
    if (on_token_) on_token_();
  }
  void OnFinish(const GenerateResult& result) override {
    absl::MutexLock lock(&mu_);
    result_ = result;
    EXPECT_EQ(++endings_, 1);
  }
  void OnError(const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    EXPECT_FALSE(status.ok());
    status_ = status;
    EXPECT_EQ(++endings_, 1);
  }

  // Waits until the request has ended; false after `timeout`.
  bool Wait(absl::Duration timeout = absl::Minutes(1)) {
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(this, &CollectingSink::HasEndedLocked), timeout);
  }
  // Waits until there are `n` tokens or the end.
  bool WaitForTokens(size_t n) {
    absl::MutexLock lock(&mu_);
    const auto enough = [this, n]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return tokens_.size() >= n || endings_ > 0;
    };
    return mu_.AwaitWithTimeout(absl::Condition(&enough), absl::Minutes(1));
  }

  std::vector<uint32_t> tokens() const {
    absl::MutexLock lock(&mu_);
    return tokens_;
  }
  // Of one sample.
  std::vector<uint32_t> tokens(int32_t sample) const {
    absl::MutexLock lock(&mu_);
    const auto it = sample_tokens_.find(sample);
    return it == sample_tokens_.end() ? std::vector<uint32_t>() : it->second;
  }
  std::string text() const {
    absl::MutexLock lock(&mu_);
    return text_;
  }
  // Of the tokens that came with them.
  std::vector<TokenLogprobs> logprobs() const {
    absl::MutexLock lock(&mu_);
    return logprobs_;
  }
  // OK until an error comes.
  absl::Status status() const {
    absl::MutexLock lock(&mu_);
    return status_;
  }
  // Set when the request has finished.
  std::optional<GenerateResult> result() const {
    absl::MutexLock lock(&mu_);
    return result_;
  }

 private:
  bool HasEndedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return endings_ > 0; }

  const std::function<void()> on_token_;
  mutable absl::Mutex mu_;
  std::vector<uint32_t> tokens_ ABSL_GUARDED_BY(mu_);
  std::map<int32_t, std::vector<uint32_t>> sample_tokens_ ABSL_GUARDED_BY(mu_);
  std::string text_ ABSL_GUARDED_BY(mu_);
  std::vector<TokenLogprobs> logprobs_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  std::optional<GenerateResult> result_ ABSL_GUARDED_BY(mu_);
  int64_t endings_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace reprise::engine
