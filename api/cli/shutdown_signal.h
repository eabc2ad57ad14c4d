// ShutdownSignal: SIGTERM, SIGINT and SIGHUP of a server process. Until Expect, each ends the
// process at once (nothing is lost: the store survives that); then the first wakes Wait, and
// another one ends the process at once. SIGHUP can be to read files anew instead; else it ends as
// the others do, and stays ignored where the process was started so (nohup). Owns a thread. One per
// process, made before any other thread: it blocks the signals in the calling thread and those
// started later. Thread-safe.
#pragma once

#include <signal.h>

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace reprise::api {

class ShutdownSignal {
 public:
  // `reload`: what SIGHUP does, on this object's thread, from Expect on; before, it does nothing.
  // Empty: SIGHUP is one of the signals that end the process.
  explicit ShutdownSignal(std::function<void()> reload);
  ~ShutdownSignal();
  ShutdownSignal(const ShutdownSignal&) = delete;
  ShutdownSignal& operator=(const ShutdownSignal&) = delete;

  // From now on a signal is taken up by Wait.
  void Expect();
  // BLOCKS until a signal has come since Expect, or Request was called, for `time` at most; whether
  // one has.
  bool Wait(absl::Duration time);
  // Wakes Wait as a signal does.
  void Request();

 private:
  enum class State { kNotExpected, kExpected, kCame, kEnding };

  void Reload();
  void Watch();

  const std::function<void()> reload_;
  sigset_t signals_;
  absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kNotExpected;
  std::thread watcher_;
};

}  // namespace reprise::api
