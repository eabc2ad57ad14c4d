#include "api/generate_stream.h"

#include <utility>

#include "api/auth/caller.h"
#include "api/limits.h"
#include "api/request_codec.h"
#include "api/status_codec.h"

namespace reprise::api {

grpc::ServerWriteReactor<v1::GenerateResponse>* GenerateStream::Start(
    engine::Engine* engine, grpc::CallbackServerContext* context, engine::GenerateRequest request,
    int32_t block_tokens) {
  std::shared_ptr<GenerateStream> stream(new GenerateStream(engine, context, block_tokens));
  {
    absl::MutexLock lock(&stream->mu_);
    stream->self_ = stream;
  }
  const absl::StatusOr<engine::RequestId> id = engine->Submit(std::move(request), stream);
  {
    absl::MutexLock lock(&stream->mu_);
    if (id.ok()) {
      stream->id_ = *id;
    } else {
      stream->EndLocked(ToGrpc(id.status()));
    }
  }
  if (!id.ok()) stream->Advance();
  // gRPC's share keeps it alive: OnDone cannot come before the caller has returned this pointer.
  return stream.get();
}

void GenerateStream::EndLocked(grpc::Status status) {
  if (!end_.has_value()) end_ = std::move(status);
}

void GenerateStream::Advance() {
  std::optional<grpc::Status> finish_with;
  {
    absl::MutexLock lock(&mu_);
    if (writing_ || finishing_) return;
    if (!unsent_.empty()) {
      in_write_ = std::move(unsent_.front());
      unsent_.pop_front();
      writing_ = true;
    } else if (end_.has_value()) {
      finishing_ = true;
      finish_with = *end_;
    } else {
      return;
    }
  }
  if (finish_with.has_value()) {
    Finish(*std::move(finish_with));
  } else {
    StartWrite(&in_write_);
  }
}

void GenerateStream::OnToken(const engine::OutputToken& token) {
  {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    if (static_cast<int64_t>(unsent_.size()) >= kMaxUnsentChunks) {
      unsent_.clear();
      EndLocked(
          {grpc::StatusCode::RESOURCE_EXHAUSTED, "the client reads more slowly than tokens come"});
      // The running write waits for the client; only cancelling the call ends it. OnCancel ends the
      // request in the engine. Under the lock, because the context is good only before Finish.
      context_->TryCancel();
      return;
    }
    *unsent_.emplace_back().mutable_token() = ToProto(token);
  }
  Advance();
}

void GenerateStream::OnFinish(const engine::GenerateResult& result) {
  {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    *unsent_.emplace_back().mutable_summary() = ToProto(result, block_tokens_);
    NoteHit(*context_,
            result.cached_gpu_tokens + result.cached_ram_tokens + result.cached_disk_tokens);
    EndLocked(grpc::Status::OK);
  }
  Advance();
}

void GenerateStream::OnError(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    EndLocked(ToGrpc(status));
  }
  Advance();
}

void GenerateStream::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok) {
      unsent_.clear();
      EndLocked({grpc::StatusCode::CANCELLED, "the client has gone"});
    }
  }
  Advance();
}

void GenerateStream::OnCancel() {
  std::optional<engine::RequestId> id;
  {
    absl::MutexLock lock(&mu_);
    unsent_.clear();
    EndLocked({grpc::StatusCode::CANCELLED, "the call was cancelled"});
    id = id_;
  }
  if (id.has_value()) engine_->Cancel(*id);
  Advance();
}

void GenerateStream::OnDone() {
  // Moved out, so that the object is not destroyed under its own lock.
  std::shared_ptr<GenerateStream> self;
  absl::MutexLock lock(&mu_);
  self = std::move(self_);
}

}  // namespace reprise::api
