#include "bench/paced_block_files.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"

namespace reprise::bench {

using cachestore::BlockFile;
using cachestore::BlockRead;

class PacedBlockFiles::File final : public ForwardedBlockFile {
 public:
  File(std::unique_ptr<BlockFile> file, PacedBlockFiles* pace)
      : ForwardedBlockFile(std::move(file)), pace_(pace) {}

  void StartReads(std::vector<BlockRead> batch) override {
    for (BlockRead& read : batch) {
      double bytes = 0;
      for (const auto& piece : read.pieces) bytes += static_cast<double>(piece.size());
      read.done = [pace = pace_, due = pace_->DueTime(bytes),
                   done = std::move(read.done)](const absl::Status& status) mutable {
        pace->EndAt(due, [status, done = std::move(done)]() mutable { std::move(done)(status); });
      };
    }
    ForwardedBlockFile::StartReads(std::move(batch));
  }

 private:
  PacedBlockFiles* const pace_;
};

PacedBlockFiles::PacedBlockFiles(double bytes_per_second)
    : bytes_per_second_(bytes_per_second), thread_([this] { Run(); }) {}

PacedBlockFiles::~PacedBlockFiles() {
  Close();  // all reads are with the thread now
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    changed_.Signal();
  }
  thread_.join();
}

std::unique_ptr<BlockFile> PacedBlockFiles::Changed(std::unique_ptr<BlockFile> file) {
  return std::make_unique<File>(std::move(file), this);
}

absl::Time PacedBlockFiles::DueTime(double bytes) {
  absl::MutexLock lock(&mu_);
  free_at_ = std::max(free_at_, absl::Now()) + absl::Seconds(bytes / bytes_per_second_);
  return free_at_;
}

void PacedBlockFiles::EndAt(absl::Time due, absl::AnyInvocable<void() &&> end) {
  absl::MutexLock lock(&mu_);
  const auto later = [](absl::Time time, const Ending& ending) { return time < ending.due; };
  endings_.insert(std::upper_bound(endings_.begin(), endings_.end(), due, later),
                  {due, std::move(end)});
  changed_.Signal();
}

void PacedBlockFiles::Run() {
  for (;;) {
    Ending next;
    {
      absl::MutexLock lock(&mu_);
      while (endings_.empty() || endings_.front().due > absl::Now()) {
        if (endings_.empty() && closing_) return;
        changed_.WaitWithDeadline(&mu_,
                                  endings_.empty() ? absl::InfiniteFuture() : endings_.front().due);
      }
      next = std::move(endings_.front());
      endings_.pop_front();
    }
    std::move(next.end)();
  }
}

}  // namespace reprise::bench
