#include "bench/hitrate/policy_feed.h"

#include <algorithm>

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
    : trace_(trace), options_(options), policy_(make()) {
  absl::flat_hash_map<uint64_t, uint64_t> last;
  absl::flat_hash_map<uint64_t, int32_t> turns;
  for (const TraceRequest& request : trace.requests) {
    if (request.session == 0 || !request.is_lookup()) continue;
    last[request.session] = NumberOf(request);
    if (request.type == cachestore::TraceRequestType::kSide) continue;
    turns_[NumberOf(request)] = ++turns[request.session];
  }
  for (const auto& [session, number] : last) last_of_session_.insert(number);
  FindAnswers();
}

void PolicyFeed::FindAnswers() {
  // An answer goes on behind the last block of its prompt.
  absl::flat_hash_map<cachestore::BlockNumber, const TraceRequest*> open;
  for (const TraceRequest& request : trace_.requests) {
    if (request.is_lookup()) {
      open[request.last] = &request;
      continue;
    }
    for (cachestore::BlockNumber at = request.last; at != cachestore::kNoBlockNumber;
         at = trace_.parents[at]) {
      const auto lookup = open.find(at);
      if (lookup == open.end()) continue;
      answered_[NumberOf(request)] = lookup->second;
      ends_with_answer_.insert(NumberOf(*lookup->second));
      open.erase(lookup);
      break;
    }
  }
}

void PolicyFeed::Tell(const TraceRequest& request, RequestHints::Use use,
                      absl::Span<const BlockKey> keys, absl::Span<const BlockId> matched) {
  RequestHints hints = {.use = use, .request = options_.queue_ms > 0 ? NumberOf(request) : 0};
  const auto turn = turns_.find(NumberOf(request));
  if (options_.tells_hints && turn != turns_.end()) {
    hints.session = request.session;
    hints.turn = turn->second;
  }
  const int64_t ahead_ms = use == RequestHints::Use::kAhead ? options_.queue_ms : 0;
  policy_->OnRequest({.time_ms = request.time_ms - ahead_ms,
                      .block_tokens = trace_.block_tokens,
                      .prompt_tokens = request.input_tokens,
                      .keys = keys,
                      .matched = matched,
                      .hints = hints});
}

void PolicyFeed::OnWaiting(const TraceRequest& request, absl::Span<const BlockKey> keys,
                           absl::Span<const BlockId> matched) {
  Tell(request, RequestHints::Use::kAhead, keys, matched);
}

void PolicyFeed::OnRequest(const TraceRequest& request, absl::Span<const BlockKey> keys,
                           absl::Span<const BlockId> matched) {
  if (request.is_lookup()) return Tell(request, RequestHints::Use::kRequest, keys, matched);
  // The prompt was in use until its answer was there.
  for (size_t i = matched.size(); i-- > 0;) {
    policy_->OnUse(matched[i], i > 0 ? matched[i - 1] : cachestore::kNoBlock);
  }
}

void PolicyFeed::OnRequestEnd(const TraceRequest& request, absl::Span<const BlockKey> keys,
                              BlockId last) {
  if (ends_with_answer_.contains(NumberOf(request))) return;
  const TraceRequest* ended = &request;
  if (!request.is_lookup()) {
    const auto answered = answered_.find(NumberOf(request));
    if (answered == answered_.end()) return;
    ended = answered->second;
  }
  cachestore::RequestEnd end = {.output_tokens = ended->output_tokens};
  if (options_.tells_hints) {
    end.hints.ending = EndingOf(ended->finish);
    end.hints.session_closed = last_of_session_.contains(NumberOf(*ended));
  }
  // A server is not told either where its trace has nothing of it.
  if (ended->output_tokens == 0 && ended->finish == cachestore::TraceFinish::kUnknown &&
      !end.hints.session_closed) {
    return;
  }
  policy_->OnRequestEnd(
      {.block_tokens = trace_.block_tokens, .keys = keys, .last = last, .end = end});
}

cachestore::PlaceInOrder PolicyFeed::PlacesOf(const cachestore::PrefixIndex* index) {
  if (!policy_->has_places()) return nullptr;
  return [policy = policy_.get(), index](const cachestore::BlockKey& key) {
    return policy->PlaceOf(index->Find(key), key);
  };
}

void PolicyFeed::OnInsert(BlockId id, BlockId parent, const BlockKey& key) {
  policy_->OnInsert(id, parent, key);
  policy_->OnUse(id, parent);
}

void PolicyFeed::OnErase(BlockId id, const BlockKey& key) { policy_->OnErase(id, key); }

}  // namespace reprise::bench
