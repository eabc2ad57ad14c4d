#include "engine/sched/waiting_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::engine {

void WaitingQueue::Push(std::unique_ptr<Sequence> sequence) {
  const std::string& tenant = sequence->request().tenant;
  PriorityClass& of_priority = classes_[sequence->request().priority];
  const bool is_preempted = sequence->was_admitted();
  if (!is_preempted && !of_priority.tenants.contains(tenant)) shares_.Join(tenant);
  Line& line = is_preempted ? of_priority.preempted : of_priority.tenants[tenant];
  const auto goes_before = [is_preempted](const Sequence& a, const Sequence& b) {
    return is_preempted ? a.RanksBefore(b) : a.id() < b.id();
  };
  auto place = line.end();  // where new ones belong
  while (place != line.begin() && goes_before(*sequence, **std::prev(place))) --place;
  if (!is_preempted) newcomers_.push_back(sequence.get());
  line.insert(place, std::move(sequence));
  ++size_;
}

Sequence* WaitingQueue::front() const {
  if (classes_.empty()) return nullptr;
  const PriorityClass& first = classes_.begin()->second;
  if (!first.preempted.empty()) return first.preempted.front().get();
  Sequence* best = nullptr;
  int64_t least_served = 0;
  for (const auto& [tenant, line] : first.tenants) {
    const int64_t served = shares_.ServedTo(tenant);
    Sequence* const oldest = line.front().get();
    if (best != nullptr &&
        (served > least_served || (served == least_served && oldest->id() > best->id()))) {
      continue;
    }
    best = oldest;
    least_served = served;
  }
  return best;
}

std::unique_ptr<Sequence> WaitingQueue::PopFront() {
  const Sequence* const first = front();
  CHECK(first != nullptr);
  if (!first->was_admitted()) {
    shares_.Serve(first->request().tenant);
    Charge(*first, first->prompt_tokens());
  }
  return TakeOut(*first);
}

const Sequence* WaitingQueue::TakeNewcomer() {
  if (newcomers_.empty()) return nullptr;
  const Sequence* const first = newcomers_.front();
  newcomers_.pop_front();
  return first;
}

std::unique_ptr<Sequence> WaitingQueue::Remove(SequenceId id) {
  const auto is_it = [id](const std::unique_ptr<Sequence>& s) { return s->id() == id; };
  const auto find = [&](const Line& line) -> const Sequence* {
    const auto it = std::find_if(line.begin(), line.end(), is_it);
    return it == line.end() ? nullptr : it->get();
  };
  for (const auto& [priority, of_priority] : classes_) {
    if (const Sequence* found = find(of_priority.preempted)) return TakeOut(*found);
    for (const auto& [tenant, line] : of_priority.tenants) {
      if (const Sequence* found = find(line)) return TakeOut(*found);
    }
  }
  return nullptr;
}

std::unique_ptr<Sequence> WaitingQueue::TakeOut(const Sequence& sequence) {
  const auto of_priority = classes_.find(sequence.request().priority);
  CHECK(of_priority != classes_.end());
  auto& [preempted, tenants] = of_priority->second;
  const auto of_tenant = tenants.find(sequence.request().tenant);
  Line& line = sequence.was_admitted() ? preempted : of_tenant->second;
  const auto it = std::find_if(line.begin(), line.end(),
                               [&](const auto& other) { return other.get() == &sequence; });
  CHECK(it != line.end());
  std::erase(newcomers_, &sequence);
  std::unique_ptr<Sequence> taken = std::move(*it);
  line.erase(it);
  if (of_tenant != tenants.end() && of_tenant->second.empty()) {
    shares_.Leave(of_tenant->first);
    tenants.erase(of_tenant);
  }
  if (preempted.empty() && tenants.empty()) classes_.erase(of_priority);
  --size_;
  return taken;
}

}  // namespace reprise::engine
