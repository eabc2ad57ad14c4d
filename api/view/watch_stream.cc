#include "api/view/watch_stream.h"

#include <utility>

#include "api/end_call.h"
#include "api/status_codec.h"

namespace reprise::api {

void WatchStream::Begin(std::shared_ptr<WatchStream> self) {
  {
    absl::MutexLock lock(&mu_);
    self_ = std::move(self);
  }
  Advance();
}

void WatchStream::Advance() {
  std::optional<absl::Status> finish_with;
  {
    absl::MutexLock lock(&mu_);
    if (writing_ || finishing_ || self_ == nullptr) return;
    if (end_.has_value()) {
      finishing_ = true;
      finish_with = end_;
    } else if (feed_.Next(&in_write_)) {
      writing_ = true;
    } else {
      return;
    }
  }
  if (finish_with.has_value()) {
    Finish(ToGrpc(*finish_with));
  } else {
    StartWrite(&in_write_);
  }
}

void WatchStream::End(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    end_ = status;
    // The running write waits for the client; only the call's end from outside ends it. Under the
    // lock, because the context is good only before Finish.
    if (writing_) EndCall(context_, ToGrpc(status));
  }
  Advance();
}

void WatchStream::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok && !end_.has_value()) end_ = absl::CancelledError("the client has gone");
  }
  Advance();
}

void WatchStream::OnCancel() {
  {
    absl::MutexLock lock(&mu_);
    if (!end_.has_value()) end_ = absl::CancelledError("the call was cancelled");
  }
  Advance();
}

void WatchStream::OnDone() {
  // Moved out, so that the object is not destroyed under its own lock.
  std::shared_ptr<WatchStream> self;
  {
    absl::MutexLock lock(&mu_);
    self = std::move(self_);
  }
  hub_->Remove(self);
}

}  // namespace reprise::api
