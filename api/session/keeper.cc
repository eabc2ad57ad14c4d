#include "api/session/keeper.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace reprise::api {
namespace {

// Ticks are this far apart at least: what is due between two is done by the second.
constexpr absl::Duration kTick = absl::Milliseconds(10);

}  // namespace

void KeeperQueue::Post(std::function<void()> task) {
  absl::MutexLock lock(&mu_);
  if (closed_) return;
  tasks_.push_back(std::move(task));
  changed_.Signal();
}

void KeeperQueue::WakeBy(absl::Time time) {
  absl::MutexLock lock(&mu_);
  if (time >= wake_) return;
  wake_ = time;
  changed_.Signal();
}

Keeper::Keeper(std::function<absl::Time(absl::Time)> tick)
    : tick_(std::move(tick)), thread_([this] { Run(); }) {}

Keeper::~Keeper() {
  {
    absl::MutexLock lock(&queue_->mu_);
    queue_->closed_ = true;
    queue_->changed_.Signal();
  }
  thread_.join();
}

void Keeper::Run() {
  absl::Time not_before = absl::InfinitePast();  // the next tick
  while (true) {
    std::vector<std::function<void()>> tasks;
    bool tick = false;
    {
      absl::MutexLock lock(&queue_->mu_);
      absl::Time due = std::max(queue_->wake_, not_before);
      while (!queue_->closed_ && queue_->tasks_.empty() && absl::Now() < due) {
        queue_->changed_.WaitWithDeadline(&queue_->mu_, due);
        due = std::max(queue_->wake_, not_before);
      }
      if (queue_->closed_) {
        tasks.swap(queue_->tasks_);  // destroyed without the lock
        return;
      }
      tasks.swap(queue_->tasks_);
      tick = absl::Now() >= due;
      if (tick) queue_->wake_ = absl::InfiniteFuture();
    }
    for (const std::function<void()>& task : tasks) task();
    if (!tick) continue;
    const absl::Time now = absl::Now();
    not_before = now + kTick;
    queue_->WakeBy(tick_(now));
  }
}

}  // namespace reprise::api
