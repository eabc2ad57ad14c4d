#include "api/view/watch_hub.h"

#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/status_codec.h"
#include "api/view/watch_stream.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

// How long the thread waits for events before it looks whether it shall stop.
constexpr absl::Duration kLookInterval = absl::Milliseconds(100);

uint64_t NewEpoch() {
  absl::BitGen random;
  return absl::Uniform<uint64_t>(absl::IntervalClosed, random, 1, UINT64_MAX);
}

// A call that ends before it begins.
class RefusedWatch final : public WatchHub::Reactor {
 public:
  explicit RefusedWatch(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

WatchHub::WatchHub(const cachestore::TieredStore* store, NamespaceNames* names)
    : source_{.store = store, .names = names, .epoch = NewEpoch()}, thread_([this] { Run(); }) {}

WatchHub::~WatchHub() {
  {
    absl::MutexLock lock(&mu_);
    CHECK(streams_.empty());
    stopping_ = true;
  }
  thread_.join();
}

WatchHub::Reactor* WatchHub::Refuse(const absl::Status& status) { return new RefusedWatch(status); }

WatchHub::Reactor* WatchHub::Start(grpc::CallbackServerContext* context, const Principal& principal,
                                   const std::optional<cachestore::NamespaceHandle>& ns,
                                   const v1::WatchRequest& request) {
  absl::StatusOr<EventFeed> feed = EventFeed::Begin(source_, principal, ns, request);
  if (!feed.ok()) return Refuse(feed.status());
  const auto stream = std::make_shared<WatchStream>(this, context, *std::move(feed));
  if (const absl::Status added = Add(stream); !added.ok()) return Refuse(added);
  stream->Begin(stream);
  // gRPC's share keeps it alive: OnDone cannot come before the caller has returned this pointer.
  return stream.get();
}

absl::Status WatchHub::Add(const std::shared_ptr<WatchStream>& stream) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(closed_);
  if (static_cast<int64_t>(streams_.size()) >= kMaxWatches) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the server has ", streams_.size(), " Watch calls, as many as it may; try again later"));
  }
  streams_.insert(stream);
  return absl::OkStatus();
}

void WatchHub::Remove(const std::shared_ptr<WatchStream>& stream) {
  absl::MutexLock lock(&mu_);
  streams_.erase(stream);
}

void WatchHub::EndAll(const absl::Status& status) {
  std::vector<std::shared_ptr<WatchStream>> all;
  {
    absl::MutexLock lock(&mu_);
    closed_ = status;
    all.assign(streams_.begin(), streams_.end());
  }
  for (const auto& stream : all) stream->End(status);
}

void WatchHub::Run() {
  uint64_t next = source_.store->next_event();
  while (true) {
    std::vector<std::shared_ptr<WatchStream>> all;
    {
      absl::MutexLock lock(&mu_);
      const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        return stopping_ || !streams_.empty();
      };
      mu_.Await(absl::Condition(&has_work));
      if (stopping_) return;
    }
    if (!source_.store->AwaitEvent(next, absl::Now() + kLookInterval)) continue;
    // Asked before the calls are woken: what comes meanwhile wakes them again.
    next = source_.store->next_event();
    {
      absl::MutexLock lock(&mu_);
      all.assign(streams_.begin(), streams_.end());
    }
    for (const auto& stream : all) stream->Wake();
  }
}

}  // namespace reprise::api
