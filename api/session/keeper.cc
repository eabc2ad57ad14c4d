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

KeeperQueue::Work KeeperQueue::Await(absl::Time next_tick) {
  absl::MutexLock lock(&mu_);
  absl::Time due = std::max(wake_, next_tick);
  while (!closed_ && tasks_.empty() && absl::Now() < due) {
    changed_.WaitWithDeadline(&mu_, due);
    due = std::max(wake_, next_tick);
  }
  Work work = {.tasks = {}, .tick = absl::Now() >= due, .closed = closed_};
  work.tasks.swap(tasks_);
  if (work.tick) wake_ = absl::InfiniteFuture();
  return work;
}

void KeeperQueue::Close() {
  absl::MutexLock lock(&mu_);
  closed_ = true;
  changed_.Signal();
}

Keeper::Keeper(std::function<absl::Time(absl::Time)> tick)
    : tick_(std::move(tick)), thread_([this] { Run(); }) {}

Keeper::~Keeper() {
  queue_->Close();
  thread_.join();
}

void Keeper::Run() {
  absl::Time next_tick = absl::InfinitePast();
  while (true) {
    const KeeperQueue::Work work = queue_->Await(next_tick);
    if (work.closed) return;
    for (const std::function<void()>& task : work.tasks) task();
    if (!work.tick) continue;
    const absl::Time now = absl::Now();
    next_tick = now + kTick;
    queue_->WakeBy(tick_(now));
  }
}

}  // namespace reprise::api
