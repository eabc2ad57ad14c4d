#include "engine/sched/waiting_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::engine {

void WaitingQueue::Push(std::unique_ptr<Sequence> sequence) {
  auto place = waiting_.end();  // where new ones belong
  while (place != waiting_.begin() && (*std::prev(place))->id() > sequence->id()) --place;
  waiting_.insert(place, std::move(sequence));
}

std::unique_ptr<Sequence> WaitingQueue::PopFront() {
  CHECK(!waiting_.empty());
  std::unique_ptr<Sequence> sequence = std::move(waiting_.front());
  waiting_.pop_front();
  return sequence;
}

std::unique_ptr<Sequence> WaitingQueue::Remove(SequenceId id) {
  const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                               [id](const std::unique_ptr<Sequence>& s) { return s->id() == id; });
  if (it == waiting_.end()) return nullptr;
  std::unique_ptr<Sequence> sequence = std::move(*it);
  waiting_.erase(it);
  return sequence;
}

}  // namespace reprise::engine
