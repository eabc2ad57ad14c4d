#include "bench/hitrate/policy_feed.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"

namespace reprise::bench {

using cachestore::BlockId;
using cachestore::BlockKey;
using cachestore::RequestHints;
using cachestore::TraceRequest;

namespace {

RequestHints::Ending EndingOf(cachestore::TraceFinish finish) {
  switch (finish) {
    case cachestore::TraceFinish::kUnknown:
      return RequestHints::Ending::kUnknown;
    case cachestore::TraceFinish::kToolUse:
      return RequestHints::Ending::kToolUse;
    case cachestore::TraceFinish::kEndTurn:
      return RequestHints::Ending::kEndTurn;
    case cachestore::TraceFinish::kOther:
      return RequestHints::Ending::kOther;
  }
  return RequestHints::Ending::kUnknown;
}

}  // namespace

PolicyFeed::PolicyFeed(const PolicyMaker& make, const cachestore::Trace& trace,
                       const FeedOptions& options)
    : trace_(trace), options_(options), policy_(make([this] { return now_us_; })) {
  absl::flat_hash_map<uint64_t, uint64_t> last;
  for (const TraceRequest& request : trace.requests) {
    if (request.session != 0) last[request.session] = NumberOf(request);
  }
  for (const auto& [session, number] : last) last_of_session_.insert(number);
}

void PolicyFeed::Tell(const TraceRequest& request, RequestHints::Use use,
                      absl::Span<const BlockKey> keys, absl::Span<const BlockId> matched) {
  const RequestHints hints = {.use = use, .request = options_.queue_ms > 0 ? NumberOf(request) : 0};
  policy_->OnRequest({.block_tokens = trace_.block_tokens,
                      .prompt_tokens = request.input_tokens,
                      .keys = keys,
                      .matched = matched,
                      .hints = hints});
}

void PolicyFeed::OnWaiting(const TraceRequest& request, absl::Span<const BlockKey> keys,
                           absl::Span<const BlockId> matched) {
  now_us_ = std::max(now_us_, (request.time_ms - options_.queue_ms) * 1000);
  Tell(request, RequestHints::Use::kAhead, keys, matched);
}

void PolicyFeed::OnRequest(const TraceRequest& request, absl::Span<const BlockKey> keys,
                           absl::Span<const BlockId> matched) {
  now_us_ = std::max(now_us_, request.time_ms * 1000);
  Tell(request, RequestHints::Use::kRequest, keys, matched);
}

void PolicyFeed::OnRequestEnd(const TraceRequest& request, absl::Span<const BlockKey> keys,
                              BlockId last) {
  cachestore::RequestEnd end = {.output_tokens = request.output_tokens};
  if (options_.tells_endings) {
    end.hints.ending = EndingOf(request.finish);
    end.hints.session_closed = last_of_session_.contains(NumberOf(request));
  }
  policy_->OnRequestEnd(
      {.block_tokens = trace_.block_tokens, .keys = keys, .last = last, .end = end});
}

void PolicyFeed::OnInsert(BlockId id, BlockId parent, const BlockKey& key) {
  policy_->OnInsert(id, parent, key);
  policy_->OnUse(id, parent);
}

void PolicyFeed::OnErase(BlockId id, const BlockKey& key) { policy_->OnErase(id, key); }

}  // namespace reprise::bench
