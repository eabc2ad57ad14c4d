// GatedBlockFiles: real files whose reads start only when a test lets them, in the order in which
// they were asked for. Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/tier/block_file.h"

namespace reprise::cachestore {

class GatedBlockFiles final : public BlockFileSystem {
 public:
  void CloseGate() {
    absl::MutexLock lock(&gate_->mu);
    gate_->open = false;
  }
  // Lets all reads pass, now and later.
  void OpenGate() {
    {
      absl::MutexLock lock(&gate_->mu);
      gate_->open = true;
    }
    while (PassOne()) {
    }
  }
  // Lets the read pass that was asked for first; false when none is held.
  bool PassOne() {
    Held held;
    {
      absl::MutexLock lock(&gate_->mu);
      if (gate_->held.empty()) return false;
      held = std::move(gate_->held.front());
      gate_->held.pop_front();
    }
    std::vector<BlockRead> one;
    one.push_back(std::move(held.read));
    held.file->StartReads(std::move(one));
    return true;
  }
  // Waits until `count` reads have been asked for since the gate was closed; false after 10 s.
  bool AwaitReads(size_t count) {
    const absl::Time give_up = absl::Now() + absl::Seconds(10);
    absl::MutexLock lock(&gate_->mu);
    while (gate_->offsets.size() < count) {
      if (gate_->changed.WaitWithDeadline(&gate_->mu, give_up)) break;
    }
    return gate_->offsets.size() >= count;
  }
  // Offsets of the reads asked for while the gate was closed, in that order.
  std::vector<uint64_t> offsets() const {
    absl::MutexLock lock(&gate_->mu);
    return gate_->offsets;
  }

  absl::StatusOr<std::unique_ptr<BlockFile>> Create(const std::string& path,
                                                    uint64_t bytes) override {
    return Wrap(real_->Create(path, bytes));
  }
  absl::StatusOr<std::unique_ptr<BlockFile>> Open(const std::string& path) override {
    return Wrap(real_->Open(path));
  }
  absl::Status Remove(const std::string& path) override { return real_->Remove(path); }
  absl::StatusOr<std::vector<Entry>> List(const std::string& directory) override {
    return real_->List(directory);
  }
  void Post(absl::AnyInvocable<void() &&> work) override { real_->Post(std::move(work)); }
  int max_in_flight() const override { return real_->max_in_flight(); }
  absl::string_view io_method() const override { return real_->io_method(); }

 private:
  struct Held {
    std::shared_ptr<BlockFile> file;
    BlockRead read;
  };
  struct Gate {
    absl::Mutex mu;
    absl::CondVar changed;
    bool open ABSL_GUARDED_BY(mu) = true;
    std::deque<Held> held ABSL_GUARDED_BY(mu);
    std::vector<uint64_t> offsets ABSL_GUARDED_BY(mu);
  };

  class File final : public BlockFile {
   public:
    File(std::shared_ptr<BlockFile> real, std::shared_ptr<Gate> gate)
        : real_(std::move(real)), gate_(std::move(gate)) {}

    void StartReads(std::vector<BlockRead> batch) override {
      {
        absl::MutexLock lock(&gate_->mu);
        if (!gate_->open) {
          for (BlockRead& read : batch) {
            gate_->offsets.push_back(read.offset);
            gate_->held.push_back({real_, std::move(read)});
          }
          gate_->changed.SignalAll();
          return;
        }
      }
      real_->StartReads(std::move(batch));
    }
    void StartWrites(std::vector<BlockWrite> batch) override {
      real_->StartWrites(std::move(batch));
    }
    absl::Status Sync() override { return real_->Sync(); }

   private:
    const std::shared_ptr<BlockFile> real_;
    const std::shared_ptr<Gate> gate_;
  };

  absl::StatusOr<std::unique_ptr<BlockFile>> Wrap(absl::StatusOr<std::unique_ptr<BlockFile>> file) {
    if (!file.ok()) return file.status();
    return std::make_unique<File>(*std::move(file), gate_);
  }

  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  const std::unique_ptr<BlockFileSystem> real_ = MakePosixBlockFileSystem(IoMethod::kThreads);
};

}  // namespace reprise::cachestore
