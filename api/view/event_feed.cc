#include "api/view/event_feed.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace reprise::api {
namespace {

using cachestore::EventKind;
using cachestore::Removal;
using cachestore::StoreEvent;

// Events read at a time, and most blocks of one message.
constexpr size_t kEventsAtOnce = 256;
constexpr int kBlocksPerEvent = 128;

const char* ReasonName(Removal why) {
  switch (why) {
    case Removal::kEvicted:
      return "evicted";
    case Removal::kInvalidated:
      return "invalidated";
    case Removal::kFailedVerification:
      return "failed_verification";
    case Removal::kNotAdmitted:
      return "not_admitted";
    case Removal::kLost:
      break;
  }
  return "lost";
}

double UnixSeconds(absl::Time time) { return static_cast<double>(absl::ToUnixMicros(time)) / 1e6; }

}  // namespace

absl::StatusOr<EventFeed> EventFeed::Begin(const Source& source, const Principal& principal,
                                           const std::optional<cachestore::NamespaceHandle>& ns,
                                           const v1::WatchRequest& request) {
  EventFeed feed(source, principal);
  if (ns.has_value()) feed.only_ = ns->id;
  feed.with_tokens_ = request.with_token_ids();
  const uint64_t newest = source.store->next_event();
  if (request.epoch() != 0 && request.epoch() != source.epoch) {
    feed.tell_lost_ = true;  // and all that this process remembers
  } else if (request.from_sequence() > newest) {
    return absl::OutOfRangeError(absl::StrCat("from_sequence is ", request.from_sequence(),
                                              "; the next event of this process is ", newest));
  } else {
    feed.next_ = request.from_sequence() > 0 ? request.from_sequence() : newest;
  }
  return feed;
}

bool EventFeed::ReadPage() {
  page_ = source_.store->Events(next_, kEventsAtOnce);
  at_ = 0;
  if (page_.first > next_) tell_lost_ = true;
  next_ = page_.next();
  return tell_lost_ || !page_.events.empty();
}

std::shared_ptr<const KnownNamespace> EventFeed::Seen(const StoreEvent& event) {
  if (only_.has_value()) {
    return event.namespace_id == *only_ ? source_.names->Find(event.namespace_id) : nullptr;
  }
  auto known = source_.names->Find(event.namespace_id);
  return known != nullptr && MaySee(who_, known->tenant) ? known : nullptr;
}

bool EventFeed::Follows(const StoreEvent& last, const StoreEvent& more) {
  if (more.kind != last.kind || more.namespace_id != last.namespace_id || more.tier != last.tier) {
    return false;
  }
  if (more.kind == EventKind::kStored) return more.parent == last.key;
  return more.kind == EventKind::kRemoved && more.why == last.why;
}

bool EventFeed::AddTokens(const cachestore::BlockKey& key, v1::BlocksStored* stored) const {
  const auto block = source_.store->FindBlock(key);
  if (!block.has_value()) return false;
  stored->mutable_token_ids()->Add(block->words.begin(), block->words.end());
  return true;
}

void EventFeed::Tell(const StoreEvent& first, const KnownNamespace& in, v1::CacheEvent* event) {
  if (first.kind == EventKind::kCleared) {
    *event->mutable_cleared()->mutable_in_namespace() = in.name;
    return;
  }
  if (first.kind == EventKind::kRemoved) {
    v1::BlocksRemoved& removed = *event->mutable_removed();
    *removed.mutable_in_namespace() = in.name;
    removed.add_block_hashes(KeyBytes(first.key));
    removed.set_medium(TierName(first.tier));
    removed.set_reason(ReasonName(first.why));
    return;
  }
  v1::BlocksStored& stored = *event->mutable_stored();
  *stored.mutable_in_namespace() = in.name;
  stored.add_block_hashes(KeyBytes(first.key));
  const std::string parent = KeyBytes(first.parent);
  if (parent != in.name.root_key()) stored.set_parent_block_hash(parent);
  stored.set_block_size(in.block_tokens);
  stored.set_medium(TierName(first.tier));
}

bool EventFeed::Next(v1::CacheEvent* event) {
  event->Clear();
  event->set_epoch(source_.epoch);
  while (true) {
    if (at_ == page_.events.size() && !ReadPage()) return false;
    if (std::exchange(tell_lost_, false)) {
      event->set_sequence(page_.first - 1);
      event->set_unix_seconds(UnixSeconds(absl::Now()));
      event->mutable_lost()->set_next_sequence(page_.first);
      return true;
    }
    if (at_ == page_.events.size()) continue;
    const StoreEvent* last = &page_.events[at_++];
    const auto in = Seen(*last);
    if (in == nullptr) continue;
    Tell(*last, *in, event);
    const bool with_tokens = with_tokens_ && last->kind == EventKind::kStored &&
                             in->key_source == cachestore::KeySource::kTokens;
    // A block that has gone meanwhile is told without its tokens, in an event of its own.
    bool more = !with_tokens || AddTokens(last->key, event->mutable_stored());
    for (int n = 1; more && n < kBlocksPerEvent && at_ < page_.events.size(); ++n) {
      const StoreEvent& next = page_.events[at_];
      if (!Follows(*last, next)) break;
      if (with_tokens && !AddTokens(next.key, event->mutable_stored())) break;
      (next.kind == EventKind::kStored ? event->mutable_stored()->add_block_hashes()
                                       : event->mutable_removed()->add_block_hashes())
          ->assign(KeyBytes(next.key));
      last = &next;
      ++at_;
    }
    event->set_sequence(last->sequence);
    event->set_unix_seconds(UnixSeconds(last->time));
    return true;
  }
}

}  // namespace reprise::api
