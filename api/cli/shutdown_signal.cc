#include "api/cli/shutdown_signal.h"

#include <pthread.h>
#include <unistd.h>

#include <utility>

namespace reprise::api {

ShutdownSignal::ShutdownSignal(std::function<void()> reload) : reload_(std::move(reload)) {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGINT);
  struct sigaction on_hangup;
  sigaction(SIGHUP, nullptr, &on_hangup);
  // A blocked signal would be taken up although it is ignored.
  if (reload_ || on_hangup.sa_handler != SIG_IGN) sigaddset(&signals_, SIGHUP);
  if (reload_) signal(SIGHUP, SIG_DFL);  // one that is ignored never becomes pending
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  watcher_ = std::thread([this] { Watch(); });
}

ShutdownSignal::~ShutdownSignal() {
  {
    absl::MutexLock lock(&mu_);
    state_ = State::kEnding;
  }
  pthread_kill(watcher_.native_handle(), SIGTERM);  // wakes sigwait
  watcher_.join();
}

void ShutdownSignal::Expect() {
  absl::MutexLock lock(&mu_);
  state_ = State::kExpected;
}

bool ShutdownSignal::Wait(absl::Duration time) {
  const auto came = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return state_ == State::kCame; };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&came), time);
}

void ShutdownSignal::Request() {
  absl::MutexLock lock(&mu_);
  if (state_ == State::kExpected) state_ = State::kCame;
}

void ShutdownSignal::Reload() {
  {
    absl::MutexLock lock(&mu_);
    if (state_ != State::kExpected) return;
  }
  reload_();
}

void ShutdownSignal::Watch() {
  for (int signal = 0; sigwait(&signals_, &signal) == 0;) {
    if (signal == SIGHUP && reload_) {
      Reload();
      continue;
    }
    absl::MutexLock lock(&mu_);
    if (state_ == State::kEnding) return;
    // 128 + signal is what shells report for a process that a signal has ended.
    if (state_ != State::kExpected) _exit(128 + signal);
    state_ = State::kCame;
  }
}

}  // namespace reprise::api
