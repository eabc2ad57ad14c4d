// GenerateStream: one Generate call. Takes tokens from the engine thread and hands them to gRPC,
// one write at a time.
//
// The engine never waits for a client: chunks queue here, kMaxUnsentChunks at most, and a client
// that falls further behind loses its call. A client that goes away or whose deadline passes
// cancels the request in the engine.
//
// Owned twice: by gRPC until OnDone and by the engine until the sink's last call. Thread-safe.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "engine/engine.h"
#include "reprise/v1/inference.pb.h"

namespace reprise::api {

class GenerateStream final : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                             public engine::TokenSink {
 public:
  // Submits `request` and returns the call's reactor, which deletes itself. A request that the
  // engine refuses ends the call with the engine's status. `engine` and `context` must outlive the
  // call.
  static grpc::ServerWriteReactor<v1::GenerateResponse>* Start(engine::Engine* engine,
                                                               grpc::CallbackServerContext* context,
                                                               engine::GenerateRequest request,
                                                               int32_t block_tokens);

  // TokenSink, on the engine thread.
  void OnToken(const engine::OutputToken& token) override;
  void OnFinish(const engine::GenerateResult& result) override;
  void OnError(const absl::Status& status) override;

  // ServerWriteReactor, on gRPC's threads.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  GenerateStream(engine::Engine* engine, grpc::CallbackServerContext* context, int32_t block_tokens)
      : engine_(engine), context_(context), block_tokens_(block_tokens) {}

  // No more output is taken; once what is queued is sent, the call ends with `status`.
  void EndLocked(grpc::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts the next write, or ends the call. Does nothing while a write is running. Called after
  // every change of state, without the lock: gRPC may run reactions on the calling thread.
  void Advance() ABSL_LOCKS_EXCLUDED(mu_);

  engine::Engine* const engine_;
  grpc::CallbackServerContext* const context_;
  const int32_t block_tokens_;

  absl::Mutex mu_;
  std::deque<v1::GenerateResponse> unsent_ ABSL_GUARDED_BY(mu_);
  v1::GenerateResponse in_write_;  // the writer's alone while writing_ is true
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finishing_ ABSL_GUARDED_BY(mu_) = false;                // Finish was called
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mu_);       // set by the first EndLocked
  std::optional<engine::RequestId> id_ ABSL_GUARDED_BY(mu_);   // set once submitted
  std::shared_ptr<GenerateStream> self_ ABSL_GUARDED_BY(mu_);  // gRPC's share; gone after OnDone
};

}  // namespace reprise::api
