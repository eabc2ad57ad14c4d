// ShutdownSignal: SIGTERM, SIGINT and SIGHUP of a server process. Until Expect, each ends the
// process at once (nothing is lost: the store survives that); then the first wakes Wait, and
// another one ends the process at once. SIGHUP stays ignored where the process was started so
// (nohup). Owns a thread. One per process, made before any other thread: it blocks the signals in
// the calling thread and those started later. Thread-safe.
#pragma once

#include <signal.h>

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace reprise::api {

class ShutdownSignal {
 public:
  ShutdownSignal();
  ~ShutdownSignal();
  ShutdownSignal(const ShutdownSignal&) = delete;
  ShutdownSignal& operator=(const ShutdownSignal&) = delete;

  // From now on a signal is taken up by Wait.
  void Expect();
  // BLOCKS until a signal has come since Expect.
  void Wait();

 private:
  enum class State { kNotExpected, kExpected, kCame, kEnding };

  void Watch();

  sigset_t signals_;
  absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kNotExpected;
  std::thread watcher_;
};

}  // namespace reprise::api
