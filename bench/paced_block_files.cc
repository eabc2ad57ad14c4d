#include "bench/paced_block_files.h"

#include <algorithm>
#include <vector>

#include "absl/time/clock.h"

namespace reprise::bench {

using cachestore::BlockFile;
using cachestore::BlockRead;
using cachestore::BlockWrite;

class PacedBlockFiles::File final : public BlockFile {
 public:
  File(std::unique_ptr<BlockFile> file, PacedBlockFiles* pace)
      : file_(std::move(file)), pace_(pace) {}

  void StartReads(std::vector<BlockRead> batch) override {
    for (BlockRead& read : batch) {
      double bytes = 0;
      for (const auto& piece : read.pieces) bytes += static_cast<double>(piece.size());
      read.done = [pace = pace_, due = pace_->DueTime(bytes),
                   done = std::move(read.done)](const absl::Status& status) mutable {
        pace->EndAt(due, [status, done = std::move(done)]() mutable { std::move(done)(status); });
      };
    }
    file_->StartReads(std::move(batch));
  }
  void StartWrites(std::vector<BlockWrite> batch) override { file_->StartWrites(std::move(batch)); }
  absl::Status Sync() override { return file_->Sync(); }

 private:
  const std::unique_ptr<BlockFile> file_;
  PacedBlockFiles* const pace_;
};

PacedBlockFiles::PacedBlockFiles(double bytes_per_second)
    : bytes_per_second_(bytes_per_second),
      files_(cachestore::MakePosixBlockFileSystem()),
      thread_([this] { Run(); }) {}

PacedBlockFiles::~PacedBlockFiles() {
  files_ = nullptr;  // all reads are with the thread now
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    changed_.Signal();
  }
  thread_.join();
}

absl::StatusOr<std::unique_ptr<BlockFile>> PacedBlockFiles::Create(const std::string& path,
                                                                   uint64_t bytes) {
  absl::StatusOr<std::unique_ptr<BlockFile>> file = files_->Create(path, bytes);
  if (!file.ok()) return file.status();
  return std::make_unique<File>(*std::move(file), this);
}

absl::StatusOr<std::unique_ptr<BlockFile>> PacedBlockFiles::Open(const std::string& path) {
  absl::StatusOr<std::unique_ptr<BlockFile>> file = files_->Open(path);
  if (!file.ok()) return file.status();
  return std::make_unique<File>(*std::move(file), this);
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
