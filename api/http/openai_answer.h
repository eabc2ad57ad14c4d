// OpenAiAnswer: one call's output on its way from the engine to the client, streamed or whole.
//
// A call has a request in the engine for each prompt; choice p * n + s is sample s of prompt p. The
// first request that fails fails the call. A client that goes away, or is cut off, cancels all.
// Until the first token nothing is sent, so that a call which fails before has its code of HTTP.
//
// Kept alive by the engine's sinks; it and the reply let go of each other when the answer has
// ended. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "api/http/http_message.h"
#include "api/http/openai_logprobs.h"
#include "api/http/openai_shape.h"
#include "api/log/request_ids.h"
#include "engine/engine.h"

namespace reprise::api {

class OpenAiAnswer : public std::enable_shared_from_this<OpenAiAnswer> {
 public:
  // Submits `requests`, one for each prompt of `call`, and answers by `reply`, a request that the
  // engine refuses too. `engine` must outlive the answer.
  static void Start(engine::Engine* engine, const OpenAiCall& call,
                    const OpenAiShape::Labels& labels, const RequestIds& ids,
                    std::vector<engine::GenerateRequest> requests,
                    std::shared_ptr<HttpReply> reply);

 private:
  class Sink;
  struct Choice {
    explicit Choice(const OpenAiLogprobs& empty) : logprobs(empty) {}
    OpenAiChoice whole;
    OpenAiLogprobs logprobs;
    int64_t characters = 0;  // of its text so far
    bool begun = false;      // its first event was sent
  };

  OpenAiAnswer(engine::Engine* engine, const OpenAiCall& call, const OpenAiShape::Labels& labels,
               const RequestIds& ids, std::shared_ptr<HttpReply> reply);

  void Submit(std::vector<engine::GenerateRequest> requests) ABSL_LOCKS_EXCLUDED(mu_);

  // The sinks' calls, on the engine's thread.
  void OnToken(size_t prompt, const engine::OutputToken& token) ABSL_LOCKS_EXCLUDED(mu_);
  void OnFinish(size_t prompt, const engine::GenerateResult& result) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the call with an error and cancels what is left of it.
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  void OnGone() ABSL_LOCKS_EXCLUDED(mu_);

  void StreamLocked(size_t index, const engine::OutputToken& token)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // kResourceExhausted: the answer has become too large to be given whole.
  absl::Status CollectLocked(size_t index, const engine::OutputToken& token)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BeginLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The answer has ended: the reply is let go, and with it what it holds.
  std::shared_ptr<HttpReply> LetGoLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  HttpResponse WithIds(HttpResponse response) const;

  engine::Engine* const engine_;
  const OpenAiShape shape_;
  const RequestIds ids_;
  const size_t num_samples_;
  const bool stream_;

  absl::Mutex mu_;
  std::shared_ptr<HttpReply> reply_ ABSL_GUARDED_BY(mu_);  // null once the answer has ended
  std::vector<Choice> choices_ ABSL_GUARDED_BY(mu_);
  OpenAiUsage usage_ ABSL_GUARDED_BY(mu_);
  size_t prompts_left_ ABSL_GUARDED_BY(mu_);
  size_t whole_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // collected of an answer that is not streamed
  bool begun_ ABSL_GUARDED_BY(mu_) = false;      // the stream's head was sent
  std::vector<engine::RequestId> requests_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
