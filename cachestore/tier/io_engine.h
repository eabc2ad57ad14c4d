// IoEngine: runs reads and writes of files beside its callers. Two forms: io_uring, which keeps the
// disk's queue full from few threads, and threads that block in the kernel, for where io_uring is
// refused (seccomp in containers, kernel.io_uring_disabled). Both move a rest until it is whole.
// Thread-safe.
#pragma once

#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cachestore/tier/file_io.h"

namespace reprise::cachestore {

class IoEngine {
 public:
  // Waits for everything started. BLOCKS.
  virtual ~IoEngine() = default;

  // Starts all of `batch`; `done` of each runs on a thread of the engine, with no lock held. The
  // memory of the pieces is the engine's until then. REQUIRES: fd stays open until then; each has a
  // piece, and none is empty.
  virtual void Start(std::vector<FileIo> batch) = 0;
  // Runs `work` once on a thread of the engine.
  virtual void Post(absl::AnyInvocable<void() &&> work) = 0;

  // Reads or writes that can be under way at a time.
  virtual int max_in_flight() const = 0;
  // "io_uring" or "threads".
  virtual absl::string_view name() const = 0;
};

// One ring, whose completions `num_threads` threads handle. kUnavailable: the kernel refuses it.
absl::StatusOr<std::unique_ptr<IoEngine>> MakeUringEngine(int num_threads);
// `num_threads` threads that each run one read or write.
std::unique_ptr<IoEngine> MakeThreadEngine(int num_threads);

}  // namespace reprise::cachestore
