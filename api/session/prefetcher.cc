#include "api/session/prefetcher.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "api/session/session.h"

namespace reprise::api {

using cachestore::BlockRange;

absl::StatusOr<v1::PrefetchResponse> Prefetcher::Start(const cachestore::NamespaceHandle& ns,
                                                       const cachestore::BlockContent& prompt,
                                                       int64_t max_blocks, absl::Time deadline,
                                                       const cachestore::RequestHints& hints) {
  // What is in RAM already needs no loading, and no holding.
  const cachestore::LoadForecast forecast = store_->ForecastLoad(ns, prompt, max_blocks);
  const auto& needs_load = forecast.needs_load;
  const auto cached = static_cast<int64_t>(needs_load.size());
  const auto ready = static_cast<int64_t>(std::find(needs_load.begin(), needs_load.end(), true) -
                                          needs_load.begin());
  v1::PrefetchResponse response;
  response.set_ready_blocks(ready);
  if (ready == cached) return response;

  absl::MutexLock lock(&tickets_->mu);
  const auto under_way = static_cast<int64_t>(tickets_->under_way.size());
  if (under_way >= max_prefetches_) {
    return absl::ResourceExhaustedError(
        absl::StrCat(under_way, " prefetches are under way, as many as may be; try again later"));
  }
  const int64_t slot_bytes = SlotBytes(ns);
  const int64_t room = tickets_->bytes.Take(slot_bytes, cached - ready);
  if (room == 0) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "prefetches under way hold ", tickets_->bytes.used(), " bytes of RAM; try again later"));
  }
  const int64_t number = ++tickets_->last_number;
  auto on_done = [keeper = keeper_, tickets = std::weak_ptr<Tickets>(tickets_), number] {
    keeper->Post([tickets, number] {
      if (const auto all = tickets.lock()) all->Drop(number);
    });
  };
  tickets_->under_way[number] = {
      .ticket =
          store_->Pin(ns, prompt, BlockRange{.first = ready, .count = room}, std::move(on_done),
                      deadline, cachestore::LoadOrder::kByBlock, cachestore::Tier::kRam, hints),
      .bytes = room * slot_bytes};
  response.set_loading_blocks(tickets_->under_way[number].ticket.matched_blocks());
  return response;
}

void Prefetcher::Tickets::Drop(int64_t number) {
  Prefetch done;  // destroyed without the lock
  {
    absl::MutexLock lock(&mu);
    const auto it = under_way.find(number);
    if (it == under_way.end()) return;
    done = std::move(it->second);
    under_way.erase(it);
  }
  bytes.Give(done.bytes);
}

int64_t Prefetcher::under_way() const {
  absl::MutexLock lock(&tickets_->mu);
  return static_cast<int64_t>(tickets_->under_way.size());
}

}  // namespace reprise::api
