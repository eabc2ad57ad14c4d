// PacedBlockFiles: local files that are read no faster than a given rate, to stand for a slower
// disk. A read ends when the bytes asked for before it and its own have had their time.
// Thread-safe.
#pragma once

#include <deque>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "bench/forwarded_block_files.h"
#include "cachestore/tier/block_file.h"

namespace reprise::bench {

class PacedBlockFiles final : public ForwardedBlockFiles {
 public:
  explicit PacedBlockFiles(double bytes_per_second);
  ~PacedBlockFiles() override;

 private:
  class File;
  struct Ending {
    absl::Time due;
    absl::AnyInvocable<void() &&> end;
  };

  std::unique_ptr<cachestore::BlockFile> Changed(
      std::unique_ptr<cachestore::BlockFile> file) override;

  // When a read of `bytes` bytes that is asked for now may end.
  absl::Time DueTime(double bytes) ABSL_LOCKS_EXCLUDED(mu_);
  void EndAt(absl::Time due, absl::AnyInvocable<void() &&> end) ABSL_LOCKS_EXCLUDED(mu_);
  void Run() ABSL_LOCKS_EXCLUDED(mu_);

  const double bytes_per_second_;
  absl::Mutex mu_;
  absl::CondVar changed_;
  absl::Time free_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  std::deque<Ending> endings_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // ends the reads
};

}  // namespace reprise::bench
